//! What runs the tasks of a node.

use std::fmt::Debug;
use std::future::Future;
#[cfg(feature = "smol")]
use std::sync::Weak;

/// Something that runs tasks. Clones run them in the same place.
///
/// ```
/// use headwater_async_std::Executor;
///
/// #[derive(Clone, Debug)]
/// struct OnThreads;
///
/// impl Executor for OnThreads {
///     fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
///         std::thread::spawn(|| smol::block_on(task));
///     }
/// }
/// ```
pub trait Executor: Clone + Debug + Send + Sync + 'static {
    /// The executor that everybody in the process uses; `None` if there is no such one of this
    /// kind.
    #[must_use]
    fn global() -> Option<Self> {
        None
    }

    /// Runs a task to its end. One that panics is dropped, and takes nothing else with it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// The executor of `smol::spawn`: one thread, or as many as the environment variable
/// `SMOL_THREADS` says.
#[cfg(feature = "smol")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Smol;

#[cfg(feature = "smol")]
impl Executor for Smol {
    fn global() -> Option<Self> {
        Some(Self)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }
}

/// An executor of one's own, which has to be run, on as many threads as one likes. The tasks of a
/// node know it weakly: when whoever owns it drops it, they are dropped with it.
#[cfg(feature = "smol")]
impl Executor for Weak<smol::Executor<'static>> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

/// The executor of `async_std::task::spawn`: a thread for each processor, or as many as the
/// environment variable `ASYNC_STD_THREAD_COUNT` says where async-std itself has started them.
#[cfg(feature = "async-std")]
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStd;

#[cfg(feature = "async-std")]
impl Executor for AsyncStd {
    fn global() -> Option<Self> {
        Some(Self)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        async_global_executor::spawn(task).detach();
    }
}
