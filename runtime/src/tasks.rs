//! Tasks of a node: telling them to end, and hearing what has become of them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::shared::{ENDED, Shared};
use crate::wake::{Wake, lock};

/// The name of one task of a node, never used again.
pub(crate) type TaskId = u64;

/// What the tasks of a node have come to, until its own task takes it.
///
/// Bound: one entry for each task that was started.
#[derive(Debug)]
pub(crate) struct Results<T> {
    ended: Mutex<Vec<(TaskId, Option<T>)>>,
    shared: Arc<Shared>,
}

impl<T: Send + 'static> Results<T> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { ended: Mutex::default(), shared }
    }

    /// The work of a task, which leaves its result here; `None` if it panicked or was dropped.
    pub(crate) fn report(
        self: Arc<Self>,
        task: TaskId,
        work: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        // Made here, so that a task that never runs is reported as well.
        let mut report = Report { task, result: None, results: self };
        async move {
            let report = &mut report;
            report.result = Some(work.await);
        }
    }

    /// Takes what has ended.
    pub(crate) fn take(&self, into: &mut Vec<(TaskId, Option<T>)>) {
        into.append(&mut lock(&self.ended));
    }
}

struct Report<T> {
    task: TaskId,
    result: Option<T>,
    results: Arc<Results<T>>,
}

impl<T> Drop for Report<T> {
    fn drop(&mut self) {
        lock(&self.results.ended).push((self.task, self.result.take()));
        self.results.shared.wake.set(ENDED);
    }
}

/// Tells one task that its work is not wanted any more.
#[derive(Debug, Default)]
pub(crate) struct Cancel(Wake);

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.0.set(1);
    }

    /// Does the work, unless it is cancelled before its end: then it is dropped.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            loop {
                if self.0.take() != 0 {
                    return Poll::Ready(None);
                }
                if let Poll::Ready(result) = work.as_mut().poll(cx) {
                    return Poll::Ready(Some(result));
                }
                if self.0.sleep(cx.waker()) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::task::{Context, Waker};

    use super::*;

    fn results() -> Arc<Results<u8>> {
        let local = "QmcQHCuAXaFkbcsPUj7e37hXXfZ9DdN7bozseo5oX4qiC4".parse().unwrap();
        Arc::new(Results::new(Arc::new(Shared::new(local))))
    }

    fn taken(results: &Results<u8>) -> Vec<(TaskId, Option<u8>)> {
        let mut into = Vec::new();
        results.take(&mut into);
        into
    }

    #[test]
    fn each_task_is_reported_once_however_it_ends() {
        let results = results();
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut done = pin!(Arc::clone(&results).report(1, ready(5)));
            assert!(done.as_mut().poll(&mut cx).is_ready());
            assert_eq!(taken(&results), [(1, Some(5))]);
            assert_eq!(results.shared.wake.take(), ENDED);
        }
        {
            let mut dropped = pin!(Arc::clone(&results).report(2, pending()));
            assert!(dropped.as_mut().poll(&mut cx).is_pending());
            assert!(taken(&results).is_empty());
        }
        drop(Arc::clone(&results).report(3, ready(0)));
        assert_eq!(taken(&results), [(2, None), (3, None)]);
    }

    #[test]
    fn cancelled_work_is_dropped_at_its_next_turn() {
        let held = Arc::new(());
        let cancel = Cancel::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (hold, work) = (Arc::clone(&held), pending::<()>());
        let mut task = Box::pin(cancel.unless(async move {
            work.await;
            drop(hold);
        }));
        assert!(task.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Arc::strong_count(&held), 2);
        cancel.cancel();
        assert_eq!(task.as_mut().poll(&mut cx), Poll::Ready(None));
        drop(task);
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(pin!(cancel.unless(ready(3))).poll(&mut cx), Poll::Ready(Some(3)));
    }
}
