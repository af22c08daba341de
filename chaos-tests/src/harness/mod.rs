//! Clusters of real processes, records that can be told apart, and the check of what is read back.
//!
//! For tests: a helper that cannot do its work panics and says why, with what the nodes wrote.

mod binaries;
mod check;
mod cli;
mod cluster;
mod consume;
mod node;
mod ports;
mod reader;
mod replica_log;
mod wait;
mod writers;

pub use binaries::binary;
pub use check::{Acknowledged, Consumed, Summary, check};
pub use cli::{Cli, Ran};
pub use cluster::{Cluster, connect, replicas_agree};
pub use consume::consume_all;
pub use node::{Memory, Node, NodeKind, WayIn};
pub use ports::free_ports;
pub use reader::Reader;
pub use replica_log::{LoggedEntry, read_replica};
pub use wait::{alone, eventually, until};
pub use writers::{Entry, Journal, Writers};
