//! Raft groups: the only crate that knows openraft.
//!
//! A group's log is a segment log of the log engine; small keyed state is in RocksDB; the network is a trait. A
//! partition's outcomes are decided when an entry is appended (`partition`), the metadata's when it is applied
//! (`metadata`).
//!
//! Not here: sockets, clients, and which replicas a node should run.

mod append_session;
mod catch_up;
mod checkpoint;
mod clock;
mod codec;
mod cold_reads;
#[cfg(test)]
mod conformance;
mod disk_space;
mod election;
mod environment;
mod group;
mod leadership;
mod log_store;
mod memberships;
mod metadata;
mod network;
mod open;
mod partition;
mod quarantine;
mod repair;
mod replacement;
mod retention;
mod snapshots;
mod state_machine;
mod store;
mod survivor;
mod transport;
mod types;

pub use catch_up::CatchUp;
pub use clock::{SystemClock, WallClock};
pub use cold_reads::{ColdReads, FetchError};
pub use disk_space::DiskSpace;
pub use election::{Ballot, LogTail};
pub use environment::{Elections, Environment};
pub use group::{Group, GroupStatus, ProposalResult, ProposeError, Proposed, Role};
pub use metadata::{
    Assignment, Change, Goal, Join, LEVELS, Leaving, Levels, MetadataCommand, MetadataError, MetadataGroup,
    MetadataRecoveryRow, MetadataRefusal, MetadataReply, MetadataState, MoveRow, MoveStep, NodeLoad, NodePlace,
    NodeRow, Placed, RecoverMetadata, RecoverPartition, RecoveryRow, Row, Tombstone, TopicAlteration, TopicRow,
    choose_voters, place, plan, plan_at_most, prefer_leaders,
};
pub use open::GroupOpenError;
pub use partition::{
    Append, AppendError, AppendTicket, Appended, IdleProducer, Outcome, PartitionGroup, PartitionState, ProducerEntry,
    ProducerTable, TimeLookupError, Undo, Written,
};
pub use repair::Mended;
pub use replacement::{GroupMembers, Replacement, ReplacementStep, StepError, StepProgress};
pub use retention::Retention;
pub use store::{
    FAMILY_NODE, KvBatch, KvError, KvStore, MemoryStore, ReplicaPhase, ReplicaRecord, ReplicaRecords, RocksStore,
};
pub use survivor::{MetadataRemains, go_on_alone, metadata_go_on_alone, metadata_remains};
pub use transport::{BoxFuture, Lane, PeerTransport, PeerUnreachable, Route, Session, SessionSender};
pub use types::{Applied, Claim, Members, Proposal, Queue, Queued};
