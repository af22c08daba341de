//! What can go wrong with a call, a producer's partition set-up or a consumer.

use std::time::Duration;

use quorate_cluster_config::{NodeId, PartitionIndex, TopicName};
use quorate_protocol::{ApiError, ErrorCode};

use crate::place::Place;

/// Why a call failed. Displayed as one line for a person: what, why, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An argument cannot be used; nothing was sent.
    #[error("{0}")]
    InvalidArgument(String),

    /// No node could be reached, so nothing was sent.
    #[error(
        "cannot {action}: no node could be reached within {waited:.1?} (tried {servers}; last: {reason}); check that the \
         cluster runs and that the addresses are its client addresses"
    )]
    Unreachable {
        /// What was attempted, as in "create topic orders".
        action: String,
        /// What it was about, and the node that was tried last.
        place: Box<Place>,
        /// The addresses tried, separated by commas.
        servers: String,
        /// How long it was attempted.
        waited: Duration,
        /// Why the last one could not be reached.
        reason: String,
    },

    /// The cluster answered, and the answer is no.
    #[error("cannot {action}: {message}{}", unknown(*outcome_unknown))]
    Refused {
        /// What was attempted.
        action: String,
        /// What it was about, and the node that refused.
        place: Box<Place>,
        /// The refusal's code.
        code: ErrorCode,
        /// The refusal in words.
        message: String,
        /// Whether an earlier try of the same call may have taken effect.
        outcome_unknown: bool,
    },

    /// Every try failed in a way that may pass, until the time was up.
    #[error(
        "cannot {action} within {waited:.1?}{}; last problem{}: {reason}; {}",
        unknown(*outcome_unknown), asked(place), advice(*code)
    )]
    TimedOut {
        /// What was attempted.
        action: String,
        /// What it was about, and the node that was asked last.
        place: Box<Place>,
        /// How long it was attempted.
        waited: Duration,
        /// The last problem, in words.
        reason: String,
        /// The code of the last refusal, if the last problem was one.
        code: Option<ErrorCode>,
        /// Whether a try may have taken effect.
        outcome_unknown: bool,
    },

    /// The offset lies outside of the partition: before its first record, because those were deleted, or beyond its end.
    #[error(
        "cannot read {place} at offset {offset}: it holds offsets from {log_start_offset} to before \
         {end_offset}{}; seek to one of them, or to its first",
        deleted(*offset, *log_start_offset)
    )]
    OffsetOutOfRange {
        /// The partition.
        place: Box<Place>,
        /// The offset asked for.
        offset: u64,
        /// The first offset retained, when it was refused.
        log_start_offset: u64,
        /// The first offset not yet committed, when it was refused.
        end_offset: u64,
    },

    /// What a node returned is damaged. The node verified it too, so suspect the network or this machine.
    #[error("{place} is damaged at offset {offset} as received: {reason}; read it again, from another replica as well")]
    Corrupt {
        /// The partition.
        place: Box<Place>,
        /// The offset expected there.
        offset: u64,
        /// What is wrong.
        reason: String,
    },

    /// The node broke its promise that offsets are dense and never go back: a bug worth reporting.
    #[error(
        "internal error: {place} returned offsets {first} to {last} where {expected} was expected; report \
         this as a bug with the logs of the partition's leader"
    )]
    OffsetsNotDense {
        /// The partition.
        place: Box<Place>,
        /// The offset that had to come next.
        expected: u64,
        /// The first offset of the batch returned.
        first: u64,
        /// The last offset of the batch returned.
        last: u64,
    },
}

fn unknown(outcome_unknown: bool) -> &'static str {
    if outcome_unknown { "; whether it took effect is unknown, look before you repeat it" } else { "" }
}

/// Who had the last problem.
pub(crate) fn asked(place: &Place) -> String {
    place.node.map_or_else(String::new, |node| format!(" (node {node})"))
}

/// What to do about what did not pass in time.
pub(crate) fn advice(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::DiskFull) => "free space on the disks of the nodes, or lower the retention of topics",
        Some(ErrorCode::Overloaded) => "send less at once, or allow more time",
        Some(ErrorCode::Storage) => "look at the log of that node: its disk may be failing",
        _ => "see with `quorate node list` which nodes are up, or allow more time",
    }
}

