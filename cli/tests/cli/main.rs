//! Tests of the built program.

mod demo;
mod failures;
mod hostile;
mod program;
mod transfer;
mod usage;
