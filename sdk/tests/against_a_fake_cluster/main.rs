//! The client against an in-process cluster that misbehaves on demand.
//!
//! The fake speaks the real protocol over real sockets. Its partitions keep the rules for sequences;
//! there is no replication: all nodes share one state, and who leads is set by the test.

#![expect(clippy::unwrap_used, reason = "tests")]

mod any_replica;
mod calls;
mod cluster;
mod conditional;
mod consuming;
mod grouping;
mod groups;
mod partition;
mod producing;
mod trimming;
