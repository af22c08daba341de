//! tarpc connections to other nodes, one each, made when needed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use quorate_cluster_config::{Address, NodeId, limits};
use quorate_protocol::MessageTransport;
use tarpc::{client, context};
use tokio::{sync::Mutex, time::Instant};

use super::{
    api::PeerApiClient,
    backoff::Backoff,
    directory::Directory,
    handshake::{self, ConnectError, Greeting, HandshakeError, Purpose},
};
use crate::net::Net;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Calls to one node that may be in flight.
const CALLS_MAX: usize = 1024;

/// Connects to a peer and shakes hands.
pub(crate) async fn connect(
    net: &Arc<dyn Net>,
    address: &Address,
    us: Greeting,
    to: Option<NodeId>,
    purpose: Purpose,
) -> Result<(crate::net::Stream, Greeting), ConnectError> {
    let failed = |source| ConnectError { address: address.clone(), source };
    let mut stream = tokio::time::timeout(CONNECT_TIMEOUT, net.connect(address))
        .await
        .map_err(|_| failed(HandshakeError::Timeout))?
        .map_err(|error| failed(error.into()))?;
    let them = handshake::greet(&mut stream, us, to, purpose).await.map_err(failed)?;
    Ok((stream, them))
}

/// A tarpc client over a stream on which the handshake is done.
pub(crate) fn client(stream: crate::net::Stream) -> PeerApiClient {
    let mut config = client::Config::default();
    config.max_in_flight_requests = CALLS_MAX;
    PeerApiClient::new(config, MessageTransport::new(stream, limits::PEER_FRAME_BYTES_MAX)).spawn()
}

/// A tarpc context with a deadline.
pub(crate) fn within(deadline: Duration) -> context::Context {
    let mut context = context::current();
    context.deadline = std::time::Instant::now() + deadline;
    context
}

#[derive(Debug, Default)]
struct Slot {
    client: Option<PeerApiClient>,
    backoff: Backoff,
}

/// The connections of one node.
#[derive(Debug)]
pub(crate) struct RpcPool {
    net: Arc<dyn Net>,
    us: Greeting,
    directory: Arc<Directory>,
    slots: std::sync::Mutex<HashMap<NodeId, Arc<Mutex<Slot>>>>,
}

impl RpcPool {
    pub(crate) fn new(net: Arc<dyn Net>, us: Greeting, directory: Arc<Directory>) -> Self {
        Self { net, us, directory, slots: std::sync::Mutex::default() }
    }

    /// How this node introduces itself.
    pub(crate) fn us(&self) -> Greeting {
        self.us
    }

    /// A client of a node, connected now or before.
    pub(crate) async fn get(&self, node: NodeId) -> Result<PeerApiClient, String> {
        let slot =
            self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(node).or_default().clone();
        let mut slot = slot.lock().await;
        let Some(address) = self.directory.get(node) else {
            // It is no part of the cluster any more.
            slot.client = None;
            return Err(format!("the address of node {node} is not known"));
        };
        if let Some(client) = &slot.client {
            return Ok(client.clone());
        }
        if slot.backoff.waits(Instant::now()) {
            return Err(format!("node {node} could not be reached just now"));
        }
        match connect(&self.net, &address, self.us, Some(node), Purpose::Rpc).await {
            Ok((stream, _)) => {
                let client = client(stream);
                slot.backoff.succeeded();
                slot.client = Some(client.clone());
                Ok(client)
            }
            Err(error) => {
                self.directory.heed(&error.source);
                slot.backoff.failed(Instant::now());
                Err(error.to_string())
            }
        }
    }

    /// Forgets the connection to a node, after a call on it has failed.
    pub(crate) async fn forget(&self, node: NodeId) {
        let slot = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&node).cloned();
        if let Some(slot) = slot {
            slot.lock().await.client = None;
        }
    }
}
