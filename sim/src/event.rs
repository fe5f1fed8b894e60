//! Everything that can be planned.

use headwater_core::id::ConnectionId;

use crate::net::NetEvent;
use crate::timeline::Timeline;

/// Time, with everything that is planned.
pub(crate) type Time = Timeline<Event>;

/// Something planned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Net(NetEvent),
    /// A task of one life of a node runs, unless it was planned anew meanwhile.
    Run {
        node: usize,
        life: u32,
        task: Task,
    },
    /// An application does something.
    Act {
        node: usize,
        life: u32,
    },
    /// An application connects a peer again that it has disconnected.
    Connect {
        node: usize,
        life: u32,
        peer: usize,
    },
    /// An application lets a peer in again that it has kept out.
    Unblock {
        node: usize,
        life: u32,
        peer: usize,
    },
    /// A fault of this kind comes.
    Fault(Fault),
    /// A node that is down starts.
    Start {
        node: usize,
    },
    /// A divided network is one again.
    Unite {
        part: u8,
    },
    /// An application reads again.
    ReadAgain {
        node: usize,
        life: u32,
    },
    /// The world looks whether it is whole.
    Look,
}

/// Something of a node that runs for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// The node; the whole of it, where it is one machine.
    Node,
    /// One connection.
    Connection(ConnectionId),
}

/// The kinds of faults; see `scenario::Faults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Reset,
    CutOff,
    Stall,
    BlackHole,
    SlowLink,
    Partition,
    Kill,
    PowerOff,
    Restart,
    Freeze,
    Clock,
    SlowApplication,
    Disconnect,
    Block,
}
