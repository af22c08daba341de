//! Where nodes are: the registry of the metadata group, and before it is there, the addresses the cluster formed under.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use quorate_cluster_config::{Address, NodeId};

/// Peer addresses by node id.
#[derive(Debug, Default)]
pub(crate) struct Directory(RwLock<BTreeMap<NodeId, Address>>);

impl Directory {
    /// The peer address of a node.
    pub(crate) fn get(&self, node: NodeId) -> Option<Address> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// All nodes known.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Sets what is newly known; nodes that are not named keep their address.
    pub(crate) fn update(&self, addresses: impl IntoIterator<Item = (NodeId, Address)>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(addresses);
    }
}
