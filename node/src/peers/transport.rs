//! Raft's transport over lanes and tarpc.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_cluster_config::NodeId;
use quorate_raft::{BoxFuture, Lane as LaneKind, PeerTransport, PeerUnreachable, Route, Session};
use tokio::{sync::Mutex, time::Instant};

use super::{
    backoff::Backoff,
    directory::Directory,
    handshake::{Greeting, Purpose},
    lane::Lane,
    rpc::{RpcPool, connect, within},
};
use crate::net::Net;

#[derive(Debug, Default)]
struct Slot {
    lane: Option<Arc<Lane>>,
    backoff: Backoff,
}

type Slots = HashMap<(NodeId, LaneKind), Arc<Mutex<Slot>>>;

/// The lanes and calls of one node.
#[derive(Debug)]
pub(crate) struct NodeTransport {
    net: Arc<dyn Net>,
    us: Greeting,
    directory: Arc<Directory>,
    rpc: Arc<RpcPool>,
    lanes: std::sync::Mutex<Slots>,
}

impl NodeTransport {
    pub(crate) fn new(net: Arc<dyn Net>, us: Greeting, directory: Arc<Directory>, rpc: Arc<RpcPool>) -> Self {
        Self { net, us, directory, rpc, lanes: std::sync::Mutex::default() }
    }

    async fn lane(&self, node: NodeId, kind: LaneKind) -> Result<Arc<Lane>, PeerUnreachable> {
        let slot = {
            let mut lanes = self.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            lanes.entry((node, kind)).or_default().clone()
        };
        let mut slot = slot.lock().await;
        let Some(address) = self.directory.get(node) else {
            // It is no part of the cluster any more.
            slot.lane = None;
            return Err(PeerUnreachable(format!("the address of node {node} is not known")));
        };
        if let Some(lane) = slot.lane.as_ref().filter(|lane| !lane.is_broken()) {
            return Ok(lane.clone());
        }
        slot.lane = None;
        if slot.backoff.waits(Instant::now()) {
            return Err(PeerUnreachable(format!("node {node} could not be reached just now")));
        }
        let purpose = match kind {
            LaneKind::Append => Purpose::Append,
            LaneKind::Heartbeat => Purpose::Heartbeat,
            LaneKind::Bulk => Purpose::Bulk,
        };
        match connect(&self.net, &address, self.us, Some(node), purpose).await {
            Ok((stream, _)) => {
                let lane = Lane::start(stream);
                slot.backoff.succeeded();
                slot.lane = Some(lane.clone());
                Ok(lane)
            }
            Err(error) => {
                self.directory.heed(&error.source);
                slot.backoff.failed(Instant::now());
                Err(PeerUnreachable(error.to_string()))
            }
        }
    }
}

impl PeerTransport for NodeTransport {
    fn open_session(&self, route: Route, lane: LaneKind) -> BoxFuture<'_, Result<Session, PeerUnreachable>> {
        Box::pin(async move { self.lane(route.node, lane).await?.open_session(route) })
    }

    fn call(&self, route: Route, request: Bytes, deadline: Duration) -> BoxFuture<'_, Result<Bytes, PeerUnreachable>> {
        Box::pin(async move {
            let client = self.rpc.get(route.node).await.map_err(PeerUnreachable)?;
            match client.raft_call(within(deadline), route.to, request).await {
                Ok(answer) => answer.map_err(|failure| PeerUnreachable(failure.to_string())),
                Err(error) => {
                    self.rpc.forget(route.node).await;
                    Err(PeerUnreachable(error.to_string()))
                }
            }
        })
    }
}
