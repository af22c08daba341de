//! The commands of the metadata group and their replies.

use quorate_cluster_config::{NodeId, PartitionId, ProducerId, ReplicaId, TopicConfig, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::{
    moves::{MoveRow, MoveStep},
    placement::Change,
    state::{Leaving, Levels, NodePlace, RecoverMetadata, RecoverPartition, TopicAlteration},
};

/// A node that asks to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// What it calls itself until it has an id: random, made durable before it is first used, never 0.
    pub token: u128,
    /// Where it is.
    pub place: NodePlace,
    /// What it understands.
    pub levels: Levels,
}

/// A change of the metadata. Applying it is a pure function of the command and the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataCommand {
    /// Gives a new node its id; the same again for the same token.
    AddNode(Join),
    /// A node says where it can be reached; repeated at each of its starts.
    RegisterNode {
        /// The node.
        node: NodeId,
        /// Its replica of the metadata group.
        metadata_replica: ReplicaId,
        /// Where it is.
        place: NodePlace,
        /// What it understands.
        levels: Levels,
    },
    /// Has a node lead nothing, or lead again. Its replicas stay.
    SetDrained {
        /// The node.
        node: NodeId,
        /// Whether it is to lead nothing.
        drained: bool,
    },
    /// Has a node leave the cluster, or stay.
    SetLeaving {
        /// The node.
        node: NodeId,
        /// How it leaves; `None` if it stays.
        leaving: Option<Leaving>,
    },
    /// Forgets a node that leaves and has nothing any more.
    ForgetNode {
        /// The node.
        node: NodeId,
    },
    /// Has replicas evened out over the nodes, or no longer.
    SetEvening {
        /// Whether they are to be.
        evening: bool,
    },
    /// Begins moves: those of the changes that fit what holds now.
    StartMoves {
        /// What is to change, in order.
        changes: Vec<Change>,
    },
    /// Notes that a step of a move is done.
    AdvanceMove {
        /// The move as it was when the step was asked for.
        done: MoveRow,
    },
    /// Has a move taken back, if its new replica does not vote yet.
    CancelMove {
        /// The partition.
        partition: PartitionId,
    },
    /// Has a move go on that was to be taken back: its new replica votes already.
    ResumeMove {
        /// The move as it was when it was to be taken back.
        row: MoveRow,
    },
    /// Creates a topic and places its replicas.
    CreateTopic {
        /// Its name.
        name: TopicName,
        /// Its configuration.
        config: TopicConfig,
        /// The nodes that answered the proposer lately: preferred for leaders.
        live: Vec<NodeId>,
    },
    /// Changes a topic.
    AlterTopic {
        /// Its id: a topic of the same name created meanwhile stays as it is.
        topic: TopicId,
        /// Its name.
        name: TopicName,
        /// What changes.
        alteration: TopicAlteration,
        /// The nodes that answered the proposer lately: preferred for leaders of new partitions.
        live: Vec<NodeId>,
    },
    /// Deletes a topic; its replicas get tombstones.
    DeleteTopic {
        /// Its id: a topic of the same name created meanwhile stays.
        topic: TopicId,
        /// Its name.
        name: TopicName,
    },
    /// Reserves producer ids for a node to give away.
    ReserveProducerIds {
        /// How many, at least 1.
        count: u32,
    },
    /// Forgets tombstones: nothing of the replicas is on their node any more, nor will be.
    ForgetTombstones {
        /// The node, which says so itself.
        node: NodeId,
        /// The replicas.
        replicas: Vec<ReplicaId>,
    },
    /// Has a partition go on from one of its replicas alone: the others are gone for good.
    RecoverPartition(RecoverPartition),
    /// The metadata go on from one of their replicas alone.
    RecoverMetadata(RecoverMetadata),
    /// Has the cluster go to a level that all nodes understand.
    RaiseLevel {
        /// The level.
        level: u32,
    },
}

