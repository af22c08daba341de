//! From what went wrong inside to what the client is told.

use quorate_cluster_config::{PartitionId, SYSTEM_STREAM, TopicName};
use quorate_protocol::{ApiError, ErrorCode};
use quorate_raft::{AppendError, MetadataRefusal, Outcome, ProposeError};
use quorate_record::BatchError;

use crate::cluster::{ExecuteError, InviteError};

pub(crate) fn not_ready() -> ApiError {
    ApiError::new(ErrorCode::NotReady, "the node is not part of a cluster yet; try again")
}

pub(crate) fn system_topic(name: &TopicName) -> ApiError {
    let message = format!(
        "topic {name} is the cluster's own: only its replication factor can be changed; use another stream than {SYSTEM_STREAM}"
    );
    ApiError::new(ErrorCode::InvalidRequest, message)
}

pub(crate) fn timeout(what: &str) -> ApiError {
    ApiError::new(ErrorCode::Timeout, format!("{what} took too long; whether it took effect is unknown"))
}

pub(crate) fn of_proposal(partition: PartitionId, error: &ProposeError) -> ApiError {
    match error {
        ProposeError::NotLeader { leader } => {
            ApiError::not_leader(format!("this node does not lead partition {}", partition.index), *leader)
        }
        ProposeError::Unknown(why) => {
            ApiError::new(ErrorCode::Unavailable, format!("partition {}: outcome unknown: {why}", partition.index))
        }
        ProposeError::Stopped(why) => ApiError::new(
            ErrorCode::Storage,
            format!("the replica of partition {} has stopped: {why}", partition.index),
        ),
    }
}

pub(crate) fn of_append(partition: PartitionId, error: &AppendError) -> ApiError {
    let outcome = match error {
        AppendError::Propose(error) => return of_proposal(partition, error),
        AppendError::Refused(outcome) => outcome,
    };
    let index = partition.index;
    match outcome {
        Outcome::OutOfOrderSequence { expected } => ApiError::new(
            ErrorCode::OutOfOrderSequence,
            format!("partition {index}: the producer's next sequence is {expected}"),
        ),
        Outcome::Fenced { epoch } => ApiError::new(
            ErrorCode::ProducerFenced,
            format!("partition {index}: a producer of epoch {epoch} has taken over; this one must stop"),
        ),
        Outcome::UnknownProducer => ApiError::new(
            ErrorCode::UnknownProducer,
            format!("partition {index}: the producer is not known and does not begin with sequence 0"),
        ),
        Outcome::TooManyProducers => ApiError::new(
            ErrorCode::TooManyProducers,
            format!("partition {index} remembers its maximum of producers; reuse producers instead of making new ones"),
        ),
        Outcome::EndOffsetMismatch { end_offset } => ApiError::new(
            ErrorCode::EndOffsetMismatch,
            format!("partition {index}: the end offset is {end_offset}, not the expected one"),
        ),
        Outcome::Appended { .. } | Outcome::Duplicate { .. } | Outcome::Trimmed { .. } | Outcome::Expired { .. } => {
            ApiError::new(ErrorCode::Unavailable, format!("partition {index}: the outcome was lost"))
        }
    }
}

pub(crate) fn of_batch(error: &BatchError) -> ApiError {
    let code = match error {
        BatchError::TooLarge { .. } | BatchError::TooManyRecords { .. } => ErrorCode::TooLarge,
        _ => ErrorCode::CorruptBatch,
    };
    ApiError::new(code, format!("the record batch was refused: {error}"))
}

pub(crate) fn of_refusal(refusal: &MetadataRefusal) -> ApiError {
    let code = match refusal {
        MetadataRefusal::TopicExists(_) => ErrorCode::TopicExists,
        MetadataRefusal::UnknownTopic(_) => ErrorCode::UnknownTopic,
        MetadataRefusal::UnknownNode(_) => ErrorCode::UnknownNode,
        MetadataRefusal::NodeRemoved(_) => ErrorCode::NodeRemoved,
        MetadataRefusal::NotEnoughNodes { .. } | MetadataRefusal::TooFewNodesLeft { .. } => ErrorCode::NotEnoughNodes,
        MetadataRefusal::TooManyTopics(_)
        | MetadataRefusal::TooManyPartitions(_)
        | MetadataRefusal::NoSuchReplica { .. }
        | MetadataRefusal::NotUnderstood { .. }
        | MetadataRefusal::InvalidConfig(_)
        | MetadataRefusal::FewerPartitions { .. }
        | MetadataRefusal::NoSuchMove(_)
        | MetadataRefusal::MoveTooFar(_)
        | MetadataRefusal::Invalid(_) => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, refusal.to_string())
}

pub(crate) fn of_execution(error: &ExecuteError) -> ApiError {
    let code = match error {
        ExecuteError::NoLeader => ErrorCode::Unavailable,
        ExecuteError::Unknown(_) => ErrorCode::Timeout,
    };
    ApiError::new(code, error.to_string())
}

pub(crate) fn of_invitation(error: &InviteError) -> ApiError {
    let code = match error {
        InviteError::Unreachable(_) => ErrorCode::NodeUnreachable,
        InviteError::Refused { .. } => ErrorCode::InvalidRequest,
        InviteError::Unknown(..) => ErrorCode::Timeout,
    };
    ApiError::new(code, error.to_string())
}
