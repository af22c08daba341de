//! Replicas on their way from one node to another.

use quorate_cluster_config::{NodeId, PartitionIndex, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MoveState {
    /// The new replica is about to receive the log.
    Adding,
    /// It receives what it lacks.
    CatchingUp,
    /// It is about to vote, and the old one to leave.
    Switching,
    /// It was cancelled: the new replica is about to leave.
    TakingBack,
}

/// A move under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveInfo {
    /// The topic.
    pub topic: TopicId,
    /// Its name.
    pub name: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// How far it has come.
    pub state: MoveState,
    /// The node that gets a replica.
    pub to: Option<NodeId>,
    /// The node whose replica goes.
    pub from: Option<NodeId>,
    /// The bytes that the new replica has on its disk so far, as last heard.
    pub bytes_done: u64,
    /// The bytes that the partition's largest replica has.
    pub bytes_total: u64,
}

/// What was planned and begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebalanceResponse {
    /// Moves begun; 0 if there is nothing to move, or all that is to move is under way.
    pub begun: u32,
    /// The metadata index of the change.
    pub metadata_index: u64,
}
