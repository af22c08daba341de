//! What can go wrong with a cluster in a test.

use std::{io, time::Duration};

/// Why the cluster is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum TestingError {
    /// A cluster has 1 to 64 nodes.
    #[error("a cluster has 1 to 64 nodes, not {0}")]
    Size(u16),
    /// There is no such node.
    #[error("there is no node {node}: they are numbered from 1 to {size}")]
    NoSuchNode {
        /// Its number.
        node: u16,
        /// How many there are.
        size: usize,
    },
    /// The node is in the other state.
    #[error("node {node} {why}")]
    State {
        /// Its number.
        node: u16,
        /// What it is doing.
        why: &'static str,
    },
    /// There are no free ports.
    #[error("no {0} ports are free on the loopback interface; end some programs")]
    NoPorts(u16),
    /// The operating system refused a directory or threads.
    #[error("a node cannot be made: {0}; check the limits on files and processes")]
    Io(#[from] io::Error),
    /// A node did not start.
    #[error("node {node} did not start: {reason}")]
    Start {
        /// Its number.
        node: u16,
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("waited {waited:.1?} until {what}: {last}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// What was seen last.
        last: String,
    },
    /// The client could not do something.
    #[error(transparent)]
    Client(#[from] quorate::Error),
}
