//! Tests of the built program.

mod demo;
mod failures;
mod program;
mod transfer;
mod usage;
