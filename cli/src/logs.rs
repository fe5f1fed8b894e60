//! Logs: one line of `key=value` pairs an event, on standard error, chosen by `--log` or `RUST_LOG`.

use std::fmt::{self, Write as _};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging what `told` asks for, else `RUST_LOG`, else `quiet` and what is worse.
pub(crate) fn start(told: Option<&str>, quiet: Level) {
    let filter = EnvFilter::builder().with_default_directive(quiet.into());
    let filter = match told {
        Some(told) => filter.parse_lossy(told),
        None => filter.from_env_lossy(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .event_format(KeyValue)
        .init();
}

/// Checks what `--log` takes.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    let known = EnvFilter::try_new(text).map(|_| text.to_owned());
    known.map_err(|error| format!("expected error, warn, info, debug, trace or a filter: {error}"))
}

/// `time=1764212345.123 level=info target=headwater msg="..." key=value`.
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
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let meta = event.metadata();
        let level = meta.level().as_str().to_ascii_lowercase();
        let (seconds, millis) = (since.as_secs(), since.subsec_millis());
        write!(writer, "time={seconds}.{millis:03} level={level} target={}", meta.target())?;
        let mut pairs = Pairs { writer, result: Ok(()) };
        event.record(&mut pairs);
        pairs.result?;
        writeln!(pairs.writer)
    }
}

/// Writes fields as they come.
struct Pairs<'a> {
    writer: Writer<'a>,
    result: fmt::Result,
}

impl Pairs<'_> {
    fn pair(&mut self, field: &Field, value: &str) {
        let key = if field.name() == "message" { "msg" } else { field.name() };
        let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
        if self.result.is_ok() {
            self.result = if !value.is_empty() && value.chars().all(plain) {
                write!(self.writer, " {key}={value}")
            } else {
                write!(self.writer, " {key}={value:?}")
            };
        }
    }
}

impl Visit for Pairs<'_> {
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
    use std::sync::{Arc, Mutex};

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

    #[test]
    fn a_line_is_made_of_pairs_and_cannot_be_broken_by_a_value() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(KeyValue)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(peer = %"Qm1", text = "two words\n\u{1b}[0m", bytes = 3, "it came");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("time="), "{text}");
        assert!(text.ends_with(
            " level=info target=headwater::logs::tests msg=\"it came\" peer=Qm1 \
             text=\"two words\\n\\u{1b}[0m\" bytes=3\n"
        ));
    }
}
