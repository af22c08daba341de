//! The tarpc service between nodes: everything but AppendEntries.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use quorate_cluster_config::{Address, ClusterId, NodeId, PartitionId, ReplicaId};
use quorate_protocol::{Carrier, Payload, ReplicaRole};
use quorate_raft::{Join, Levels, LogTail, Members, MetadataCommand, MetadataReply, MoveRow, StepProgress};
use serde::{Deserialize, Serialize};

use crate::identity::Formation;

/// What a node says of itself before it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The peer address it tells others.
    pub address: Address,
    /// The seeds it is configured with, ascending.
    pub seeds: Vec<Address>,
    /// The cluster it is part of, or whose formation it has accepted.
    pub cluster: Option<ClusterId>,
    /// Whether its metadata group has begun: then the cluster takes no further first members.
    pub initialized: bool,
}

/// What a node that joined needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's id.
    pub node: NodeId,
    /// Its replica of the metadata group.
    pub metadata_replica: ReplicaId,
    /// The peer addresses of the nodes there are.
    pub nodes: BTreeMap<NodeId, Address>,
}

/// One replica as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplicaStatus {
    /// The replica.
    pub replica: ReplicaId,
    /// Its partition.
    pub partition: PartitionId,
    /// What it does.
    pub role: ReplicaRole,
    /// Its term.
    pub term: u64,
    /// The node it takes for the leader.
    pub leader: Option<NodeId>,
    /// The first offset it does not know to be committed.
    pub high_watermark: u64,
    /// The end of its log on stable storage.
    pub log_end_offset: u64,
    /// The high watermark it had a second or two ago: what every replica that keeps up has by now.
    pub settled_offset: u64,
    /// The first offset it knows to be retained.
    pub log_start_offset: u64,
    /// The bytes of its log on disk.
    pub log_bytes: u64,
    /// Why it failed; with another role than that of a failure, what of its log is damaged.
    pub failure: Option<String>,
    /// Whether its log is in doubt, so that it is not started: only another replica can take its place.
    pub in_doubt: bool,
}

/// One running replica, as it is looked at before a partition goes on without a majority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Survey {
    /// The replica.
    pub replica: ReplicaId,
    /// Its partition.
    pub partition: PartitionId,
    /// Its node.
    pub node: NodeId,
    /// How far its log goes.
    pub tail: LogTail,
    /// The end of its log on stable storage.
    pub log_end_offset: u64,
    /// The first offset it does not know to be committed.
    pub high_watermark: u64,
    /// Whether its log is damaged.
    pub damaged: bool,
    /// Those that vote, as it knows; while a change is under way two sets of them.
    pub quorums: Vec<Members>,
    /// The node that leads, if its own node does not suspect that one, and does not doubt that it has a majority.
    pub leader: Option<NodeId>,
}

/// What a node has of some partitions, before they go on without a majority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// The node.
    pub node: NodeId,
    /// Its running replicas.
    pub found: Vec<Survey>,
    /// Why it cannot say yet, or not for all: replicas that are being opened, or that stopped for want of room.
    pub unclear: Option<String>,
    /// The nodes that it does not hear.
    pub suspects: Vec<NodeId>,
}

/// A node as it sees itself, told to every other node twice a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Whether its disk has less room than it keeps free: it is about to take no batches any more.
    pub low_on_disk: bool,
    /// What its build understands of the metadata.
    pub levels: Levels,
    /// Its partition replicas, by id.
    pub replicas: Vec<ReplicaStatus>,
}

/// What a node says of itself, and which version of it that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionedStatus {
    /// Changes with what is said; never one that this node, or what it was before a restart, had for something else.
    pub version: u64,
    /// `None` if the one who asks has this version.
    pub status: Option<NodeStatus>,
}

/// Who leads a partition, and since which term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaderHint {
    /// The term. A greater one is newer.
    pub epoch: u64,
    /// The node.
    pub node: Option<NodeId>,
}

