//! Nodes of `headwater-mio`, each with its loop on a thread.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use headwater_conformance as suite;
use headwater_conformance::{Adapter, CallError, Running, Security, Wait};
use headwater_core::contract::{Notification, RequiredId};
use headwater_core::error::{BorrowError, SendError, UndeliveredReason};
use headwater_core::message::Message;
use headwater_core::peers::Rule;
use headwater_core::snapshot::Snapshot;
use headwater_mio::{
    Address, Borrowed, Builder, Config, Error, Handle, ListenError, Messages, NodeKey,
    Notifications, PeerId, ProtocolId, Started,
};
use headwater_recorder::Recorder;

pub(crate) struct OnMio(pub(crate) Security);

/// A handle, with the loop's thread until that was joined.
#[derive(Clone)]
pub(crate) struct Node {
    handle: Handle,
    thread: Arc<Mutex<Option<JoinHandle<io::Result<()>>>>>,
}

/// Something of a node.
pub(crate) struct On<T>(T);

impl Adapter for OnMio {
    type Node = Node;
    type Messages = On<Messages>;
    type Notifications = On<Notifications>;

    fn security(&self) -> Security {
        self.0
    }

    fn start_recorded(
        &self,
        key: &NodeKey,
        config: Config,
        recorder: Option<Recorder>,
    ) -> Running<Self> {
        let started = match self.0 {
            Security::Insecure => {
                let builder = Builder::insecure(key.peer_id()).unwrap();
                builder.config(config).recorder(recorder).start()
            }
            Security::Tls => Builder::new(key).unwrap().config(config).recorder(recorder).start(),
        }
        .unwrap();
        let Started { handle, messages, notifications, thread } = started;
        let node = Node { handle, thread: Arc::new(Mutex::new(Some(thread))) };
        Running { node, messages: On(messages), notifications: On(notifications) }
    }
}

fn call_error(error: Error) -> CallError {
    match error {
        Error::Call(error) => CallError::Call(error),
        Error::Dial(error) => CallError::Dial(error),
        Error::Stopped => CallError::Stopped,
        _ => panic!("an error that the suite does not know: {error}"),
    }
}

fn wait(error: RecvTimeoutError) -> Wait {
    match error {
        RecvTimeoutError::Timeout => Wait::Over,
        RecvTimeoutError::Disconnected => Wait::Ended,
    }
}

impl suite::Node for Node {
    type Stream = On<Borrowed>;

    fn id(&self) -> PeerId {
        self.handle.id()
    }

    fn listen(&self, address: SocketAddr) -> Result<SocketAddr, suite::ListenError> {
        self.handle.listen(address).map_err(|error| match error {
            ListenError::Call(error) => suite::ListenError::Call(error),
            ListenError::Bind(cause) => suite::ListenError::Bind(cause),
            ListenError::Stopped => suite::ListenError::Stopped,
            _ => panic!("an error that the suite does not know: {error}"),
        })
    }

    fn dial(&self, address: Address) -> Result<PeerId, CallError> {
        self.handle.dial(address).map_err(call_error)
    }

    fn connect(&self, peer: PeerId) -> Result<PeerId, CallError> {
        self.handle.connect(peer).map_err(call_error)
    }

    fn require(&self, addresses: Vec<Address>) -> Result<RequiredId, CallError> {
        self.handle.require(addresses).map_err(call_error)
    }

    fn release(&self, required: RequiredId) -> Result<(), CallError> {
        self.handle.release(required).map_err(call_error)
    }

    fn block(&self, rule: Rule) -> Result<(), CallError> {
        self.handle.block(rule).map_err(call_error)
    }

    fn unblock(&self, rule: Rule) -> Result<(), CallError> {
        self.handle.unblock(rule).map_err(call_error)
    }

    fn disconnect(&self, peer: PeerId) -> Result<(), CallError> {
        self.handle.disconnect(peer).map_err(call_error)
    }

    fn register(&self, protocol: ProtocolId) -> Result<(), CallError> {
        self.handle.register(protocol).map_err(call_error)
    }

    fn unregister(&self, protocol: &ProtocolId) -> Result<(), CallError> {
        self.handle.unregister(protocol).map_err(call_error)
    }

    fn send(&self, to: PeerId, of: &ProtocolId, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.handle.send(&to, of, payload)
    }

    fn send_wait(
        &self,
        to: PeerId,
        of: &ProtocolId,
        payload: Bytes,
        wait: Duration,
    ) -> Result<(), SendError<Bytes>> {
        self.handle.send_wait(&to, of, payload, wait)
    }

    fn borrow(
        &self,
        to: PeerId,
        of: &ProtocolId,
        wait: Duration,
    ) -> Result<On<Borrowed>, BorrowError> {
        self.handle.borrow(&to, of, wait).map(On)
    }

    fn supports(&self, peer: PeerId, protocol: &ProtocolId) -> bool {
        self.handle.supports(&peer, protocol)
    }

    fn peers(&self) -> Vec<PeerId> {
        self.handle.peers()
    }

    fn snapshot(&self) -> Result<Snapshot, CallError> {
        self.handle.snapshot().map_err(call_error)
    }

    fn stop(&self, wait: Duration) -> bool {
        let (stopped, end) = channel();
        let handle = self.handle.clone();
        std::thread::spawn(move || {
            handle.stop();
            // Nobody listens any more when the time is over.
            let _ = stopped.send(());
        });
        end.recv_timeout(wait).is_ok()
    }

    fn is_quiet(&self) -> bool {
        let mut thread = self.thread.lock().unwrap();
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return false;
        }
        if let Some(thread) = thread.take() {
            thread.join().expect("the loop does not panic").expect("the loop does not fail");
        }
        true
    }
}

impl suite::Stream for On<Borrowed> {
    fn send(&mut self, payload: Bytes) -> Result<(), SendError<Bytes>> {
        self.0.send(payload)
    }

    fn send_wait(&mut self, payload: Bytes, wait: Duration) -> Result<(), SendError<Bytes>> {
        self.0.send_wait(payload, wait)
    }

    fn lost(&self) -> Option<UndeliveredReason> {
        self.0.lost()
    }
}

impl suite::Messages for On<Messages> {
    fn recv(&mut self, time: Duration) -> Result<Message, Wait> {
        self.0.recv_timeout(time).map_err(wait)
    }
}

impl suite::Notifications for On<Notifications> {
    fn recv(&mut self, time: Duration) -> Result<Notification, Wait> {
        self.0.recv_timeout(time).map_err(wait)
    }
}
