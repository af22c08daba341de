//! The network between the nodes of a test: sessions are channels, links can be cut and held.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use quorate_cluster_config::{NodeId, ReplicaId};
use quorate_raft::{
    BoxFuture, Group, Lane, MetadataGroup, PartitionGroup, PeerTransport, PeerUnreachable, Route, Session,
    SessionSender,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

/// Messages of a session on their way, in each direction.
const MESSAGES_MAX: usize = 64;

/// A running replica as its peers reach it.
#[derive(Clone, Debug)]
pub(crate) enum Replica {
    Partition(Arc<PartitionGroup>),
    Metadata(Arc<MetadataGroup>),
}

impl Replica {
    fn group(&self) -> &Group {
        match self {
            Self::Partition(partition) => partition.group(),
            Self::Metadata(metadata) => metadata.group(),
        }
    }
}

/// A directed link.
type Link = (NodeId, NodeId);

#[derive(Clone, Debug, Default)]
struct Faults {
    cut: BTreeSet<Link>,
    /// With how many messages may pass all the same.
    held: BTreeMap<Link, usize>,
}

/// The network of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Net {
    faults: watch::Sender<Faults>,
    replicas: Mutex<BTreeMap<(NodeId, ReplicaId), (Handle, Replica)>>,
}

fn unreachable(why: &str) -> PeerUnreachable {
    PeerUnreachable(why.to_owned())
}

impl Net {
    pub(crate) fn attach(&self, node: NodeId, id: ReplicaId, runtime: Handle, replica: Replica) {
        self.replicas.lock().unwrap().insert((node, id), (runtime, replica));
    }

    pub(crate) fn detach(&self, node: NodeId) {
        self.replicas.lock().unwrap().retain(|(at, _), _| *at != node);
    }

    /// Drops all messages between two nodes, and breaks their sessions as the next message comes.
    pub(crate) fn cut(&self, a: NodeId, b: NodeId) {
        self.faults.send_modify(|faults| faults.cut.extend([(a, b), (b, a)]));
    }

    /// Keeps all messages from one node to another until the links are healed.
    pub(crate) fn hold(&self, from: NodeId, to: NodeId) {
        self.faults.send_modify(|faults| _ = faults.held.insert((from, to), 0));
    }

    /// Lets one of the messages that are kept pass.
    pub(crate) fn let_one_pass(&self, from: NodeId, to: NodeId) {
        self.faults.send_modify(|faults| *faults.held.entry((from, to)).or_default() += 1);
    }

    /// Ends all cuts and holds.
    pub(crate) fn heal(&self) {
        self.faults.send_replace(Faults::default());
    }

    /// Waits until a message may pass.
    async fn pass(&self, link: Link) -> Result<(), PeerUnreachable> {
        let mut faults = self.faults.subscribe();
        loop {
            let may = |faults: &Faults| faults.held.get(&link).is_none_or(|more| *more > 0);
            if faults.wait_for(may).await.map_err(|_| unreachable("over"))?.cut.contains(&link) {
                return Err(unreachable("the link is cut"));
            }
            // Another message may have been faster.
            let passes = !self.faults.borrow().held.contains_key(&link)
                || self.faults.send_if_modified(|faults| {
                    let more = faults.held.get_mut(&link).filter(|more| **more > 0);
                    more.map(|more| *more -= 1).is_some()
                });
            if passes {
                return Ok(());
            }
        }
    }

    fn find(&self, route: Route) -> Result<(Handle, Replica), PeerUnreachable> {
        let replicas = self.replicas.lock().unwrap();
        replicas.get(&(route.node, route.to)).cloned().ok_or_else(|| unreachable("no such replica there"))
    }
}

/// The network as one node sees it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) net: Arc<Net>,
    pub(crate) node: NodeId,
}

struct Sender(mpsc::Sender<Vec<Bytes>>);

impl SessionSender for Sender {
    fn send(&self, parts: Vec<Bytes>) -> BoxFuture<'_, Result<(), PeerUnreachable>> {
        Box::pin(async { self.0.send(parts).await.map_err(|_| unreachable("the session is over")) })
    }
}

impl PeerTransport for Port {
    fn open_session(&self, route: Route, _: Lane) -> BoxFuture<'_, Result<Session, PeerUnreachable>> {
        Box::pin(async move {
            self.net.pass((self.node, route.node)).await?;
            let (runtime, replica) = self.net.find(route)?;
            let (to_peer, mut from_peer) = {
                let _context = runtime.enter();
                replica.group().append_session()
            };
            let (requests, mut outgoing) = mpsc::channel::<Vec<Bytes>>(MESSAGES_MAX);
            let (incoming, answers) = mpsc::channel(MESSAGES_MAX);
            let (net, here, there) = (self.net.clone(), self.node, route.node);
            tokio::spawn(async move {
                let send = async {
                    while let Some(parts) = outgoing.recv().await {
                        net.pass((here, there)).await?;
                        to_peer.send((parts.concat().into(), ())).await.map_err(|_| unreachable("it has ended"))?;
                    }
                    std::future::pending::<Result<(), PeerUnreachable>>().await
                };
                let receive = async {
                    while let Some(answer) = from_peer.recv().await {
                        net.pass((there, here)).await?;
                        incoming.send(answer).await.map_err(|_| unreachable("nobody listens"))?;
                    }
                    Ok::<_, PeerUnreachable>(())
                };
                // Whichever ends first ends the session; so does the caller, by dropping it.
                tokio::select! {
                    _ = send => {}
                    _ = receive => {}
                    () = incoming.closed() => {}
                }
            });
            Ok(Session { requests: Box::new(Sender(requests)), answers })
        })
    }

    fn call(&self, route: Route, request: Bytes, deadline: Duration) -> BoxFuture<'_, Result<Bytes, PeerUnreachable>> {
        Box::pin(async move {
            let ask = async {
                self.net.pass((self.node, route.node)).await?;
                let (runtime, replica) = self.net.find(route)?;
                let answer = runtime.spawn(async move { replica.group().call(request).await }).await;
                let answer = answer.map_err(|_| unreachable("it crashed"))?.map_err(|e| unreachable(&e.to_string()))?;
                self.net.pass((route.node, self.node)).await?;
                Ok(answer)
            };
            tokio::time::timeout(deadline, ask).await.map_err(|_| unreachable("no answer in time"))?
        })
    }
}
