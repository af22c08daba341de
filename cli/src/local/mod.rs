//! A cluster of real `quorate-node` processes on loopback: what is remembered of it, its processes and its ports.
//!
//! Invariant: only processes recorded in `cluster.json` are ever signalled, and only while the process of that id is
//! the one that was recorded.

pub(crate) mod binary;
pub(crate) mod log_file;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod spawn;
pub(crate) mod state;
pub(crate) mod wait;
