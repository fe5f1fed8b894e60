//! A peer-to-peer node as pure state machines.
//!
//! Everything that a node decides is here, and nothing that it does: no socket, no clock, no
//! thread, no random source. A driver tells the machines what happened and carries out what they
//! ask for. It speaks the Liquid protocol on the wire: yamux in yamux over a secure channel,
//! packages with a length in front, an exchange of protocol lists.
//!
//! # The loop
//!
//! A driver of an [`Endpoint`](endpoint::Endpoint) owns a poll (epoll, kqueue, whatever), the
//! sockets, and two bits for each connection: `readable` and `writable`, set by the operating
//! system and cleared only when a read or a write would block. Its work list is what
//! `poll_ready` gives, plus the connections whose bit meets a lent buffer or bytes to transmit.
//! It goes round like this, and calls may come in any number before it drains:
//!
//! 1. Tell what happened: `handle_event`, `handle_accepted`, `handle_dialed`, `handle_eof`,
//!    `handle_io_error`.
//! 2. For each connection on the work list: write what `transmit` lends, confirm it with
//!    `handle_transmitted`; read into what `recv_buf` lends, confirm it with `handle_received`.
//!    Both within a budget, so that one connection does not starve the others.
//! 3. Carry out each `poll_command`.
//! 4. Hand `poll_notification` and `poll_message` to the application.
//! 5. If the work list is empty, sleep until `next_timeout` or until the system has news.
//! 6. If the deadline has come, `handle_timeout`.
//!
//! # Level and edge
//!
//! What core says is level-triggered. Whether a connection has bytes to transmit, lends a buffer,
//! wants messages or has some to be taken can be asked at any time, as often as one likes; the
//! answer stays until it is acted on, and asking changes nothing. `poll_ready` only spares the
//! driver from asking everybody: whoever begins to have bytes, or lends a buffer again, is on that
//! list, once. So a driver whose poll is level-triggered, too, keeps no bits: before it sleeps it
//! asks the system to wake it for those that have bytes to transmit or lend a buffer, and for no
//! others. With edge-triggered readiness the two bits remember what the system says only once:
//! bytes that came while no buffer was lent announce themselves no second time, so a driver
//! never sleeps while a bit meets bytes or a buffer. What comes as an event, command or
//! notification happened once, and is given once.
//!
//! # Two halves
//!
//! A driver that wants each connection on a task of its own takes [`Node`](node::Node) and
//! [`Connection`](connection::Connection) apart and carries the mailboxes between them.
//!
//! # The rooms
//!
//! | room | decides |
//! | --- | --- |
//! | [`contract`], [`config`], [`error`] | what a driver and an application say and hear |
//! | [`time`], [`seed`], [`id`], [`address`] | the words |
//! | [`buffer`] | how bytes are kept: slabs, assemblies, gathered output |
//! | [`wire`] | messages as bytes: packages, gzip, exchanger messages |
//! | [`mux`] | streams on one carrier: yamux |
//! | [`secure`] | the channel below, and the plain one |
//! | [`connection`] | one link and everything on it |
//! | [`pool`], [`receive`] | how many streams, and which one carries a message |
//! | [`protocol`] | who supports what |
//! | [`supervisor`] | when a required peer is dialled again |
//! | [`peers`] | how many peers, who makes room, who is blocked, where they are |
//! | [`node`] | who we talk to |
//! | [`endpoint`] | node and connections behind one contract |
//! | [`message`] | received messages on their way to the application |
//! | [`record`] | nothing: what all of it was told, and said |
//! | [`snapshot`] | nothing: what all of it knows at one moment |

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::alloc_instead_of_core
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        clippy::std_instead_of_core,
        clippy::std_instead_of_alloc,
        clippy::alloc_instead_of_core
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod buffer;
pub mod config;
pub mod connection;
pub mod contract;
pub mod endpoint;
pub mod error;
pub mod id;
pub mod lease;
pub mod message;
pub mod mux;
pub mod node;
pub mod peers;
pub mod pool;
pub mod protocol;
pub mod receive;
pub mod record;
pub mod secure;
pub mod seed;
pub mod snapshot;
pub mod supervisor;
pub mod time;
pub mod wire;
