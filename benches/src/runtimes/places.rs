//! The runtimes: tokio, smol, async-std with two threads each for tasks, and mio with a thread for
//! each node or task.

mod mio;
mod on_futures;
mod on_tokio;
mod task_peer;

pub use mio::Mio;
pub use on_futures::{AsyncStd, Smol};
pub use on_tokio::Tokio;

/// One that is in the clear, or one that is not.
#[derive(Debug)]
pub enum Either<P, T: ?Sized> {
    /// In the clear.
    Plain(P),
    /// Over TLS.
    Tls(Box<T>),
}

/// The same for both.
macro_rules! each {
    ($either:expr, $wire:ident => $what:expr) => {
        match $either {
            $crate::runtimes::places::Either::Plain($wire) => $what,
            $crate::runtimes::places::Either::Tls($wire) => $what,
        }
    };
}
use each;
