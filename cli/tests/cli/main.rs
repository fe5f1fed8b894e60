//! Tests of the built program.

mod admin;
mod admission;
mod demo;
mod failures;
mod hostile;
mod network;
mod node;
mod program;
mod replay;
mod sim;
mod transfer;
mod usage;
mod verbose;
mod why;
