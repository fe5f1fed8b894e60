//! Calls of the application on their way to the loop's thread, and their answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use headwater_core::address::Address;
use headwater_core::contract::RequiredId;
use headwater_core::error::{ApplicationError, BorrowError};
use headwater_core::id::{PeerId, ProtocolId};
use headwater_core::peers::Rule;
use headwater_core::snapshot::Snapshot;
use headwater_core::supervisor::RequiredState;

use crate::error::{Error, ListenError};
use crate::lane::Lane;
use crate::signal::Signal;

/// Calls that may wait for the loop; a caller beyond that waits for its turn.
pub(crate) const CALLS_MAX: usize = 64;

/// Where the answer to a call goes; it never blocks the loop.
pub(crate) type Answer<T> = SyncSender<T>;

/// Gives an answer; one whose caller is gone is dropped.
pub(crate) fn give<T>(answer: &Answer<T>, value: T) {
    // There is room for the one answer, so that it fails only without a caller.
    let _ = answer.try_send(value);
}

/// What the application wants.
#[derive(Debug)]
pub(crate) enum Call {
    Listen { address: SocketAddr, answer: Answer<Result<SocketAddr, ListenError>> },
    Dial { address: Address, answer: Answer<Result<PeerId, Error>> },
    Connect { peer: PeerId, answer: Answer<Result<PeerId, Error>> },
    Require { addresses: Vec<Address>, answer: Answer<Result<RequiredId, ApplicationError>> },
    RequiredState { required: RequiredId, answer: Answer<Option<RequiredState>> },
    Snapshot { answer: Answer<Box<Snapshot>> },
    Change { change: Change, answer: Answer<Result<(), ApplicationError>> },
    Borrow(Borrow),
    Stop,
}

/// A call that is answered at once.
#[derive(Debug)]
pub(crate) enum Change {
    Disconnect(PeerId),
    Register(ProtocolId),
    Unregister(ProtocolId),
    Block(Rule),
    Unblock(Rule),
    SetRequired(RequiredId, Vec<Address>),
    Release(RequiredId),
}

/// A call that waits until a stream is idle.
#[derive(Debug)]
pub(crate) struct Borrow {
    pub(crate) peer: PeerId,
    pub(crate) protocol: ProtocolId,
    /// When the caller gives up.
    pub(crate) until: Option<Instant>,
    pub(crate) answer: Answer<Result<Arc<Lane>, BorrowError>>,
}

/// The caller's end of the calls. The loop stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    /// `None` only while it is dropped.
    calls: Option<SyncSender<Call>>,
    signal: Arc<Signal>,
}

impl Caller {
    pub(crate) fn new(calls: SyncSender<Call>, signal: Arc<Signal>) -> Self {
        Self { calls: Some(calls), signal }
    }

    /// Makes a call and waits for its answer; `None` if the loop has ended.
    pub(crate) fn call<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Option<T> {
        // Room for the one answer.
        let (answer, result) = sync_channel(1);
        self.send(call(answer));
        result.recv().ok()
    }

    /// Makes a call that has no answer.
    pub(crate) fn send(&self, call: Call) {
        if let Some(calls) = &self.calls {
            // If the loop has ended the answer's other end is dropped with the call.
            let _ = calls.send(call);
        }
        self.signal.raise();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // In this order, so that the loop finds the calls closed when it is awake.
        self.calls = None;
        self.signal.raise();
    }
}
