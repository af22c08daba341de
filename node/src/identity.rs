//! Who this node is, durably: decided once, when its cluster forms.
//!
//! ```text
//! key 'n' 'i'   value bincode of Identity
//! ```

use std::{collections::BTreeMap, sync::Arc};

use quorate_cluster_config::{Address, ClusterId, NodeId, ReplicaId};
use quorate_raft::{FAMILY_NODE, KvBatch, KvError, KvStore, Members};
use serde::{Deserialize, Serialize};

const KEY: &[u8] = &[FAMILY_NODE, b'i'];

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

/// A node's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// This node.
    pub node: NodeId,
    /// How its cluster formed.
    pub formation: Formation,
}

impl Identity {
    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.formation.cluster
    }

    /// This node's replica of the metadata group.
    #[must_use]
    pub fn metadata_replica(&self) -> ReplicaId {
        ReplicaId(self.node.0)
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
