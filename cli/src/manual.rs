//! `headwater man` and `headwater completions`: both made from the definition of the command line,
//! so that they cannot say anything else than the program does.

use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::args::{self, Cli};
use crate::failure::Failure;
use crate::report::Report;

/// Runs `man`.
///
/// # Errors
///
/// A page cannot be written.
pub(crate) fn pages(report: Report, args: &args::Man) -> Result<(), Failure> {
    let mut program = Cli::command();
    program.build();
    let Some(folder) = &args.folder else {
        report.print(page(&program)?.trim_end());
        return Ok(());
    };
    fs::create_dir_all(folder).map_err(|error| Failure::writing(folder.display(), &error))?;
    write(folder, "headwater", &program)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("headwater-{}", command.get_name());
        write(folder, &name, command)?;
    }
    report.line(&format!("man pages are in {}", folder.display()));
    Ok(())
}

/// Runs `completions`.
///
/// # Errors
///
/// Never: what is made is text.
pub(crate) fn completions(report: Report, args: &args::Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "headwater", &mut text);
    report.print(String::from_utf8(text).map_err(Failure::internal)?.trim_end());
    Ok(())
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).map_err(Failure::internal)?;
    let text = String::from_utf8(text).map_err(Failure::internal)?;
    // What is made there names options without their values.
    let whole = || Failure::internal("a page without a synopsis");
    let (before, rest) = text.split_once(".SH SYNOPSIS\n").ok_or_else(whole)?;
    let (_, after) = rest.split_once("\n.SH ").ok_or_else(whole)?;
    Ok(format!("{before}.SH SYNOPSIS\n{}\n.SH {after}", synopsis(command).replace('-', "\\-")))
}

/// The command with all that it takes, each as its help has it.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut text = format!("\\fB{name}\\fR");
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let (places, options): (Vec<&Arg>, Vec<&Arg>) = shown.partition(|arg| arg.is_positional());
    for arg in options {
        let again = if matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" };
        text += &format!(" [{arg}]{again}");
    }
    for arg in places {
        text += &format!(" {arg}");
    }
    if command.has_subcommands() {
        text += " <COMMAND>";
    }
    text
}

fn write(folder: &Path, name: &str, command: &Command) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page(command)?).map_err(|error| Failure::writing(path.display(), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_that_names_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let args = args::Man { folder: Some(folder.path().to_owned()) };
        pages(Report::new(true), &args).unwrap();
        let mut program = Cli::command();
        program.build();
        let mut seen = 0;
        for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
            let path = folder.path().join(format!("headwater-{}.1", command.get_name()));
            let page = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display()));
            for long in command.get_arguments().filter_map(Arg::get_long) {
                assert!(page.contains(&long.replace('-', "\\-")), "{path:?}: --{long}");
            }
            seen += 1;
        }
        assert!(seen >= 11);
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let send = read("headwater-send.1");
        for part in
            ["\\fBheadwater send\\fR [", " [\\-\\-timeout <SECONDS>]", " <ADDR> [FILE|\\-]\n"]
        {
            assert!(send.contains(part), "{part}: {send}");
        }
        assert!(read("headwater-node.1").contains(" [\\-\\-peer <ADDR>]... "));
        let first = read("headwater.1");
        assert!(first.contains("headwater\\-why(1)") && first.contains("Exit statuses"), "{first}");
    }
}
