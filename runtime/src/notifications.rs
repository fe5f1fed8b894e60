//! What the application is told, one difference at a time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use headwater_core::contract::Notification;

use crate::shared::{NEWS, Shared};
use crate::wake::{Wake, lock};

/// Notifications that wait here while the node runs. What is behind them stays in core, where
/// what a peer did meanwhile collapses.
const QUEUE_MAX: usize = 64;

/// Notifications between the node's task and their owner.
///
/// Bound: [`QUEUE_MAX`]; at the node's end what core still has is added, which is a bounded
/// number for each peer.
#[derive(Debug, Default)]
pub(crate) struct News {
    queue: Mutex<Queue>,
    wake: Wake,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Notification>,
    /// The node's task has more.
    is_full: bool,
    has_ended: bool,
    is_unread: bool,
}

impl News {
    /// Whether one more may be put; if not, the node's task hears when it may.
    pub(crate) fn has_room(&self) -> bool {
        let mut queue = lock(&self.queue);
        queue.is_full = !queue.is_unread && queue.waiting.len() >= QUEUE_MAX;
        !queue.is_full
    }

    /// Puts one more; drops it if nobody reads them.
    pub(crate) fn put(&self, notification: Notification) {
        let mut queue = lock(&self.queue);
        if !queue.is_unread {
            queue.waiting.push_back(notification);
            drop(queue);
            self.wake.set(1);
        }
    }

    /// No more will come.
    pub(crate) fn end(&self) {
        lock(&self.queue).has_ended = true;
        self.wake.set(1);
    }
}

/// What a node tells its application: peers that come and go, what they support, what could not
/// be delivered.
///
/// It has one owner. Reading late loses nothing that still matters: what a peer did and undid
/// meanwhile is told as one pair with a count. Dropping it is fine.
#[derive(Debug)]
pub struct Notifications {
    shared: Arc<Shared>,
}

impl Notifications {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The next notification; `None` after [`Notification::Stopped`], when the node has stopped.
    ///
    /// Cancel-safe: a dropped future has taken nothing.
    pub async fn recv(&mut self) -> Option<Notification> {
        poll_fn(|cx| {
            loop {
                self.shared.news.wake.take();
                match self.take() {
                    Ok(taken) => return Poll::Ready(taken),
                    Err(Empty) if self.shared.news.wake.sleep(cx.waker()) => return Poll::Pending,
                    Err(Empty) => {}
                }
            }
        })
        .await
    }

    /// The next notification, if one is there.
    pub fn try_recv(&mut self) -> Option<Notification> {
        self.take().ok().flatten()
    }

    fn take(&self) -> Result<Option<Notification>, Empty> {
        let mut queue = lock(&self.shared.news.queue);
        let taken = queue.waiting.pop_front();
        if taken.is_none() && !queue.has_ended {
            return Err(Empty);
        }
        if std::mem::take(&mut queue.is_full) {
            drop(queue);
            self.shared.wake.set(NEWS);
        }
        Ok(taken)
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.news.queue);
        queue.is_unread = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.wake.set(NEWS);
    }
}

/// Nothing is there now, but more may come.
#[derive(Debug)]
struct Empty;

#[cfg(test)]
mod tests {
    use headwater_core::contract::ListenerId;

    use super::*;

    fn notification(id: u32) -> Notification {
        let local = "127.0.0.1:1".parse().unwrap();
        Notification::Listening { listener: ListenerId(id), local }
    }

    fn pair() -> (Arc<Shared>, Notifications) {
        let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
        let shared = Arc::new(Shared::new(local));
        (Arc::clone(&shared), Notifications::new(shared))
    }

    #[tokio::test]
    async fn a_full_queue_says_so_once_there_is_room() {
        let (shared, mut notifications) = pair();
        for id in 0..64 {
            assert!(shared.news.has_room());
            shared.news.put(notification(id));
        }
        assert!(!shared.news.has_room());
        assert_eq!(shared.wake.take(), 0);
        assert_eq!(notifications.recv().await, Some(notification(0)));
        assert_eq!(shared.wake.take(), NEWS);
        assert!(shared.news.has_room());
    }

    #[tokio::test]
    async fn none_comes_only_after_everything() {
        let (shared, mut notifications) = pair();
        assert_eq!(notifications.try_recv(), None);
        shared.news.put(notification(1));
        shared.close();
        assert_eq!(notifications.recv().await, Some(notification(1)));
        assert_eq!(notifications.recv().await, None);
    }

    #[test]
    fn unread_notifications_are_not_kept() {
        let (shared, notifications) = pair();
        drop(notifications);
        for id in 0..200 {
            assert!(shared.news.has_room());
            shared.news.put(notification(id));
        }
        assert_eq!(lock(&shared.news.queue).waiting.len(), 0);
    }
}
