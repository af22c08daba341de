//! How replicas reach each other: the seam between Raft and the network.
//!
//! Messages are opaque bytes here; the transport carries them, in order within a session, and says when it cannot.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use quorate_cluster_config::{GroupKind, NodeId, ReplicaId};
use tokio::sync::mpsc;

/// A boxed future, as object-safe traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// From one replica of a group to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The kind of the group.
    pub kind: GroupKind,
    /// The replica that speaks.
    pub from: ReplicaId,
    /// The replica spoken to.
    pub to: ReplicaId,
    /// The node that replica is placed on.
    pub node: NodeId,
}

/// Which of the ordered streams between two nodes a session takes, so that heartbeats never wait behind entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// One small request and its answer.
    Heartbeat,
    /// Entries.
    Append,
    /// Old entries, for replicas that lag: what is appended now never waits behind them.
    Bulk,
}

/// The peer cannot be reached, or the stream to it broke.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PeerUnreachable(pub String);

/// An ordered stream of requests to one replica. Sessions are numbered by the transport: answers to an earlier
/// session of the same route never arrive here. Dropping it ends the session on the other side too.
pub struct Session {
    /// Sends requests.
    pub requests: Box<dyn SessionSender>,
    /// Answers, in the order of the requests. Closed when the stream broke.
    pub answers: mpsc::Receiver<Bytes>,
}

/// The sending half of a [`Session`].
pub trait SessionSender: Send + Sync {
    /// Hands one request, given in parts, to the stream. Waits while the stream's bound of unsent bytes is reached.
    fn send(&self, parts: Vec<Bytes>) -> BoxFuture<'_, Result<(), PeerUnreachable>>;
}

/// The network between replicas.
pub trait PeerTransport: Debug + Send + Sync + 'static {
    /// Opens a session.
    fn open_session(&self, route: Route, lane: Lane) -> BoxFuture<'_, Result<Session, PeerUnreachable>>;

    /// Asks once, within `deadline`.
    fn call(&self, route: Route, request: Bytes, deadline: Duration) -> BoxFuture<'_, Result<Bytes, PeerUnreachable>>;
}