fn deleted(offset: u64, log_start_offset: u64) -> &'static str {
    if offset < log_start_offset { ", what was before is deleted" } else { "" }
}

impl Error {
    /// The error of a call that changes nothing, whatever became of it.
    pub(crate) fn without_effects(mut self) -> Self {
        if let Self::Refused { outcome_unknown, .. } | Self::TimedOut { outcome_unknown, .. } = &mut self {
            *outcome_unknown = false;
        }
        self
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Corrupt { .. } => true,
            Self::Refused { code, .. } => ApiError::new(*code, "").is_retryable(),
            Self::InvalidArgument(_) | Self::OffsetOutOfRange { .. } | Self::OffsetsNotDense { .. } => false,
        }
    }

    /// Whether the call certainly changed nothing.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        match self {
            Self::InvalidArgument(_)
            | Self::Unreachable { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::Corrupt { .. }
            | Self::OffsetsNotDense { .. } => true,
            Self::Refused { outcome_unknown, .. } | Self::TimedOut { outcome_unknown, .. } => !outcome_unknown,
        }
    }

    /// What the call was about and which node was asked last, as far as it is known.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::InvalidArgument(_) => None,
            Self::Unreachable { place, .. }
            | Self::Refused { place, .. }
            | Self::TimedOut { place, .. }
            | Self::OffsetOutOfRange { place, .. }
            | Self::Corrupt { place, .. }
            | Self::OffsetsNotDense { place, .. } => Some(place),
        }
    }

    /// The topic the call was about.
    #[must_use]
    pub fn topic(&self) -> Option<&TopicName> {
        self.place()?.topic.as_ref()
    }

    /// The partition the call was about.
    #[must_use]
    pub fn partition(&self) -> Option<PartitionIndex> {
        self.place()?.partition
    }

    /// The node that was asked last.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.place()?.node
    }

    /// The code of the refusal, if the cluster refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TimedOut { code, .. } => *code,
            Self::OffsetOutOfRange { .. } => Some(ErrorCode::OffsetOutOfRange),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_that_says_what_why_and_what_to_do() {
        let unreachable = Error::Unreachable {
            action: "list topics".into(),
            place: Box::default(),
            servers: "127.0.0.1:7101".into(),
            waited: Duration::from_secs(10),
            reason: "connection refused".into(),
        };
        assert_eq!(
            unreachable.to_string(),
            "cannot list topics: no node could be reached within 10.0s (tried 127.0.0.1:7101; last: connection refused); \
             check that the cluster runs and that the addresses are its client addresses"
        );
        let refused = Error::Refused {
            action: "create topic orders".into(),
            place: Box::default(),
            code: ErrorCode::TopicExists,
            message: "it exists".into(),
            outcome_unknown: false,
        };
        assert_eq!(refused.to_string(), "cannot create topic orders: it exists");
        let timed_out = Error::TimedOut {
            action: "delete topic orders".into(),
            place: Place::default().at(Some(NodeId(2))),
            waited: Duration::from_secs(3),
            reason: "no leader".into(),
            code: Some(ErrorCode::Unavailable),
            outcome_unknown: true,
        };
        assert_eq!(
            timed_out.to_string(),
            "cannot delete topic orders within 3.0s; whether it took effect is unknown, look before you repeat it; last \
             problem (node 2): no leader; see with `quorate node list` which nodes are up, or allow more time"
        );
    }

    #[test]
    fn errors_tell_whether_to_retry_and_whether_anything_changed() {
        let refused = |code| Error::Refused {
            action: String::new(),
            place: Box::default(),
            code,
            message: String::new(),
            outcome_unknown: false,
        };
        assert!(!refused(ErrorCode::TopicExists).is_retryable());
        assert!(refused(ErrorCode::TopicExists).has_no_side_effects());
        assert!(refused(ErrorCode::NotLeader).is_retryable());
        assert_eq!(refused(ErrorCode::NotLeader).code(), Some(ErrorCode::NotLeader));
        let invalid = Error::InvalidArgument("in_flight must be within 1..=5".into());
        assert!(!invalid.is_retryable() && invalid.has_no_side_effects() && invalid.code().is_none());
    }
}
