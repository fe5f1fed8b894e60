//! Tests of the built program.

mod demo;
mod failures;
mod hostile;
mod network;
mod node;
mod program;
mod transfer;
mod usage;
