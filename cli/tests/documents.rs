//! What the documents say is what the project does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust blocks of the README, each with the file that the text before it names last.
fn examples() -> Vec<(String, String)> {
    let readme = read("README.md");
    let mut parts = readme.split("```");
    let mut before = parts.next().unwrap().to_owned();
    let mut found = Vec::new();
    while let (Some(block), Some(after)) = (parts.next(), parts.next()) {
        if let Some(code) = block.strip_prefix("rust\n") {
            let (_, file) = before.rsplit_once("](").expect("a link to the file");
            found.push((file[..file.find(')').unwrap()].to_owned(), code.to_owned()));
        }
        before = after.to_owned();
    }
    found
}

/// Without what is in front of each line.
fn flush_left(code: &str) -> String {
    code.lines().map(|line| line.trim_start().to_owned() + "\n").collect()
}

#[test]
fn the_readmes_examples_are_the_compiled_ones_and_short() {
    let examples = examples();
    let files: Vec<&str> = examples.iter().map(|(file, _)| file.as_str()).collect();
    let [echo, client, members] =
        ["echo", "client", "members"].map(|name| format!("runtime-tokio/examples/{name}.rs"));
    assert_eq!(files, [&echo, &client, &members, "tls/examples/custom_loop.rs"]);
    for (file, code) in &examples {
        assert!(flush_left(&read(file)).contains(&flush_left(code)), "{file} is different");
        assert!(code.lines().count() <= 30, "{file}: longer than 30 lines");
    }
    for (file, code) in &examples[..2] {
        assert_eq!(read(file), *code, "the first two are whole files");
        assert!(!code.contains("main() -> Result"), "{file} would print an error as Debug does");
    }
}

#[test]
fn the_dependencies_of_the_readme_are_crates_of_the_project() {
    let readme = read("README.md");
    let blocks: Vec<&str> = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.starts_with("[dependencies]"))
        .collect();
    let [block] = blocks[..] else { panic!("{blocks:?}") };
    let workspace = read("Cargo.toml");
    for line in block.lines().skip(1).filter(|line| !line.starts_with('#')) {
        let (name, wanted) = line.split_once(" = ").expect(line);
        let quoted: Vec<&str> = wanted.split('"').collect();
        if let Some(path) = quoted[1].strip_prefix("headwater/") {
            assert!(read(&format!("{path}/Cargo.toml")).contains(&format!("name = \"{name}\"")));
        } else {
            // The major version that the workspace builds with.
            let ours = workspace.lines().find(|line| line.starts_with(&format!("{name} = ")));
            let ours = ours.expect(name).split('"').nth(1).unwrap();
            assert_eq!(ours.split('.').next(), Some(quoted[1]), "{line}");
        }
    }
}

#[test]
fn the_commands_of_the_readme_are_those_of_the_program() {
    let mut seen = 0;
    for line in read("README.md").lines().filter(|line| line.starts_with("headwater ")) {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let command = words.iter().find(|word| !word.starts_with('-')).expect(line);
        let help = Command::new(env!("CARGO_BIN_EXE_headwater")).args([command, "--help"]).output();
        let help = help.unwrap();
        assert!(help.status.success(), "{line}");
        let help = String::from_utf8(help.stdout).unwrap();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "{line}"
            );
            seen += 1;
        }
    }
    assert!(seen >= 10);
}

#[test]
fn links_of_the_documents_lead_to_files_of_the_project() {
    for document in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/status.md"] {
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let folder = root().join(document).parent().map(Path::to_path_buf).unwrap_or_default();
            let found = link.contains("://") || folder.join(file).exists();
            assert!(found, "{document}: {link} leads nowhere");
        }
    }
}

/// Names of the tests of defects, `d31_refused_stream_is_reset` and so on, in Rust files.
fn defect_tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            defect_tests(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.extend(
                text.lines()
                    .filter_map(|line| line.split_once("fn d")?.1.split(['(', '<']).next())
                    .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
                    .map(|name| format!("d{name}")),
            );
        }
    }
}

fn number(test: &str) -> u32 {
    let digits: String = test[1..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn every_defect_with_a_test_is_in_the_architecture_with_one_of_its_tests() {
    let mut tests = BTreeSet::new();
    defect_tests(&root(), &mut tests);
    let architecture = read("ARCHITECTURE.md");
    let mut listed = BTreeSet::new();
    for line in architecture.lines().filter(|line| line.starts_with("| D-")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [defect, _, test] = cells[..] else { panic!("{line}") };
        let test = test.trim_end_matches(" |").trim_matches('`');
        assert!(tests.contains(test), "no test {test}");
        assert_eq!(defect, format!("| D-{}", number(test)));
        listed.insert(number(test));
    }
    let tested: BTreeSet<u32> = tests.iter().map(|test| number(test)).collect();
    assert_eq!(listed, tested);
}
