//! Who this node is, durably: decided once, when its cluster forms or when it joins one.
//!
//! ```text
//! key 'n' 'i'   value bincode of Identity
//! key 'n' 'j'   value u128 big-endian, what the node calls itself until it has an identity
//! ```

use std::{collections::BTreeMap, sync::Arc};

use quorate_cluster_config::{Address, ClusterId, NodeId, ReplicaId};
use quorate_raft::{FAMILY_NODE, KvBatch, KvError, KvStore, Members};
use serde::{Deserialize, Serialize};

const KEY: &[u8] = &[FAMILY_NODE, b'i'];
const JOIN_TOKEN: &[u8] = &[FAMILY_NODE, b'j'];

/// What the seeds of a cluster agree on when it forms. Each makes it durable and accepts no other, ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    /// The new cluster.
    pub cluster: ClusterId,
    /// Its first nodes, by id, with the peer addresses they formed under.
    pub nodes: BTreeMap<NodeId, Address>,
}

impl Formation {
    /// A formation of the given seeds, in ascending order of address.
    #[must_use]
    pub fn new(cluster: ClusterId, seeds: &[Address]) -> Self {
        let mut seeds = seeds.to_vec();
        seeds.sort();
        Self { cluster, nodes: (1..).map(NodeId).zip(seeds).collect() }
    }

    /// The first replicas of the metadata group: one a node, of the node's number.
    #[must_use]
    pub fn metadata_members(&self) -> Members {
        self.nodes.keys().map(|node| (ReplicaId(node.0), *node)).collect()
    }
}

/// How a node became part of its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The cluster formed with it.
    Formed(Formation),
    /// It joined a cluster whose nodes were these, by id, with their peer addresses.
    Joined(BTreeMap<NodeId, Address>),
}

/// A node's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// This node's replica of the metadata group.
    pub metadata_replica: ReplicaId,
    /// How it came to that.
    pub origin: Origin,
}

impl Identity {
    /// The identity that a formation gives a node.
    #[must_use]
    pub fn formed(node: NodeId, formation: Formation) -> Self {
        let (cluster, metadata_replica) = (formation.cluster, ReplicaId(node.0));
        Self { cluster, node, metadata_replica, origin: Origin::Formed(formation) }
    }

    /// The formation that this node was part of.
    #[must_use]
    pub fn formation(&self) -> Option<&Formation> {
        match &self.origin {
            Origin::Formed(formation) => Some(formation),
            Origin::Joined(_) => None,
        }
    }

    /// The nodes there were when it got its identity, with their peer addresses.
    #[must_use]
    pub fn first_known(&self) -> &BTreeMap<NodeId, Address> {
        match &self.origin {
            Origin::Formed(formation) => &formation.nodes,
            Origin::Joined(nodes) => nodes,
        }
    }

    /// Whether there is an identity in a store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_saved(store: &Arc<dyn KvStore>) -> Result<bool, KvError> {
        Ok(store.get(KEY)?.is_some())
    }

    /// The identity in a store, if it has one.
    ///
    /// # Errors
    /// When the store fails or holds a malformed identity.
    pub fn load(store: &Arc<dyn KvStore>) -> Result<Option<Self>, KvError> {
        let Some(value) = store.get(KEY)? else { return Ok(None) };
        bincode::deserialize(&value)
            .map(Some)
            .map_err(|error| KvError(format!("the node's identity is malformed: {error}")))
    }

    /// Writes the identity down durably.
    ///
    /// # Errors
    /// When the store fails.
    pub fn save(&self, store: &Arc<dyn KvStore>) -> Result<(), KvError> {
        let value = bincode::serialize(self).map_err(|error| KvError(error.to_string()))?;
        store.write(KvBatch::default().put(KEY.to_vec(), value))?;
        store.flush()
    }
}

/// What this node calls itself when it asks to join: made durable before it is first used, so that a node that crashes
/// while it joins does not become two.
///
/// # Errors
/// When the store fails.
pub(crate) fn join_token(store: &Arc<dyn KvStore>) -> Result<u128, KvError> {
    if let Some(value) = store.get(JOIN_TOKEN)? {
        let value = value.try_into().map_err(|_| KvError("the node's join token is malformed".to_owned()))?;
        return Ok(u128::from_be_bytes(value));
    }
    // 0 is none.
    let token: u128 = rand::random::<u128>().max(1);
    store.write(KvBatch::default().put(JOIN_TOKEN.to_vec(), token.to_be_bytes().to_vec()))?;
    store.flush()?;
    Ok(token)
}
