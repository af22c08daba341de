//! Replicas on their way from one node to another.

use quorate_cluster_config::{NodeId, PartitionIndex, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use crate::Departure;

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

/// A node that is to leave the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingInfo {
    /// The node.
    pub node: NodeId,
    /// How it leaves.
    pub departure: Departure,
    /// The replicas that are still to be moved away from it.
    pub replicas: u32,
}

/// What the cluster is about to change by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TasksResponse {
    /// The moves under way, by topic id and partition.
    pub moves: Vec<MoveInfo>,
    /// The nodes that are to leave.
    pub leaving: Vec<LeavingInfo>,
    /// Whether replicas are being evened out over the nodes.
    pub evening: bool,
    /// The nodes whose answer that waits for.
    pub awaited: Vec<NodeId>,
}
