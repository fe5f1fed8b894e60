//! Two and more endpoints in virtual time, over in-memory pipes.

mod basics;
mod beside;
mod channel;
mod crossing;
mod frames;
mod harness;
mod healing;
mod inside;
mod interleavings;
mod large;
mod opening;
mod properties;
mod record;
mod replay;
mod script;
mod slow;
