//! What can be wrong with a history.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use serde::{Serialize, Serializer};

use crate::history::PartitionKey;

/// Of each kind, so many anomalies are told one by one; the others are counted.
const EXAMPLES_MAX: usize = 10;

/// A kind of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnomalyKind {
    /// See [`definition`](Self::definition), as for all of them.
    LostWrite,
    /// See [`definition`](Self::definition).
    Unseen,
    /// See [`definition`](Self::definition).
    Duplicate,
    /// See [`definition`](Self::definition).
    InconsistentOffsets,
    /// See [`definition`](Self::definition).
    AbortedRead,
    /// See [`definition`](Self::definition).
    Unexpected,
    /// See [`definition`](Self::definition).
    NonmonotonicPoll,
    /// See [`definition`](Self::definition).
    PollSkip,
    /// See [`definition`](Self::definition).
    NonmonotonicSend,
    /// See [`definition`](Self::definition).
    RealtimeOrder,
    /// See [`definition`](Self::definition).
    StaleEnd,
    /// See [`definition`](Self::definition).
    UncommittedRead,
    /// See [`definition`](Self::definition).
    AckMismatch,
    /// See [`definition`](Self::definition).
    ReplicaDivergence,
    /// See [`definition`](Self::definition).
    GroupRegress,
    /// See [`definition`](Self::definition).
    GroupSkip,
    /// See [`definition`](Self::definition).
    FalseTrim,
    /// See [`definition`](Self::definition).
    TrimmedRead,
}

impl AnomalyKind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::LostWrite,
        Self::Unseen,
        Self::Duplicate,
        Self::InconsistentOffsets,
        Self::AbortedRead,
        Self::Unexpected,
        Self::NonmonotonicPoll,
        Self::PollSkip,
        Self::NonmonotonicSend,
        Self::RealtimeOrder,
        Self::StaleEnd,
        Self::UncommittedRead,
        Self::AckMismatch,
        Self::ReplicaDivergence,
        Self::GroupRegress,
        Self::GroupSkip,
        Self::FalseTrim,
        Self::TrimmedRead,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LostWrite => "lost-write",
            Self::Unseen => "unseen",
            Self::Duplicate => "duplicate",
            Self::InconsistentOffsets => "inconsistent-offsets",
            Self::AbortedRead => "aborted-read",
            Self::Unexpected => "unexpected",
            Self::NonmonotonicPoll => "nonmonotonic-poll",
            Self::PollSkip => "poll-skip",
            Self::NonmonotonicSend => "nonmonotonic-send",
            Self::RealtimeOrder => "realtime-order",
            Self::StaleEnd => "stale-end",
            Self::UncommittedRead => "uncommitted-read",
            Self::AckMismatch => "ack-mismatch",
            Self::ReplicaDivergence => "replica-divergence",
            Self::GroupRegress => "group-regress",
            Self::GroupSkip => "group-skip",
            Self::FalseTrim => "false-trim",
            Self::TrimmedRead => "trimmed-read",
        }
    }

    /// What it means.
    #[must_use]
    pub fn definition(self) -> &'static str {
        match self {
            Self::LostWrite => {
                "a record acknowledged, or polled, at or below the greatest polled offset, that the drain did not return"
            }
            Self::Unseen => "a record acknowledged beyond the greatest polled offset that the drain did not return",
            Self::Duplicate => "one value at two offsets",
            Self::InconsistentOffsets => "two values at one offset",
            Self::AbortedRead => "a record whose write provably failed was read",
            Self::Unexpected => "a value was read that was never sent to the partition",
            Self::NonmonotonicPoll => "a consumer went back without a seek",
            Self::PollSkip => "a consumer passed over an offset that holds a record, without a seek",
            Self::NonmonotonicSend => "a later send of a producer got a lower offset",
            Self::RealtimeOrder => "a record acknowledged before another was sent is behind it",
            Self::StaleEnd => "a linearizable end offset at or below an offset already known to be committed",
            Self::UncommittedRead => "a polled record is gone later",
            Self::AckMismatch => {
                "the acknowledged offset holds another value, or is not the one that was the condition"
            }
            Self::ReplicaDivergence => "two replicas' logs differ within what is committed",
            Self::GroupRegress => "a group's committed offset went back without a reset",
            Self::GroupSkip => "a group committed beyond a record that none of its members was given",
            Self::FalseTrim => "records are said to be deleted that nobody had asked to delete",
            Self::TrimmedRead => "the drain returned records whose deletion was acknowledged",
        }
    }
}

impl Display for AnomalyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Serialize for AnomalyKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// Where.
    pub partition: PartitionKey,
    /// What, for a person.
    pub detail: String,
}

/// Anomalies of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Anomaly>,
}

/// All that is wrong with a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(BTreeMap<AnomalyKind, Found>);

impl Findings {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kinds found.
    pub fn kinds(&self) -> impl Iterator<Item = AnomalyKind> {
        self.0.keys().copied()
    }

    /// What was found, by kind.
    pub fn iter(&self) -> impl Iterator<Item = (AnomalyKind, &Found)> {
        self.0.iter().map(|(kind, found)| (*kind, found))
    }

    pub(super) fn add(&mut self, kind: AnomalyKind, partition: PartitionKey, detail: impl FnOnce() -> String) {
        let found = self.0.entry(kind).or_default();
        found.count += 1;
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(Anomaly { partition, detail: detail() });
        }
    }
}
