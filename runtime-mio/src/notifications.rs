//! What happens, as the application hears of it.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use headwater_core::contract::Notification;

use crate::shared::{Fed, Shared};

/// What happens, for one reader. The outcomes of [`Handle::listen`](crate::Handle::listen) and
/// [`Handle::dial`](crate::Handle::dial) are not among it: they are their answers.
///
/// What is not read waits in the node as the state of each peer, so a reader that sleeps
/// through a thousand reconnections finds one. It may be dropped; the node goes on.
#[derive(Debug)]
pub struct Notifications {
    shared: Arc<Shared>,
}

impl Notifications {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits for the next one; `None` when the node has stopped and all were taken.
    pub fn recv(&mut self) -> Option<Notification> {
        self.take(self.shared.notices.take(None)).ok()
    }

    /// Waits for the next one, `timeout` at most.
    ///
    /// # Errors
    ///
    /// `Timeout`, or `Disconnected` when the node has stopped and all were taken.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Notification, RecvTimeoutError> {
        self.take(self.shared.notices.take(Instant::now().checked_add(timeout)))
    }

    /// Takes the next one if there is one.
    pub fn try_recv(&mut self) -> Option<Notification> {
        self.take(self.shared.notices.try_take()).ok()
    }

    fn take(&self, fed: Fed<Notification>) -> Result<Notification, RecvTimeoutError> {
        match fed {
            Fed::Item(notification, was_held_back) => {
                if was_held_back {
                    self.shared.signal.raise();
                }
                Ok(notification)
            }
            Fed::Nothing => Err(RecvTimeoutError::Timeout),
            Fed::End => Err(RecvTimeoutError::Disconnected),
        }
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.shared.notices.leave();
        while self.try_recv().is_some() {}
        self.shared.signal.raise();
    }
}
