//! Why a record was not, or may not have been, appended.

use std::time::Duration;

use quorate_cluster_config::{NodeId, PartitionIndex, TopicName};
use quorate_protocol::{ApiError, ErrorCode};

use crate::{
    error::{Error, advice, asked},
    place::Place,
};

/// Why a record was not acknowledged. Displayed as one line for a person: what, why, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// The record is larger than a topic takes; nothing was sent.
    #[error("the record is too large: {size} bytes encoded, the limit is {size_max}; split it or store a reference")]
    RecordTooLarge {
        /// Key, value and headers as encoded, in bytes.
        size: usize,
        /// The limit, in bytes.
        size_max: usize,
    },
    /// The batch is larger than a partition takes, or than the producer's buffer; nothing was sent.
    #[error(
        "the batch is too large: {size} bytes, the limit is {size_max}; split it or give the producer more buffer_bytes"
    )]
    BatchTooLarge {
        /// Its records as encoded, before compression, in bytes.
        size: usize,
        /// The limit, in bytes.
        size_max: usize,
    },
    /// The batch holds no record; nothing was sent.
    #[error("the batch is empty: give it one record at least")]
    EmptyBatch,
    /// The topic has no such partition; nothing was sent.
    #[error("there is no {place}; its partitions are 0 to {}", partition_count.saturating_sub(1))]
    UnknownPartition {
        /// The partition asked for.
        place: Box<Place>,
        /// Number of partitions of the topic.
        partition_count: u32,
    },
    /// The producer's buffer stayed full for the whole delivery timeout; the record was not sent.
    #[error(
        "no room in the buffer of the producer of {place} within {waited:.1?}: the cluster takes records more slowly than they come; send \
         more slowly or give more buffer_bytes"
    )]
    BufferFull {
        /// The topic.
        place: Box<Place>,
        /// How long the record waited for room.
        waited: Duration,
    },
    /// The delivery timeout passed.
    #[error(
        "no acknowledgement from {place} within {waited:.1?}{}; last problem{}: {reason}; {}",
        unknown(*outcome_unknown), asked(place), advice(*code)
    )]
    TimedOut {
        /// The partition, and the node that was asked last.
        place: Box<Place>,
        /// The delivery timeout.
        waited: Duration,
        /// The last problem, in words.
        reason: String,
        /// The code of the last refusal, if the last problem was one.
        code: Option<ErrorCode>,
        /// Whether the record may have been appended.
        outcome_unknown: bool,
    },
    /// The partition's leader refused the record's batch.
    #[error("{place} refused the records: {message}{}", unknown(*outcome_unknown))]
    Refused {
        /// The partition, and the node that was asked last.
        place: Box<Place>,
        /// The refusal's code.
        code: ErrorCode,
        /// The refusal in words.
        message: String,
        /// Whether the record may have been appended by an earlier try.
        outcome_unknown: bool,
    },
    /// The partition did not end at the offset the batch was to begin at; the batch was not appended by the try that was
    /// refused.
    #[error(
        "{place} does not end at offset {expected}: {message}{}; read what was appended, then decide again",
        unknown(*outcome_unknown)
    )]
    EndOffsetMismatch {
        /// The partition, and the node that was asked last.
        place: Box<Place>,
        /// The end offset the batch was conditional on.
        expected: u64,
        /// The refusal in words.
        message: String,
        /// Whether an earlier try, whose answer was lost, may yet be appended. The records from the expected offset on
        /// tell, once there are any.
        outcome_unknown: bool,
    },
    /// A batch before the record's failed, and appending this one would have left a hole in the order.
    #[error(
        "not sent on to {place}, because a batch before it failed{}; that batch: {reason}",
        unknown(*outcome_unknown)
    )]
    EarlierBatchFailed {
        /// The partition, and the node that was asked last.
        place: Box<Place>,
        /// Why the earlier batch failed.
        reason: String,
        /// Whether the record may have been appended.
        outcome_unknown: bool,
    },
    /// The batch could not be encoded; it was not sent.
    #[error("the record batch could not be encoded: {0}")]
    Encode(String),
    /// The producer could not get what it needs from the cluster; the record was not sent.
    #[error("the producer is not set up: {0}")]
    Setup(#[source] Error),
    /// The producer was closed; the record was not sent.
    #[error("the producer is closed; build another one to send more records")]
    Closed,
    /// The task that delivers stopped, as it does when the runtime shuts down.
    #[error("delivery to {place} stopped before an acknowledgement; close the producer before the runtime ends")]
    Stopped {
        /// The partition, and the node that was asked last.
        place: Box<Place>,
    },
}

fn unknown(outcome_unknown: bool) -> &'static str {
    if outcome_unknown { "; whether they were appended is unknown" } else { "" }
}

