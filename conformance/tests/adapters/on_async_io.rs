//! Nodes of `headwater-async-std`, on the executors that a whole process shares.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater_async_std::{
    AsyncIo, AsyncStd, BuilderOn, Config, Executor, Messages, Node, NodeKey, Notifications, Smol,
};
use headwater_conformance::{Adapter, Running, Security};
use headwater_recorder::Recorder;

use crate::on_runtime::{On, Place, running};

/// Nodes on an executor, which is named by its type.
pub(crate) struct OnAsyncIo<P>(pub(crate) Security, pub(crate) P);

/// An executor, and how its programs wait.
pub(crate) trait Waits: Executor {
    fn block_on<T>(future: impl Future<Output = T>) -> T;
}

impl Waits for Smol {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        smol::block_on(future)
    }
}

impl Waits for AsyncStd {
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_std::task::block_on(future)
    }
}

/// Knows how many of the tasks of one node are left.
#[derive(Clone, Debug)]
pub(crate) struct Counted<P> {
    executor: P,
    tasks: Arc<AtomicUsize>,
}

struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<P: Executor> Executor for Counted<P> {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.fetch_add(1, Ordering::SeqCst);
        let counts = Counts(Arc::clone(&self.tasks));
        self.executor.spawn(async move {
            task.await;
            drop(counts);
        });
    }
}

impl<P: Waits> Place for Counted<P> {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        P::block_on(future)
    }

    fn within<T>(&self, wait: Duration, future: impl Future<Output = T>) -> Option<T> {
        let late = async {
            smol::Timer::after(wait).await;
            None
        };
        P::block_on(smol::future::or(async { Some(future.await) }, late))
    }

    fn is_quiet(&self) -> bool {
        self.tasks.load(Ordering::SeqCst) == 0
    }
}

impl<P: Waits> Adapter for OnAsyncIo<P> {
    type Node = On<Node, Counted<P>>;
    type Messages = On<Messages, Counted<P>>;
    type Notifications = On<Notifications, Counted<P>>;

    fn security(&self) -> Security {
        self.0
    }

    fn start_recorded(
        &self,
        key: &NodeKey,
        config: Config,
        recorder: Option<Recorder>,
    ) -> Running<Self> {
        let executor = Counted { executor: self.1.clone(), tasks: Arc::default() };
        let runtime = AsyncIo::new(executor.clone());
        let started = match self.0 {
            Security::Insecure => {
                let builder = BuilderOn::insecure(key.peer_id()).unwrap();
                builder.config(config).runtime(runtime).recorder(recorder).start()
            }
            Security::Tls => {
                let builder = BuilderOn::new(key).unwrap();
                builder.config(config).runtime(runtime).recorder(recorder).start()
            }
        }
        .unwrap();
        running(started, executor)
    }
}
