//! The commands of the metadata group and their replies.

use quorate_cluster_config::{Address, Name, NodeId, PartitionId, ProducerId, TopicConfig, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::{
    moves::{MoveRow, MoveStep},
    placement::Change,
};

/// A change of the metadata. Applying it is a pure function of the command and the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataCommand {
    /// A node says where it can be reached; repeated at each of its starts.
    RegisterNode {
        /// The node.
        node: NodeId,
        /// For clients.
        client_address: Address,
        /// For its peers.
        peer_address: Address,
        /// Its failure domain.
        rack: Option<Name>,
    },
    /// Has a node lead nothing, or lead again. Its replicas stay.
    SetDrained {
        /// The node.
        node: NodeId,
        /// Whether it is to lead nothing.
        drained: bool,
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
    /// Creates a topic and places its replicas.
    CreateTopic {
        /// Its name.
        name: TopicName,
        /// Its configuration.
        config: TopicConfig,
        /// The nodes that answered the proposer lately: preferred for leaders.
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
}

/// What a command gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataReply {
    /// The node is registered.
    NodeRegistered,
    /// The node is as it was asked to be.
    NodeChanged,
    /// The topic exists now.
    TopicCreated {
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
    /// The new replica may vote already.
    #[error("the move of partition {0} is about to end and cannot be taken back; move it again once it has ended")]
    MoveTooFar(PartitionId),
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
    /// The configuration is out of bounds.
    #[error("{0}")]
    InvalidConfig(String),
    /// The command makes no sense.
    #[error("{0}")]
    Invalid(String),
}
