//! What `/events` says: the events of `--json` as they happen, with the newest ones for whoever
//! comes later.
//!
//! Bound: [`KEPT`] events; a reader that is slower than that misses some, and is told so by their
//! numbers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use headwater_core::contract::Notification;
use tokio::sync::watch;

use crate::event::{self, Event, Line};

/// Events that are kept.
const KEPT: usize = 256;

/// Events of all nodes of the program. Clones are of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Feed {
    state: Arc<Mutex<Kept>>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
}

/// The newest events, each with its number.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<(u64, String)>,
    made: u64,
}

impl Feed {
    /// A feed without events.
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), newest: watch::Sender::new(0) }
    }

    /// Adds what a node tells.
    pub(crate) fn notification(&self, node: Option<&str>, notification: &Notification) {
        event::of(notification, |event| self.event(node, event));
    }

    /// Adds an event, with the time.
    pub(crate) fn event(&self, node: Option<&str>, event: Event<'_>) {
        let line = serde_json::to_value(Line { event, node });
        let Ok(serde_json::Value::Object(mut line)) = line else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        line.insert("time_ms".to_owned(), shape_millis(now).into());
        let text = serde_json::Value::Object(line).to_string();
        let number = {
            let mut kept = self.lock();
            kept.made += 1;
            let number = kept.made;
            kept.events.push_back((number, text));
            if kept.events.len() > KEPT {
                kept.events.pop_front();
            }
            number
        };
        self.newest.send_replace(number);
    }

    /// Events after the one of that number, in the form of server-sent events; with the number of
    /// the last.
    pub(crate) fn after(&self, number: u64) -> (String, u64) {
        let kept = self.lock();
        // A reader that knows of more than there was has heard an earlier life of the program.
        let number = if number > kept.made { 0 } else { number };
        let new = kept.events.iter().filter(|(other, _)| *other > number);
        let text = new.map(|(number, text)| format!("id: {number}\ndata: {text}\n\n")).collect();
        (text, kept.made)
    }

    /// Tells when there are more.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shape_millis(time: std::time::Duration) -> u64 {
    super::shape::millis(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_numbered() {
        let feed = Feed::new();
        for _ in 0..KEPT + 10 {
            feed.event(Some("n"), Event::Connected { peer: "Q" });
        }
        let (text, last) = feed.after(0);
        assert_eq!(text.matches("data: ").count(), KEPT);
        assert!(text.starts_with("id: 11\ndata: {"), "{text:.80}");
        assert_eq!(last, KEPT as u64 + 10);
        assert_eq!(*feed.watch().borrow(), last);
        assert!(feed.after(last).0.is_empty());
        assert_eq!(feed.after(last + 1).0.matches("data: ").count(), KEPT, "another life");
        let (text, _) = feed.after(last - 1);
        assert!(text.contains(r#""event":"connected""#) && text.contains(r#""node":"n""#));
    }
}
