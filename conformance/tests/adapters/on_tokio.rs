//! Nodes of `headwater-tokio`, each on a runtime of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use headwater_conformance::{Adapter, Running, Security};
use headwater_recorder::Recorder;
use headwater_tokio::{Builder, Config, Messages, Node, NodeKey, Notifications};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::on_runtime::{On, Place, running};

pub(crate) struct OnTokio(pub(crate) Security);

impl Place for Arc<Runtime> {
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        Runtime::block_on(self, future)
    }

    fn within<T>(&self, wait: Duration, future: impl Future<Output = T>) -> Option<T> {
        Runtime::block_on(self, async { timeout(wait, future).await.ok() })
    }

    fn is_quiet(&self) -> bool {
        self.metrics().num_alive_tasks() == 0
    }
}

impl Adapter for OnTokio {
    type Node = On<Node, Arc<Runtime>>;
    type Messages = On<Messages, Arc<Runtime>>;
    type Notifications = On<Notifications, Arc<Runtime>>;

    fn security(&self) -> Security {
        self.0
    }

    fn start_recorded(
        &self,
        key: &NodeKey,
        config: Config,
        recorder: Option<Recorder>,
    ) -> Running<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = Arc::new(builder.worker_threads(2).enable_all().build().unwrap());
        let entered = runtime.enter();
        let started = match self.0 {
            Security::Insecure => {
                let builder = Builder::insecure(key.peer_id()).unwrap();
                builder.config(config).recorder(recorder).start()
            }
            Security::Tls => Builder::new(key).unwrap().config(config).recorder(recorder).start(),
        }
        .unwrap();
        drop(entered);
        running(started, runtime)
    }
}
