//! Nodes that come and go.

use quorate_cluster_config::{Address, NodeId};
use serde::{Deserialize, Serialize};

/// How a node leaves the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Departure {
    /// It serves until all it has is elsewhere.
    Serving,
    /// It is gone for good, and what it had is rebuilt from the other replicas.
    Dead,
}

/// Adds the node that waits at this peer address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddNodeRequest {
    /// The address.
    pub peer_address: Address,
}

/// Has a node leave the cluster, or stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNodeRequest {
    /// The node.
    pub node: NodeId,
    /// How it leaves; `None` if it stays after all.
    pub departure: Option<Departure>,
}
