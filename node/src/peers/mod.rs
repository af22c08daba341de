//! How nodes talk to each other: a handshake, then either tarpc (`rpc`) or an ordered lane of frames (`lane`).

mod api;
mod backoff;
mod directory;
mod frame;
mod handshake;
mod incoming;
mod lane;
mod rpc;
mod transport;

pub(crate) use api::{
    Findings, Hello, Joined, LeaderHint, NodeStatus, PeerFailure, ReplicaStatus, StepRequest, Survey, VersionedStatus,
};
pub(crate) use directory::Directory;
pub use directory::Expulsion;
pub(crate) use handshake::{Greeting, HandshakeError, Purpose};
pub use handshake::{PEER_VERSIONS, PeerVersions};
pub(crate) use incoming::PeerServer;
pub(crate) use rpc::{RpcPool, client, connect, within};
pub(crate) use transport::NodeTransport;