/// What a command gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataReply {
    /// The node is registered.
    NodeRegistered,
    /// The node has an id now.
    NodeAdded {
        /// Its id.
        node: NodeId,
        /// Its replica of the metadata group.
        metadata_replica: ReplicaId,
    },
    /// The node is as it was asked to be.
    NodeChanged,
    /// The node is no part of the cluster any more.
    NodeForgotten,
    /// Replicas are evened out from now on, or no longer.
    EveningSet,
    /// The topic exists now.
    TopicCreated {
        /// Its id.
        topic: TopicId,
    },
    /// The topic is as it was asked to be, but for replicas that are still to be moved.
    TopicAltered {
        /// Its id.
        topic: TopicId,
    },
    /// The topic is gone.
    TopicDeleted {
        /// Its id.
        topic: TopicId,
    },
    /// Moves have begun.
    MovesStarted {
        /// How many.
        count: u32,
    },
    /// A move goes on.
    MoveAdvanced {
        /// With this step; `None` if it is over.
        step: Option<MoveStep>,
    },
    /// Producer ids from `first` on are reserved.
    ProducerIds {
        /// The first of them.
        first: ProducerId,
    },
    /// The tombstones are forgotten.
    TombstonesForgotten,
    /// The partition goes on.
    PartitionRecovered {
        /// As this replica, which is what the surviving one is from now on.
        replica: ReplicaId,
    },
    /// The metadata go on.
    MetadataRecovered,
    /// The cluster is at the level.
    LevelRaised,
    /// Nothing was changed.
    Refused(MetadataRefusal),
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MetadataRefusal {
    /// The name is taken.
    #[error("topic {0} exists already; choose another name or delete it first")]
    TopicExists(TopicName),
    /// No such topic.
    #[error("topic {0} does not exist")]
    UnknownTopic(TopicName),
    /// No such node.
    #[error("node {0} is not registered; see `quorate node list`")]
    UnknownNode(NodeId),
    /// No move of this partition is under way, or it is another one or another step by now.
    #[error("partition {0} has no such move under way; see `quorate topic describe`")]
    NoSuchMove(PartitionId),
    /// There is nothing to be taken back.
    #[error("the move of partition {0} only drops a replica and cannot be taken back")]
    MoveTooFar(PartitionId),
    /// The partition has no such replica.
    #[error("partition {partition} has no replica {replica} any more; look again")]
    NoSuchReplica {
        /// The partition.
        partition: PartitionId,
        /// The replica.
        replica: ReplicaId,
    },
    /// The node's build does not fit the cluster.
    #[error("{}", not_understood(*levels, *level))]
    NotUnderstood {
        /// What the node understands.
        levels: Levels,
        /// The level of the cluster.
        level: u32,
    },
    /// The node was removed.
    #[error("node {0} was removed from the cluster, its id is never used again")]
    NodeRemoved(NodeId),
    /// Without the node there are fewer than some topic has replicas.
    #[error("{}", too_few_nodes_left(*node, *left, topics))]
    TooFewNodesLeft {
        /// The node that was to leave.
        node: NodeId,
        /// The nodes that would be left.
        left: u32,
        /// The topics with more replicas a partition than that.
        topics: Vec<TopicName>,
    },
    /// Partitions are never taken away: their records would be lost.
    #[error("topic {topic} has {now} partitions and cannot have {wanted}: partitions are only ever added")]
    FewerPartitions {
        /// The topic.
        topic: TopicName,
        /// The partitions it has.
        now: u32,
        /// The partitions it was to have.
        wanted: u32,
    },
    /// More replicas than nodes.
    #[error("replication factor {wanted} is above the number of nodes ({nodes}); add nodes or lower it")]
    NotEnoughNodes {
        /// The replication factor asked for.
        wanted: u32,
        /// Registered nodes.
        nodes: u32,
    },
    /// The cluster is at its limit.
    #[error("the cluster holds its maximum of {0} topics; delete some first")]
    TooManyTopics(usize),
    /// The cluster is at its limit.
    #[error("the cluster holds at most {0} partitions; use fewer, or delete topics first")]
    TooManyPartitions(usize),
    /// The configuration is out of bounds.
    #[error("{0}")]
    InvalidConfig(String),
    /// The command makes no sense.
    #[error("{0}")]
    Invalid(String),
}

pub(crate) fn not_understood(levels: Levels, level: u32) -> String {
    if levels.max < level {
        return format!(
            "the cluster's metadata are at level {level}, and this node's build understands them up to {}; run a newer build",
            levels.max
        );
    }
    format!(
        "the cluster's metadata are at level {level}, and this node's build understands them from {} on; upgrade the other nodes first",
        levels.min
    )
}

/// How many topics a refusal names.
const TOPICS_NAMED_MAX: usize = 5;

fn too_few_nodes_left(node: NodeId, left: u32, topics: &[TopicName]) -> String {
    if topics.is_empty() {
        return format!("node {node} is the last one that stays, it cannot leave");
    }
    let mut named: Vec<String> = topics.iter().take(TOPICS_NAMED_MAX).map(ToString::to_string).collect();
    if topics.len() > TOPICS_NAMED_MAX {
        named.push(format!("{} more", topics.len() - TOPICS_NAMED_MAX));
    }
    let topics = named.join(", ");
    format!(
        "without node {node} there are {left} nodes, fewer than the replication factor of {topics}; add a node first, or lower the replication factor"
    )
}