impl ProduceError {
    /// Whether sending the same record again may succeed. It may also append the record twice, unless
    /// [`has_no_side_effects`](Self::has_no_side_effects).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::BufferFull { .. } | Self::TimedOut { .. } | Self::EarlierBatchFailed { .. } => true,
            Self::Refused { code, .. } => {
                // A producer that lost its place continues under a new id.
                ApiError::new(*code, "").is_retryable()
                    || matches!(code, ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducer)
            }
            Self::Setup(error) => error.is_retryable(),
            Self::RecordTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::EmptyBatch
            | Self::EndOffsetMismatch { .. }
            | Self::UnknownPartition { .. }
            | Self::Encode(_)
            | Self::Closed
            | Self::Stopped { .. } => false,
        }
    }

    /// Whether the record was certainly not appended.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        match self {
            Self::TimedOut { outcome_unknown, .. }
            | Self::Refused { outcome_unknown, .. }
            | Self::EndOffsetMismatch { outcome_unknown, .. }
            | Self::EarlierBatchFailed { outcome_unknown, .. } => !outcome_unknown,
            Self::Stopped { .. } => false,
            Self::RecordTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::EmptyBatch
            | Self::UnknownPartition { .. }
            | Self::BufferFull { .. }
            | Self::Encode(_)
            | Self::Setup(_)
            | Self::Closed => true,
        }
    }

    /// What the record was for and which node was asked last, as far as it is known.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::UnknownPartition { place, .. }
            | Self::BufferFull { place, .. }
            | Self::TimedOut { place, .. }
            | Self::Refused { place, .. }
            | Self::EndOffsetMismatch { place, .. }
            | Self::EarlierBatchFailed { place, .. }
            | Self::Stopped { place } => Some(place),
            Self::Setup(error) => error.place(),
            Self::RecordTooLarge { .. }
            | Self::BatchTooLarge { .. }
            | Self::EmptyBatch
            | Self::Encode(_)
            | Self::Closed => None,
        }
    }

    /// The topic the record was for.
    #[must_use]
    pub fn topic(&self) -> Option<&TopicName> {
        self.place()?.topic.as_ref()
    }

    /// The partition the record was for.
    #[must_use]
    pub fn partition(&self) -> Option<PartitionIndex> {
        self.place()?.partition
    }

    /// The node that was asked last.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.place()?.node
    }

    /// The code of the refusal, if a node refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::TimedOut { code, .. } => *code,
            Self::Setup(error) => error.code(),
            Self::RecordTooLarge { .. } | Self::BatchTooLarge { .. } => Some(ErrorCode::TooLarge),
            Self::EndOffsetMismatch { .. } => Some(ErrorCode::EndOffsetMismatch),
            Self::UnknownPartition { .. } => Some(ErrorCode::UnknownPartition),
            _ => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { topic: Some(TopicName::parse("orders").unwrap()), partition: Some(3), node: Some(NodeId(2)) }
    }

    #[test]
    fn a_timeout_says_that_the_outcome_is_unknown_only_where_it_is() {
        let timed_out = |outcome_unknown| ProduceError::TimedOut {
            place: Box::new(place()),
            waited: Duration::from_secs(30),
            reason: "no leader".into(),
            code: None,
            outcome_unknown,
        };
        assert_eq!(
            timed_out(true).to_string(),
            "no acknowledgement from partition 3 of topic orders within 30.0s; whether they were appended is unknown; last \
             problem (node 2): no leader; see with `quorate node list` which nodes are up, or allow more time"
        );
        let error = timed_out(false);
        assert!(!error.to_string().contains("unknown"));
        assert_eq!((error.topic().unwrap().to_string().as_str(), error.partition()), ("orders", Some(3)));
        assert_eq!(error.node(), Some(NodeId(2)));
        assert!(timed_out(false).has_no_side_effects() && !timed_out(true).has_no_side_effects());
    }

    #[test]
    fn a_mismatch_is_no_reason_to_send_the_same_again_and_says_what_to_do() {
        let mismatch = |outcome_unknown| ProduceError::EndOffsetMismatch {
            place: Box::new(place()),
            expected: 42,
            message: "its end offset is 43".into(),
            outcome_unknown,
        };
        assert_eq!(
            mismatch(false).to_string(),
            "partition 3 of topic orders does not end at offset 42: its end offset is 43; read what was appended, then decide again"
        );
        assert!(mismatch(true).to_string().contains("whether they were appended is unknown"));
        assert!(!mismatch(false).is_retryable() && mismatch(false).has_no_side_effects());
        assert!(!mismatch(true).has_no_side_effects());
        assert_eq!(mismatch(true).code(), Some(ErrorCode::EndOffsetMismatch));
    }

    #[test]
    fn a_record_that_is_too_large_is_refused_for_good() {
        let error = ProduceError::RecordTooLarge { size: 2_000_000, size_max: 1_048_576 };
        assert_eq!(
            error.to_string(),
            "the record is too large: 2000000 bytes encoded, the limit is 1048576; split it or store a reference"
        );
        assert!(!error.is_retryable() && error.has_no_side_effects());
        assert_eq!(error.code(), Some(ErrorCode::TooLarge));
    }
}
