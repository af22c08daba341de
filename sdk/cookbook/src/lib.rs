//! The jobs people come for, each solved in a file, ready to be taken over.
//!
//! | job | file | run it |
//! |---|---|---|
//! | event sourcing: an aggregate rebuilt by replay, with optimistic concurrency | [`event_sourcing`] | `cargo run --release -p quorate-cookbook --example event_sourcing` |
//! | audit trail: append-only, with a hash chain that shows tampering | [`audit_trail`] | `… --example audit_trail` |
//! | a replayable pipeline into a database, exactly once | [`pipeline`] | `… --example pipeline` |
//! | fan-out to live subscribers over WebSocket | [`fan_out`] | `… --example fan_out` |
//! | a bridge between two topics, exactly once | [`bridge`] | `… --example bridge` |
//!
//! The examples use the cluster that `QUORATE_SERVER` names, or one inside of their own process.

pub mod audit_trail;
pub mod bridge;
pub mod event_sourcing;
pub mod fan_out;
pub mod pipeline;

mod setup;
mod tour;

pub use setup::{Setup, create_topic, setup, unix_time_ms};
#[doc(hidden)]
pub use tour::{addresses, tour};

/// The programs in the README are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// The programs in the tour of the SDK are run, each with a cluster of its own: the SDK itself has none.
#[cfg(doctest)]
#[doc = include_str!("../../src/tour.md")]
pub struct Tour;

/// What can go wrong in an example.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
