//! A partition group: the pure decision of what an append means, and the Raft group around it.

pub(crate) mod entries;
mod group;
mod machine;
mod producers;
mod recovery;
mod state;
mod state_codec;
mod tracker;
mod upkeep;

pub use entries::IdleProducer;
pub use group::{AppendError, AppendTicket, Appended, PartitionGroup, TimeLookupError};
pub(crate) use machine::PartitionMachine;
pub use producers::{ProducerEntry, ProducerTable, Written};
pub(crate) use recovery::PartitionRecovery;
pub use state::{Append, Outcome, PartitionState, Undo};
pub(crate) use tracker::Tracker;
