//! Bugs that the chaos tests must find, planted on purpose.
//!
//! The other crates use this one only with their feature `planted-bugs`, which no normal build has: what a bug does stands
//! where the right code is. One build has all of them, and a process has at most one, that named by [`VARIABLE`].

use std::sync::OnceLock;

/// The environment variable that says which bug a process has; none if it is not set.
pub const VARIABLE: &str = "PLANTED_BUG";

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// See [`what`](Self::what), as for all of them.
    AckBeforeSync,
    /// See [`what`](Self::what).
    VoteBeforeSync,
    /// See [`what`](Self::what).
    DedupLostOnFailover,
    /// See [`what`](Self::what).
    DedupLostInSnapshot,
    /// See [`what`](Self::what).
    TornTailTakenForCorruption,
    /// See [`what`](Self::what).
    CorruptionTakenForTornTail,
    /// See [`what`](Self::what).
    ReadsBeyondCommit,
    /// See [`what`](Self::what).
    StaleEndOffsets,
    /// See [`what`](Self::what).
    RetryWithNewSequence,
    /// See [`what`](Self::what).
    OffsetFromLogIndex,
    /// See [`what`](Self::what).
    RejoinUnderOldId,
}

impl PlantedBug {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::AckBeforeSync,
        Self::VoteBeforeSync,
        Self::DedupLostOnFailover,
        Self::DedupLostInSnapshot,
        Self::TornTailTakenForCorruption,
        Self::CorruptionTakenForTornTail,
        Self::ReadsBeyondCommit,
        Self::StaleEndOffsets,
        Self::RetryWithNewSequence,
        Self::OffsetFromLogIndex,
        Self::RejoinUnderOldId,
    ];

    /// Its name in [`VARIABLE`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::VoteBeforeSync => "vote-before-sync",
            Self::DedupLostOnFailover => "dedup-lost-on-failover",
            Self::DedupLostInSnapshot => "dedup-lost-in-snapshot",
            Self::TornTailTakenForCorruption => "torn-tail-taken-for-corruption",
            Self::CorruptionTakenForTornTail => "corruption-taken-for-torn-tail",
            Self::ReadsBeyondCommit => "reads-beyond-commit",
            Self::StaleEndOffsets => "stale-end-offsets",
            Self::RetryWithNewSequence => "retry-with-new-sequence",
            Self::OffsetFromLogIndex => "offset-from-log-index",
            Self::RejoinUnderOldId => "rejoin-under-old-id",
        }
    }

    /// The bug of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }

    /// What it does.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "a replica says that entries are on stable storage before they are synced",
            Self::VoteBeforeSync => "a replica answers a candidate before its vote is synced",
            Self::DedupLostOnFailover => "what producers wrote last is forgotten where a new leader begins",
            Self::DedupLostInSnapshot => "checkpoints and snapshots leave out what producers wrote last",
            Self::TornTailTakenForCorruption => "a log whose last write was torn by a power cut is refused",
            Self::CorruptionTakenForTornTail => "a log that is damaged is cut off there, as if its last write was torn",
            Self::ReadsBeyondCommit => "a leader gives readers what is not committed yet",
            Self::StaleEndOffsets => "a leader tells end offsets without asking a majority whether it still leads",
            Self::RetryWithNewSequence => "the client sends batches again under new sequences",
            Self::OffsetFromLogIndex => "acknowledgements hold the log index of the batch in place of its offset",
            Self::RejoinUnderOldId => "a node that has lost its disk is the same node when it comes back",
        }
    }

    /// Whether this process has it.
    #[must_use]
    pub fn is_planted(self) -> bool {
        static PLANTED: OnceLock<Option<PlantedBug>> = OnceLock::new();
        *PLANTED.get_or_init(|| std::env::var(VARIABLE).ok().as_deref().and_then(Self::from_name)) == Some(self)
    }
}
