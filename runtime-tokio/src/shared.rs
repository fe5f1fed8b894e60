//! What the tasks of one node share.

use std::sync::Mutex;

use headwater_core::id::{ConnectionId, PeerId};

use crate::inbox::Arrivals;
use crate::notifications::News;
use crate::routes::Routes;
use crate::wake::{Wake, lock};

/// A connection has left a report.
pub(crate) const REPORTS: u32 = 1;
/// The application has made room for notifications.
pub(crate) const NEWS: u32 = 1 << 1;

/// One node, as seen by all its tasks and handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) local: PeerId,
    pub(crate) routes: Routes,
    pub(crate) arrivals: Arrivals,
    pub(crate) news: News,
    /// Wakes the node's task.
    pub(crate) wake: Wake,
    /// Connections with a report that was not taken: each at most once.
    reporting: Mutex<Vec<ConnectionId>>,
}

impl Shared {
    pub(crate) fn new(local: PeerId) -> Self {
        Self {
            local,
            routes: Routes::default(),
            arrivals: Arrivals::default(),
            news: News::default(),
            wake: Wake::default(),
            reporting: Mutex::default(),
        }
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
        self.routes.close();
        self.arrivals.end();
        self.news.end();
    }
}
