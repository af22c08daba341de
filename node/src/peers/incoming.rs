//! The peer port: handshakes, tarpc and lanes that others open.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use quorate_cluster_config::{Address, NodeId, PartitionId, ReplicaId, limits};
use quorate_protocol::MessageTransport;
use quorate_raft::{Join, LogTail, MetadataCommand, MetadataReply, StepProgress};
use tarpc::{
    context::Context,
    server::{BaseChannel, Channel},
};
use tokio::{
    io::WriteHalf,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, error::TrySendError},
    },
    time::Instant,
};

use super::{
    api::{Findings, Hello, Joined, PeerApi, PeerFailure, StepRequest, VersionedStatus},
    frame::{self, FrameReader, LaneFrameKind, SessionKey},
    handshake::{self, Purpose},
};
use crate::{
    cluster::{Cluster, Member},
    identity::Formation,
    net::{Listener, Stream},
};

/// Connections from peers, handshakes included: four a node, with room for reconnects.
const CONNECTIONS_MAX: usize = limits::NODES_MAX as usize * 8;
/// Requests of one tarpc connection that may be in work.
const RPCS_MAX: usize = 1024;
/// Answers of a lane that wait to be written.
const ANSWERS_QUEUED_MAX: usize = 4096;
/// A lane without an open session on which nothing has come for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A heartbeat's bytes, generously.
const HEARTBEAT_BYTES_MAX: usize = 4 << 10;
/// What one request claims of the bytes this node may hold, at most.
const REPLICATION_CLAIM_MAX: u32 = limits::BATCH_BYTES_MAX as u32;
/// Between two looks whether this node is a member by now.
const MEMBER_POLL: Duration = Duration::from_millis(200);
/// After an error of `accept` (out of file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The way of requests to a session, each with its claim on the bytes this node may hold.
type Requests = mpsc::Sender<(Bytes, Option<OwnedSemaphorePermit>)>;

/// Serves the peer port.
#[derive(Clone, Debug)]
pub(crate) struct PeerServer {
    pub(crate) cluster: Arc<Cluster>,
}