/// Asks the leader of a partition for a step of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepRequest {
    /// The move, at the step that is asked for.
    pub row: MoveRow,
    /// The metadata index at which the move was like that. Who is asked looks whether it still is: a request that was held up
    /// somewhere must not do what has been taken back since.
    pub metadata_index: u64,
}

/// Why a peer did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum PeerFailure {
    /// It is not part of a cluster yet, or about to stop.
    #[error("the node is not ready")]
    NotReady,
    /// It has no such replica.
    #[error("the node does not run replica {0}")]
    UnknownReplica(ReplicaId),
    /// It does not lead the metadata group.
    #[error("the node does not lead the metadata group")]
    NotLeader(Option<NodeId>),
    /// It does not lead the partition.
    #[error("the node does not lead the partition")]
    NotPartitionLeader(Option<NodeId>),
    /// The move has gone on since this was asked for, or what the asking node knows is not known here yet.
    #[error("the metadata says something else by now, or not yet what it says there")]
    Outdated,
    /// The cluster does not want what was asked for.
    #[error("{0}")]
    Refused(String),
    /// It has accepted another formation.
    #[error("the node has accepted another formation, of cluster {0}")]
    OtherFormation(ClusterId),
    /// The proposed formation does not fit its configuration.
    #[error("the proposed formation does not fit: {0}")]
    UnfitFormation(String),
    /// Whether it happened is unknown.
    #[error("{0}")]
    Unknown(String),
}

/// What a node may ask of another.
#[tarpc::service]
pub(crate) trait PeerApi {
    /// Who are you?
    async fn hello() -> Hello;
    /// Accept this formation, durably, and no other.
    async fn accept_formation(formation: Formation) -> Result<(), PeerFailure>;
    /// Give this node an id in your cluster; the same one if it asks again.
    async fn join(join: Join) -> Result<Joined, PeerFailure>;
    /// Join the cluster of one of these nodes, if you wait for that; returns your id there.
    async fn invite(nodes: Vec<Address>) -> Result<NodeId, PeerFailure>;
    /// Hand a Raft call to a replica.
    async fn raft_call(to: ReplicaId, request: Bytes) -> Result<Bytes, PeerFailure>;
    /// Execute a metadata command, as the leader of the metadata group.
    async fn execute(command: MetadataCommand, patience: Duration) -> Result<(MetadataReply, u64), PeerFailure>;
    /// How far are the metadata committed, as the leader of the metadata group?
    async fn metadata_end() -> Result<u64, PeerFailure>;
    /// Take a step of replacing a replica, as the leader of its partition.
    async fn take_step(request: StepRequest) -> Result<StepProgress, PeerFailure>;
    /// I am there, these nodes I have not heard of lately, and whether I have heard of you: which ones have you not?
    async fn ping(from: NodeId, suspects: Vec<NodeId>, heard: bool) -> Vec<NodeId>;
    /// How far do the logs of your replicas of these partitions go?
    async fn log_tails(partitions: Vec<PartitionId>) -> Vec<Option<LogTail>>;
    /// Which running replicas of these partitions do you have, and how far have they come?
    async fn survey(partitions: Vec<PartitionId>) -> Result<Findings, PeerFailure>;
    /// How are your replicas? The answer is short if that is as it was when it had this version.
    async fn status(known: Option<u64>) -> Result<VersionedStatus, PeerFailure>;
}

impl Carrier for PeerApiRequest {
    fn take(&mut self) -> Payload {
        match self {
            Self::RaftCall { request, .. } => std::mem::take(request).into(),
            _ => Payload::default(),
        }
    }

    fn put(&mut self, payload: Bytes) -> bool {
        let Self::RaftCall { request, .. } = self else { return false };
        *request = payload;
        true
    }
}

impl Carrier for PeerApiResponse {
    fn take(&mut self) -> Payload {
        match self {
            Self::RaftCall(Ok(answer)) => std::mem::take(answer).into(),
            _ => Payload::default(),
        }
    }

    fn put(&mut self, payload: Bytes) -> bool {
        let Self::RaftCall(Ok(answer)) = self else { return false };
        *answer = payload;
        true
    }
}
