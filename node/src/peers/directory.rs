//! Where nodes are: the registry of the metadata group, and before it is there, the addresses this node began with. And
//! whether this node is still one of them.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use quorate_cluster_config::{Address, NodeId};
use tokio::sync::watch;

use super::handshake::HandshakeError;

/// Why a node cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expulsion {
    /// It was removed from its cluster.
    Removed,
    /// The metadata say what its build does not understand; in words.
    NotUnderstood(String),
}

/// Peer addresses by node id.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    addresses: RwLock<BTreeMap<NodeId, Address>>,
    expelled: watch::Sender<Option<Expulsion>>,
}

impl Directory {
    /// The peer address of a node.
    pub(crate) fn get(&self, node: NodeId) -> Option<Address> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// All nodes known.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Sets what is newly known; nodes that are not named keep their address.
    pub(crate) fn update(&self, addresses: impl IntoIterator<Item = (NodeId, Address)>) {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).extend(addresses);
    }

    /// Forgets the nodes that do not stay.
    pub(crate) fn retain(&self, stays: impl Fn(NodeId) -> bool) {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).retain(|node, _| stays(*node));
    }

    /// Heeds why a node does not talk to this one.
    pub(crate) fn heed(&self, error: &HandshakeError) {
        if matches!(error, HandshakeError::Removed(_)) {
            self.expel(Expulsion::Removed);
        }
    }

    /// Has this node stop.
    pub(crate) fn expel(&self, why: Expulsion) {
        self.expelled.send_replace(Some(why));
    }

    /// Returns once this node cannot go on.
    pub(crate) async fn expelled(&self) -> Expulsion {
        let mut expelled = self.expelled.subscribe();
        let why = expelled.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // The sender is here, so this does not happen.
            None => std::future::pending().await,
        }
    }
}
