//! Logs: one line of `key=value` pairs an event, on standard error, chosen by `--log` or
//! `RUST_LOG`.
//!
//! Each line is of one of the [`SUBSYSTEMS`], whose levels can be chosen apart. A line that says
//! the same as an earlier one is counted, and told later (`repeats.rs`).

mod repeats;

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::progress::aside;
use repeats::{Line, Repeats};

/// What the node itself does: it starts, listens, stops.
pub(crate) const NODE: &str = "headwater::node";
/// Peers that come and go, and what they support.
pub(crate) const PEER: &str = "headwater::peer";
/// Attempts to reach peers that are to be kept.
pub(crate) const DIAL: &str = "headwater::dial";
/// Links that are turned away.
pub(crate) const LINK: &str = "headwater::link";
/// Messages: what is done with them, and those that do not arrive.
pub(crate) const MESSAGE: &str = "headwater::message";
/// The status page.
pub(crate) const PAGE: &str = "headwater::page";
/// Files from node to node.
pub(crate) const FILE: &str = "headwater::file";

/// What lines are about; in front of each stands the name of the program.
const SUBSYSTEMS: [&str; 7] = [NODE, PEER, DIAL, LINK, MESSAGE, PAGE, FILE];

/// What comes before the name of a subsystem.
const PROGRAM: &str = "headwater::";

/// What a peer is told of when it is connected; what comes after that about it is news.
pub(crate) const CONNECTED: &str = "connected";

/// What was written lately, by all threads.
static REPEATS: Mutex<Repeats> = Mutex::new(Repeats::new());

fn repeats() -> MutexGuard<'static, Repeats> {
    REPEATS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts logging what `told` asks for, else `RUST_LOG`, else `quiet` and what is worse.
pub(crate) fn start(told: Option<&str>, quiet: Level) {
    let filter = EnvFilter::builder().with_default_directive(quiet.into());
    let filter = match told {
        Some(told) => filter.parse_lossy(told),
        None => {
            // What others understand by it is taken as it is; only names of ours are written out.
            let told = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
            filter.parse_lossy(directives(&told).collect::<Vec<_>>().join(","))
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .event_format(KeyValue)
        .init();
}

/// Writes what was counted for long enough.
pub(crate) fn tell_repeats() {
    let due = repeats().due(Instant::now());
    write_all(&due);
}

/// Writes everything that was counted: at the end, and before anything that would make it look
/// like news.
pub(crate) fn tell_all() {
    let all = repeats().all(Instant::now());
    write_all(&all);
}

fn write_all(lines: &[String]) {
    let time = time();
    let text: String = lines.iter().map(|line| format!("time={time} {line}\n")).collect();
    let _ = Lines.write_all(text.as_bytes());
}

/// Standard error, on which whole lines are written.
struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        aside(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Checks what `--log` takes, and writes out the names of subsystems.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    let expected = || {
        let names: Vec<&str> = SUBSYSTEMS.iter().map(|name| short(name)).collect();
        format!(
            "expected error, warn, info, debug or trace, or a list such as warn,dial=debug; there \
             are {}",
            names.join(", ")
        )
    };
    let all: Vec<String> = directives(text).collect();
    for directive in &all {
        let name = directive.split_once('=').map(|(name, _)| name);
        let known = |name: &str| {
            name == "headwater"
                || name.contains('[')
                || SUBSYSTEMS.iter().any(|known| name.starts_with(known))
        };
        let is_level = || directive.is_empty() || directive.parse::<LevelFilter>().is_ok();
        if !name.map_or_else(|| is_level() || known(directive), known) {
            return Err(expected());
        }
    }
    let all = all.join(",");
    EnvFilter::try_new(&all).map_err(|_| expected())?;
    Ok(all)
}

/// Directives of a filter, `dial=debug` as what the lines of that subsystem carry.
fn directives(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|directive| {
        let name = directive.split('=').next().unwrap_or_default();
        let ours = directive.contains('=') && SUBSYSTEMS.iter().any(|known| short(known) == name);
        if ours { format!("{PROGRAM}{directive}") } else { directive.to_owned() }
    })
}

/// The name of a subsystem as `--log` takes it.
fn short(subsystem: &str) -> &str {
    subsystem.strip_prefix(PROGRAM).unwrap_or(subsystem)
}

/// Now, in UTC, as RFC 3339 has it.
fn time() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// `time=2026-11-21T16:45:07.123456Z level=info target=headwater::node msg="..." key=value`.
struct KeyValue;

impl<S, N> FormatEvent<S, N> for KeyValue
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let level = meta.level().as_str().to_ascii_lowercase();
        let text = format!("level={level} target={}", meta.target());
        let mut pairs = Pairs { text, ..Pairs::default() };
        event.record(&mut pairs);
        let Pairs { text, same, peer, message, burst } = &pairs;
        let (now, time) = (Instant::now(), time());
        let mut repeats = repeats();
        let mut told = repeats.due(now);
        let is_new = same.as_ref().is_none_or(|same| {
            let burst = burst.parse().unwrap_or(1);
            repeats.is_new(now, Line { same, peer, message, text, time: &time, burst })
        });
        if is_new && message == CONNECTED {
            told.append(&mut repeats.forget(now, peer));
        }
        drop(repeats);
        for line in told {
            writeln!(writer, "time={time} {line}")?;
        }
        if is_new { writeln!(writer, "time={time} {text}") } else { Ok(()) }
    }
}

