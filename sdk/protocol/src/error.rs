//! Errors as they travel to the client.

use std::fmt;

use quorate_cluster_config::NodeId;
use serde::{Deserialize, Serialize};

/// Why a node refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// No topic of that name or id exists.
    UnknownTopic,
    /// The topic had existed and was deleted; a topic of the same name is another topic.
    TopicDeleted,
    /// A topic of that name exists.
    TopicExists,
    /// The topic has no partition of that index.
    UnknownPartition,
    /// The node does not lead the partition; a hint may name the node that does.
    NotLeader,
    /// The group has no leader, or no majority answers.
    Unavailable,
    /// The node is at one of its limits; try again later.
    Overloaded,
    /// Too little space is free on the disk of the node; nothing was written. It takes writes again once there is more.
    DiskFull,
    /// The deadline passed; whether the request took effect is unknown.
    Timeout,
    /// The request is malformed or beyond a limit.
    InvalidRequest,
    /// The record batch is malformed or its checksum does not match.
    CorruptBatch,
    /// The batch or a record in it is larger than allowed.
    TooLarge,
    /// No node of that id is registered.
    UnknownNode,
    /// The node was removed from the cluster.
    NodeRemoved,
    /// The node at that address does not answer.
    NodeUnreachable,
    /// The replication factor is above the number of nodes.
    NotEnoughNodes,
    /// The producer's sequence does not continue what the partition holds.
    OutOfOrderSequence,
    /// A newer instance of the producer has taken over.
    ProducerFenced,
    /// The partition does not know this producer, and its sequence is not 0.
    UnknownProducer,
    /// The partition holds its maximum of producers.
    TooManyProducers,
    /// The partition's end offset is not the expected one.
    EndOffsetMismatch,
    /// The offset lies outside of the partition.
    OffsetOutOfRange,
    /// A storage failure stopped the replica.
    Storage,
    /// The node is stopping or not yet part of a cluster.
    NotReady,
    /// There is no such consumer group.
    UnknownGroup,
    /// The consumer group has no such member, or not any more: it must join anew.
    UnknownMember,
    /// The partition is not assigned to the member any more.
    MemberFenced,
    /// The consumer group has members.
    GroupNotEmpty,
    /// One of the cluster's limits is reached.
    LimitReached,
}

/// A refusal: code, one line for a person, and what a client needs to route around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// One line: what, why, what to do.
    pub message: String,
    /// For [`ErrorCode::NotLeader`]: the node that leads, as far as this one knows.
    pub leader: Option<NodeId>,
}

impl ApiError {
    /// A refusal without a leader hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), leader: None }
    }

    /// The refusal of a node that does not lead.
    #[must_use]
    pub fn not_leader(message: impl Into<String>, leader: Option<NodeId>) -> Self {
        Self { code: ErrorCode::NotLeader, message: message.into(), leader }
    }

    /// Whether the same request may succeed later or on another node.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.code,
            ErrorCode::NotLeader
                | ErrorCode::Unavailable
                | ErrorCode::Overloaded
                | ErrorCode::DiskFull
                | ErrorCode::Timeout
                | ErrorCode::NotReady
                | ErrorCode::Storage
        )
    }

    /// Whether the request certainly changed nothing.
    #[must_use]
    pub fn has_no_side_effects(&self) -> bool {
        !matches!(self.code, ErrorCode::Timeout | ErrorCode::Unavailable | ErrorCode::Storage)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
