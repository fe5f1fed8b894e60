//! A node of the demo on tokio: its tasks run on a runtime of its own.

use std::future::Future;
use std::sync::Arc;

use headwater_identity::NodeKey;
use tokio::runtime::{self, Runtime};

use super::awaited::{Awaited, Place};
use super::member::{CALL_DEADLINE, config, failed};
use super::scene::Scene;
use crate::failure::Failure;
use crate::net::Security;

/// A runtime of one node.
pub(crate) struct OnTokio(Runtime);

/// Starts a node.
pub(crate) fn start(
    scene: &Arc<Scene>,
    index: usize,
    key: &NodeKey,
    security: Security,
) -> Result<Awaited<OnTokio>, Failure> {
    let name = scene.name(index);
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| failed(name, "start a runtime", error))?;
    let started = {
        let _inside = runtime.enter();
        crate::net::start(key, config(), security)?
    };
    Ok(Awaited::new(scene, index, OnTokio(runtime), started))
}

impl Place for OnTokio {
    fn wait<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        self.0.block_on(async { tokio::time::timeout(CALL_DEADLINE, call).await }).ok()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    fn end(self) {
        self.0.shutdown_timeout(CALL_DEADLINE);
    }
}