/// The fields of an event, as they come.
#[derive(Default)]
struct Pairs {
    text: String,
    /// What makes it the same as another; this is not written.
    same: Option<String>,
    peer: String,
    message: String,
    /// How many of its kind are written before the others are counted; this is not written either.
    burst: String,
}

impl Pairs {
    fn pair(&mut self, field: &Field, value: &str) {
        let key = match field.name() {
            "same" => {
                self.same = Some(value.to_owned());
                return;
            }
            "burst" => {
                value.clone_into(&mut self.burst);
                return;
            }
            "message" => {
                value.clone_into(&mut self.message);
                "msg"
            }
            "peer" => {
                value.clone_into(&mut self.peer);
                "peer"
            }
            other => other,
        };
        let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
        // Writing to a String cannot fail.
        let _ = if !value.is_empty() && value.chars().all(plain) {
            write!(self.text, " {key}={value}")
        } else {
            write!(self.text, " {key}={value:?}")
        };
    }
}

impl Visit for Pairs {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.pair(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written when something is logged.
    fn logged(log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(KeyValue)
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_made_of_pairs_and_cannot_be_broken_by_a_value() {
        let text = logged(|| {
            tracing::info!(peer = %"Qm1", text = "two words\n\u{1b}[0m", bytes = 3, "it came");
        });
        let time = text.strip_prefix("time=").and_then(|text| text.split(' ').next()).unwrap();
        assert!(time.len() >= 20 && time.contains('T') && time.ends_with('Z'), "{text}");
        assert!(text.ends_with(
            " level=info target=headwater::logs::tests msg=\"it came\" peer=Qm1 \
             text=\"two words\\n\\u{1b}[0m\" bytes=3\n"
        ));
    }

    #[test]
    fn the_same_again_is_counted_until_the_peer_was_there() {
        let text = logged(|| {
            for failures in 1..=5 {
                tracing::info!(target: DIAL, same = "t1 gone", peer = "Qmt1", failures, "not there");
            }
            tracing::info!(target: PEER, peer = "Qmt1", "{CONNECTED}");
            tracing::info!(target: DIAL, same = "t1 gone", peer = "Qmt1", failures = 1, "not there");
        });
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(' ')?.1.split(" last=").next())
            .collect();
        let dial = "level=info target=headwater::dial msg=\"not there\" peer=Qmt1 failures";
        assert_eq!(
            lines,
            [
                format!("{dial}=1"),
                format!("{dial}=5 again=4 within=0s"),
                "level=info target=headwater::peer msg=connected peer=Qmt1".to_owned(),
                format!("{dial}=1"),
            ]
        );
        // When the last of those that were counted came.
        assert!(text.contains(" last=20") && !text.contains("same="), "{text}");
    }

    #[test]
    fn subsystems_are_written_out_and_others_are_told() {
        assert_eq!(filter("warn").as_deref(), Ok("warn"));
        assert_eq!(filter("warn,dial=debug").as_deref(), Ok("warn,headwater::dial=debug"));
        assert_eq!(filter("headwater::page=off").as_deref(), Ok("headwater::page=off"));
        assert_eq!(filter("headwater=info").as_deref(), Ok("headwater=info"));
        for wrong in ["loud", "debgu", "tls=trace", "dial=loud", "dail=debug", "a=b=c"] {
            let error = filter(wrong).unwrap_err();
            assert!(error.contains("node, peer, dial, link, message, page, file"), "{error}");
        }
    }
}
