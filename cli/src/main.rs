//! The `headwater` program.
//!
//! `headwater demo` shows six nodes at work; `headwater node` runs one; `headwater listen` and
//! `headwater send` carry a file from one process to another; `headwater status` and `headwater
//! why` ask a running node how it does; `headwater sim` runs many nodes in virtual time; `headwater
//! keygen` and `headwater id` deal with keys. The exit statuses are in `status.rs`, the events of
//! `--json` in `event.rs`; `--help` prints both.

mod address;
mod admin;
mod args;
mod code;
mod demo;
mod event;
mod failure;
mod keys;
mod listen;
mod logs;
mod look;
mod manual;
mod net;
mod node;
mod progress;
mod replay;
mod report;
mod send;
mod signal;
mod sim;
mod status;
mod transfer;

use std::process::ExitCode;

use clap::Parser as _;
use tracing::Level;

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::net::Security;
use crate::report::Report;
use crate::signal::Signals;
use crate::status::Status;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let quiet = match cli.command {
        Command::Node(_) => Level::INFO,
        // Whoever waits for a sender has to hear why it was turned away.
        Command::Listen(_) => Level::WARN,
        _ => Level::ERROR,
    };
    logs::start(cli.log.as_deref(), quiet);
    let mut report = Report::new(cli.json);
    if cli.command.takes_stdout() {
        report = report.leaving_stdout();
    }
    let outcome = run(report, cli);
    logs::tell_all();
    match outcome.and_then(|()| report::unprinted().map_or(Ok(()), Err)) {
        Ok(()) => Status::Done.into(),
        Err(failure) => {
            report.failure(&failure);
            failure.status.into()
        }
    }
}

fn run(report: Report, cli: Cli) -> Result<(), Failure> {
    let insecure = match cli.command.secured() {
        Some(secured) => cli.insecure || secured.insecure,
        None if cli.insecure => {
            let text =
                "--insecure is for links between nodes: demo, node, listen and send have them";
            return Err(Failure::new(Status::Usage, text));
        }
        None => false,
    };
    match cli.command {
        Command::Keygen(args) => keys::keygen(report, args.path()),
        Command::Id(args) => keys::id(report, args.path()),
        Command::Demo(args) => demo::run(report, security(report, insecure), args.keep),
        Command::Sim(args) => sim::run(report, &args),
        Command::Replay(args) => replay::run(report, &args),
        Command::Man(args) => manual::pages(report, &args),
        Command::Completions(args) => manual::completions(report, &args),
        Command::Status(args) => with_runtime(async |_| look::status(report, args).await),
        Command::Why(args) => with_runtime(async |_| look::why(report, args).await),
        Command::Node(args) if args.print_config => {
            let settings = node::Settings::new(&args)?;
            node::check(&settings, security(report, insecure))?;
            report.print(settings.to_toml().trim_end());
            Ok(())
        }
        Command::Node(args) => {
            let security = security(report, insecure);
            let settings = node::Settings::new(&args)?;
            let recorded = args.record.start()?;
            with_runtime(async |signals| {
                node::run(report, settings, security, recorded, signals).await
            })
        }
        Command::Listen(args) => {
            let security = security(report, insecure);
            with_runtime(async |signals| listen::run(report, args, security, signals).await)
        }
        Command::Send(args) => {
            let security = security(report, insecure);
            with_runtime(async |signals| send::run(report, args, security, signals).await)
        }
    }
}

/// What was asked for; what `--insecure` means is told once, at the start.
fn security(report: Report, insecure: bool) -> Security {
    if insecure {
        report.remark("insecure: nothing is encrypted, and peer ids are taken at their word");
        Security::Insecure
    } else {
        Security::Tls
    }
}

fn with_runtime(work: impl AsyncFnOnce(&Signals) -> Result<(), Failure>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format_args!("no runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let signals = Signals::install()?;
        work(&signals).await
    });
    // A read from a terminal may never return; nothing waits for it.
    runtime.shutdown_background();
    outcome
}

/// Help and version are printed and done; anything else is a failure of its own status.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return Status::Done.into();
    }
    if std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        Report::new(true).event(event::Event::Error {
            message,
            status: Status::Usage.code(),
            code: Status::Usage.name(),
        });
    }
    Status::Usage.into()
}