impl PeerServer {
    pub(crate) async fn run(self, mut listener: Box<dyn Listener>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let permit = room.clone().acquire_owned().await;
            match listener.accept().await {
                Ok(stream) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        server.connection(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the peer port cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, mut stream: Stream) {
        let shunned = |node| self.cluster.member().is_some_and(|member| member.metadata.state().is_shunned(node));
        let (from, purpose) = match handshake::answer(&mut stream, self.cluster.greeting(), shunned).await {
            Ok(accepted) => accepted,
            Err(error) => return tracing::info!(%error, "refused a connection to the peer port"),
        };
        let cluster = self.cluster.clone();
        let serve = async {
            match purpose {
                Purpose::Rpc => self.rpc(stream).await,
                lane => self.lane(stream, from.node, lane).await,
            }
        };
        tokio::select! {
            () = serve => {
                if let (Some(member), Some(node)) = (cluster.member(), from.node) {
                    member.detector.doubt(node);
                }
            }
            () = until_shunned(&cluster, from.node) => {
                tracing::info!(node = ?from.node, "closed a connection of a node that was removed");
            }
        }
    }

    async fn rpc(self, stream: Stream) {
        let transport = MessageTransport::new(stream, limits::PEER_FRAME_BYTES_MAX);
        let channel = BaseChannel::with_defaults(transport).max_concurrent_requests(RPCS_MAX);
        let mut work = std::pin::pin!(channel.execute(self.serve()));
        while let Some(request) = work.next().await {
            tokio::spawn(request);
        }
    }

    /// Hands requests to their sessions in the order they come. What one group does not take in time holds up no other:
    /// a session has room for all that its leader may have without an answer. Only when all of them together hold as
    /// much as this node may hold the lane is not read on.
    async fn lane(self, stream: Stream, from: Option<NodeId>, lane: Purpose) {
        let (reader, writer) = tokio::io::split(stream);
        let (answers, queue) = mpsc::channel::<Vec<Bytes>>(ANSWERS_QUEUED_MAX);
        let writer = tokio::spawn(write_answers(writer, queue));
        let mut reader = FrameReader::new(reader);
        // A session that has ended stays known until its other side says so, too: requests that are still on their way must
        // not begin it anew.
        let mut sessions: HashMap<SessionKey, Option<Requests>> = HashMap::new();
        let error = loop {
            let frame = {
                let mut next = std::pin::pin!(reader.next());
                loop {
                    match tokio::time::timeout(IDLE_MAX, &mut next).await {
                        Ok(frame) => break frame,
                        // An idle leader keeps its session open for the next append.
                        Err(_) if sessions.values().flatten().any(|session| !session.is_closed()) => {}
                        Err(_) => break Err(io::Error::new(io::ErrorKind::TimedOut, "it was idle")),
                    }
                }
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => break error,
            };
            match frame.kind {
                LaneFrameKind::Request => {
                    if let Entry::Vacant(new) = sessions.entry(frame.session)
                        && new.insert(self.open_session(frame.session, &answers)).is_none()
                    {
                        drop(answers.send(frame::encode(LaneFrameKind::End, frame.session, Vec::new())).await);
                    }
                    let Some(Some(session)) = sessions.get(&frame.session) else { continue };
                    // One request of the greatest size must fit, however small the budget.
                    let size = u32::try_from(frame.body.len()).unwrap_or(u32::MAX).min(REPLICATION_CLAIM_MAX);
                    let claim = match self.cluster.replication_bytes(lane) {
                        Some(budget) => match budget.acquire_many_owned(size).await {
                            Ok(claim) => Some(claim),
                            Err(_) => return,
                        },
                        // Heartbeats are small, and wait for nobody.
                        None if frame.body.len() <= HEARTBEAT_BYTES_MAX => None,
                        None => break io::Error::new(io::ErrorKind::InvalidData, "entries where heartbeats come"),
                    };
                    match session.try_send((frame.body, claim)) {
                        Ok(()) => {}
                        Err(error) => {
                            if matches!(error, TrySendError::Full(_)) {
                                tracing::warn!(?from, session = ?frame.session, "a peer sends more than it may; its session ends");
                            }
                            sessions.insert(frame.session, None);
                        }
                    }
                }
                LaneFrameKind::End => drop(sessions.remove(&frame.session)),
                LaneFrameKind::Answer => break io::Error::new(io::ErrorKind::InvalidData, "an answer to nothing"),
            }
        };
        tracing::debug!(?from, %error, "a peer's lane ended");
        writer.abort();
    }

    fn open_session(&self, key: SessionKey, answers: &mpsc::Sender<Vec<Bytes>>) -> Option<Requests> {
        let (requests, mut replies) = self.cluster.with_group(key.to, |group| {
            (group.id().kind() == key.kind && group.status().failure.is_none()).then(|| group.append_session())
        })??;
        let answers = answers.clone();
        tokio::spawn(async move {
            while let Some(reply) = replies.recv().await {
                if answers.send(frame::encode(LaneFrameKind::Answer, key, vec![reply])).await.is_err() {
                    return;
                }
            }
            drop(answers.send(frame::encode(LaneFrameKind::End, key, Vec::new())).await);
        });
        Some(requests)
    }
}

/// Returns once the node at the other end is no part of the cluster any more.
async fn until_shunned(cluster: &Cluster, node: Option<NodeId>) {
    let Some(node) = node else { return std::future::pending().await };
    let member = loop {
        // Others may connect before this node is done with becoming a member.
        match cluster.member() {
            Some(member) => break member,
            None => tokio::time::sleep(MEMBER_POLL).await,
        }
    };
    let mut applied = member.metadata.applied_end();
    while !member.metadata.state().is_shunned(node) {
        if applied.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn write_answers(mut writer: WriteHalf<Stream>, mut queue: mpsc::Receiver<Vec<Bytes>>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 64).await > 0 {
        if frame::write_all(&mut writer, batch.drain(..).flatten().collect()).await.is_err() {
            return;
        }
    }
}

impl PeerApi for PeerServer {
    async fn hello(self, _: Context) -> Hello {
        self.cluster.hello().await
    }

    async fn accept_formation(self, _: Context, formation: Formation) -> Result<(), PeerFailure> {
        self.cluster.accept_formation(formation).await
    }

    async fn join(self, _: Context, join: Join) -> Result<Joined, PeerFailure> {
        self.cluster.admit(join).await
    }

    async fn invite(self, _: Context, nodes: Vec<Address>) -> Result<NodeId, PeerFailure> {
        self.cluster.take_invitation(&nodes).await
    }

    async fn raft_call(self, _: Context, to: ReplicaId, request: Bytes) -> Result<Bytes, PeerFailure> {
        let group = self.cluster.group(to).ok_or(PeerFailure::UnknownReplica(to))?;
        group.group().call(request).await.map_err(|error| PeerFailure::Unknown(error.to_string()))
    }

    async fn execute(
        self,
        _: Context,
        command: MetadataCommand,
        patience: Duration,
    ) -> Result<(MetadataReply, u64), PeerFailure> {
        self.cluster.execute_here(&command, patience).await
    }

    async fn take_step(self, _: Context, request: StepRequest) -> Result<StepProgress, PeerFailure> {
        self.cluster.take_step(&request).await
    }

    async fn ping(self, _: Context, from: NodeId, suspects: Vec<NodeId>, heard: bool) -> Vec<NodeId> {
        let hear = |member: &Arc<Member>| member.detector.hear_ping(from, suspects, heard, Instant::now());
        self.cluster.member().map(hear).unwrap_or_default()
    }

    async fn log_tails(self, _: Context, partitions: Vec<PartitionId>) -> Vec<Option<LogTail>> {
        self.cluster.member().map(|member| member.log_tails(&partitions)).unwrap_or_default()
    }

    async fn metadata_end(self, _: Context) -> Result<u64, PeerFailure> {
        self.cluster.metadata_end().await
    }

    async fn survey(self, _: Context, partitions: Vec<PartitionId>) -> Result<Findings, PeerFailure> {
        let member = self.cluster.member().ok_or(PeerFailure::NotReady)?;
        Ok(member.survey(&partitions))
    }

    async fn status(self, _: Context, known: Option<u64>) -> Result<VersionedStatus, PeerFailure> {
        let member = self.cluster.member().ok_or(PeerFailure::NotReady)?;
        Ok(member.versioned_status(known))
    }
}
