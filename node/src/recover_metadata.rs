//! Unsafe recovery of the metadata: on a node that is stopped, after a majority of those that vote on them is gone for good.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quorate_cluster_config::{ClusterId, NodeConfig, NodeId};
use quorate_raft::{KvStore, MetadataRemains, RecoverMetadata, ReplicaPhase, metadata_go_on_alone, metadata_remains};

use crate::{
    data_dir::DataDir,
    identity::Identity,
    node::{NodeError, Seams, metadata_record, surroundings},
    store_format,
};

/// What a stopped node holds of the metadata, and what would become of them.
#[derive(Clone, Debug)]
pub struct MetadataRescue {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The term and the log index of its last entry: of several nodes, the one with the greatest holds most.
    pub last: Option<(u64, u64)>,
    /// The nodes that vote, as it knows.
    pub voters: Vec<NodeId>,
    /// The nodes that would take the metadata from this one.
    pub left: Vec<NodeId>,
    /// How many topics it knows of.
    pub topics: usize,
    /// Whether the metadata go on from this node.
    pub done: bool,
}

/// Why the metadata do not go on from a node.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// The node's data cannot be used.
    #[error(transparent)]
    Node(Box<NodeError>),
    /// There is nothing to go on from.
    #[error("{}: no node of a cluster has been here; name the data directory of one that was", .0.display())]
    NoIdentity(std::path::PathBuf),
    /// The node was about to join, and has nothing.
    #[error("node {0} never had the metadata: go on from another one")]
    NoMetadata(NodeId),
    /// A node was named that is unknown.
    #[error("node {0} is none of this cluster's: {1}")]
    UnknownNode(NodeId, String),
    /// The node itself was named.
    #[error("node {0} is the one to go on from, it cannot be lost")]
    Itself(NodeId),
    /// The majority is there.
    #[error(
        "nodes {left} are a majority of those that vote on the metadata ({voters}): start them, nothing needs to be lost"
    )]
    Majority {
        /// The voters that are not lost.
        left: String,
        /// All voters.
        voters: String,
    },
    /// The operating system refused a task.
    #[error("the work was broken off: {0}")]
    BrokenOff(String),
}

impl<E: Into<NodeError>> From<E> for RescueError {
    fn from(error: E) -> Self {
        Self::Node(Box::new(error.into()))
    }
}

/// Looks at what the stopped node of `config` holds of the metadata and, if `accept_data_loss`, has them go on from it alone:
/// the lost nodes are given up as dead, the others take the metadata from it.
///
/// # Errors
/// See [`RescueError`]. Nothing is changed then.
pub async fn recover_metadata(
    config: NodeConfig,
    seams: Seams,
    lost: BTreeSet<NodeId>,
    accept_data_loss: bool,
) -> Result<MetadataRescue, RescueError> {
    let work = move || run(&config, &seams, &lost, accept_data_loss);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(RescueError::BrokenOff(error.to_string())))
}

fn run(
    config: &NodeConfig,
    seams: &Seams,
    lost: &BTreeSet<NodeId>,
    accept_data_loss: bool,
) -> Result<MetadataRescue, RescueError> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let store: Arc<dyn KvStore> = seams.store.open(&data_dir.store())?;
    store_format::check(&store, Identity::is_saved(&store)?)?;
    let identity = Identity::load(&store)?;
    let identity = identity.ok_or_else(|| RescueError::NoIdentity(config.data_dir.clone()))?;
    let (_, _, environment) = surroundings(config, seams, &data_dir, &store, &identity)?;
    let record = metadata_record(&store, &identity)?;
    if record.phase != ReplicaPhase::Created {
        return Err(RescueError::NoMetadata(identity.node));
    }
    let remains = metadata_remains(&environment, &record)?;
    check(&remains, identity.node, lost)?;
    let nodes: BTreeMap<_, _> = remains.voters.iter().chain(&remains.learners).collect();
    let left = nodes.values().copied().copied().filter(|node| !lost.contains(node) && *node != identity.node);
    let mut rescue = MetadataRescue {
        cluster: identity.cluster,
        node: identity.node,
        last: remains.last,
        voters: remains.voters.values().copied().collect(),
        left: left.collect(),
        topics: remains.state.topics().count(),
        done: false,
    };
    if accept_data_loss {
        let decided_at_ms = seams.clock.now_ms();
        let decided = RecoverMetadata { survivor: identity.node, lost: lost.iter().copied().collect(), decided_at_ms };
        metadata_go_on_alone(&environment, &record, &decided)?;
        rescue.done = true;
    }
    Ok(rescue)
}

/// Whether it is so that the majority is lost.
fn check(remains: &MetadataRemains, us: NodeId, lost: &BTreeSet<NodeId>) -> Result<(), RescueError> {
    let list = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if lost.contains(&us) {
        return Err(RescueError::Itself(us));
    }
    let known: BTreeSet<NodeId> = remains.state.nodes().map(|row| row.id).collect();
    if let Some(unknown) = lost.iter().find(|node| !known.contains(node)) {
        let known: Vec<NodeId> = known.into_iter().collect();
        return Err(RescueError::UnknownNode(*unknown, list(&known)));
    }
    let voters: Vec<NodeId> = remains.voters.values().copied().collect();
    let left: Vec<NodeId> = voters.iter().copied().filter(|node| !lost.contains(node)).collect();
    let is_there =
        |quorum: &quorate_raft::Members| quorum.values().filter(|node| !lost.contains(node)).count() * 2 > quorum.len();
    if remains.quorums.iter().all(is_there) {
        return Err(RescueError::Majority { left: list(&left), voters: list(&voters) });
    }
    Ok(())
}
