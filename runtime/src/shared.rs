//! What the tasks of one node share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use event_listener::{Event, listener};
use headwater_core::id::{ConnectionId, PeerId};

use crate::call::{CALLS_MAX, Call};
use crate::inbox::Arrivals;
use crate::notifications::News;
use crate::queue::{Closed, Queue};
use crate::routes::Routes;
use crate::wake::{Wake, lock};

/// A connection has left a report.
pub(crate) const REPORTS: u32 = 1;
/// The application has made room for notifications.
pub(crate) const NEWS: u32 = 1 << 1;
/// A call waits.
const CALLS: u32 = 1 << 2;
/// The last handle is gone.
pub(crate) const UNHELD: u32 = 1 << 3;
/// A link was accepted.
pub(crate) const ACCEPTED: u32 = 1 << 4;
/// A task of the node has ended.
pub(crate) const ENDED: u32 = 1 << 5;

/// One node, as seen by all its tasks and handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) local: PeerId,
    pub(crate) routes: Routes,
    pub(crate) arrivals: Arrivals,
    pub(crate) news: News,
    /// Wakes the node's task.
    pub(crate) wake: Wake,
    /// What the application wants.
    pub(crate) calls: Queue<Call>,
    /// Connections with a report that was not taken: each at most once.
    reporting: Mutex<Vec<ConnectionId>>,
    has_ended: AtomicBool,
    end: Event,
}

impl Shared {
    pub(crate) fn new(local: PeerId) -> Self {
        Self {
            local,
            routes: Routes::default(),
            arrivals: Arrivals::default(),
            news: News::default(),
            wake: Wake::default(),
            calls: Queue::new(CALLS_MAX),
            reporting: Mutex::default(),
            has_ended: AtomicBool::new(false),
            end: Event::new(),
        }
    }

    /// Leaves a call for the node's task, when there is room for it.
    pub(crate) async fn call(&self, call: Call) -> Result<(), Closed> {
        self.calls.put(call).await?;
        self.wake.set(CALLS);
        Ok(())
    }

    /// A connection has left its first report since the last was taken.
    pub(crate) fn has_report(&self, connection: ConnectionId) {
        lock(&self.reporting).push(connection);
        self.wake.set(REPORTS);
    }

    /// Takes the names of the connections that have something to report.
    pub(crate) fn take_reporting(&self, into: &mut Vec<ConnectionId>) {
        into.append(&mut lock(&self.reporting));
    }

    /// Nothing happens any more: whoever waits hears so.
    pub(crate) fn close(&self) {
        self.calls.close();
        self.routes.close();
        self.arrivals.end();
        self.news.end();
    }

    /// Nothing of the node is left.
    fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.end.notify(usize::MAX);
    }

    /// Waits until nothing of the node is left.
    pub(crate) async fn ended(&self) {
        while !self.has_ended.load(Ordering::Acquire) {
            listener!(self.end => end);
            // It may have ended before this one listened.
            if self.has_ended.load(Ordering::Acquire) {
                break;
            }
            end.await;
        }
    }
}

/// Held by the node's task, and dropped last: then nothing of the node is left.
#[derive(Debug)]
pub(crate) struct Life(pub(crate) Arc<Shared>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.end();
    }
}
