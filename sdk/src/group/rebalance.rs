//! What a member is told about its partitions, and what it does about missing offsets.

use quorate_cluster_config::PartitionId;

/// A change of what a member of a group reads. Told within a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebalanceEvent {
    /// These are read from now on.
    Assigned(Vec<PartitionId>),
    /// These are given up, and everything handed out of them counts as processed: what is not written yet must be written
    /// now. Committed after that, and only then does another member read them.
    Revoked(Vec<PartitionId>),
    /// These are gone already: the member was given up. Another one may read them, and nothing of them can be committed.
    Lost(Vec<PartitionId>),
}

/// What a member does if the records from the committed offset on were deleted before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTruncated {
    /// Reports [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange): nothing is skipped unnoticed. The default.
    #[default]
    Error,
    /// Goes on with the first record there is, with a warning.
    First,
    /// Goes on with what comes next, with a warning.
    Last,
}
