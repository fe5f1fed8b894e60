//! Two and more endpoints in virtual time, over in-memory pipes.

mod basics;
mod channel;
mod harness;
mod record;
