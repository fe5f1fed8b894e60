//! A node of the demo on smol: its tasks run on an executor of its own, on one thread.

use std::future::Future;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use headwater_async_std::{AsyncIo, BuilderOn};
use headwater_identity::NodeKey;
use smol::channel::{Sender, bounded};
use smol::{Executor, Timer};

use super::awaited::{Awaited, Place};
use super::member::{CALL_DEADLINE, config, failed};
use super::scene::Scene;
use crate::failure::Failure;
use crate::net::Security;

/// An executor of one node, and its thread.
pub(crate) struct OnSmol {
    executor: Arc<Executor<'static>>,
    /// The thread runs until this is dropped.
    running: Sender<()>,
    thread: JoinHandle<()>,
}

/// Starts a node.
pub(crate) fn start(
    scene: &Arc<Scene>,
    index: usize,
    key: &NodeKey,
    security: Security,
) -> Result<Awaited<OnSmol>, Failure> {
    let name = scene.name(index);
    let executor = Arc::new(Executor::new());
    let runtime = AsyncIo::new(Arc::downgrade(&executor));
    let started = match security {
        Security::Tls => BuilderOn::new(key)
            .and_then(|builder| builder.config(config()).runtime(runtime).start()),
        Security::Insecure => BuilderOn::insecure(key.peer_id())
            .and_then(|builder| builder.config(config()).runtime(runtime).start()),
    };
    let started = started.map_err(|error| failed(name, "start", error))?;
    let (running, ended) = bounded(1);
    let runs = Arc::clone(&executor);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // An error: the other end is dropped.
        let _ = smol::block_on(runs.run(ended.recv()));
    });
    let thread = thread.map_err(|error| failed(name, "start a thread", error))?;
    Ok(Awaited::new(scene, index, OnSmol { executor, running, thread }, started))
}

impl Place for OnSmol {
    fn wait<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let late = async {
            Timer::after(CALL_DEADLINE).await;
            None
        };
        smol::block_on(smol::future::or(async { Some(call.await) }, late))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(task).detach();
    }

    fn end(self) {
        drop(self.running);
        // If it panicked its tasks have ended as well.
        let _ = self.thread.join();
        // The last of it: the tasks are dropped here.
        drop(self.executor);
    }
}
