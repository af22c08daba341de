//! What a member is told about its partitions.

use quorate_cluster_config::PartitionId;

/// A change of what a member of a group reads. Told within a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebalanceEvent {
    /// These are read from now on.
    Assigned(Vec<PartitionId>),
    /// These are given up, and everything handed out of them counts as processed: what is not written yet must be written
    /// now. Committed after that (but not under [`CommitMode::Manual`](super::CommitMode::Manual), where only what was committed
    /// before counts), and only then does another member read them.
    Revoked(Vec<PartitionId>),
    /// These are gone already: the member was given up. Another one may read them, and nothing of them can be committed.
    Lost(Vec<PartitionId>),
}
