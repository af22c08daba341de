//! A node that is part of a cluster: its replicas and its ways to the others.

use std::{
    ops::Range,
    sync::{Arc, PoisonError},
    time::Duration,
};

use quorate_cluster_config::{NodeConfig, NodeId, ProducerId};
use quorate_raft::{DiskSpace, Environment, MetadataCommand, MetadataGroup, MetadataReply, NodePlace};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, MissedTickBehavior},
};

use super::{ExecuteError, board::Board, detector::Detector, execute, permits, replicas::Replicas};
use crate::{
    coordinators::Coordinators,
    identity::Identity,
    net::Net,
    peers::{Directory, Expulsion, NodeStatus, RpcPool, VersionedStatus},
};

/// Producer ids reserved at once, to be given away without asking again.
const PRODUCER_IDS_RESERVED: u32 = 1_000;
/// How old what a node says of itself may be.
const STATUS_AGE_MAX: Duration = Duration::from_millis(450);
const TICK: Duration = Duration::from_secs(1);
const REGISTER_PAUSE: Duration = Duration::from_millis(200);
/// After it was refused: only another build or another operator changes that.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
const REGISTER_PATIENCE: Duration = Duration::from_secs(2);

/// Everything a running member has.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) identity: Identity,
    pub(crate) config: NodeConfig,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) rpc: Arc<RpcPool>,
    pub(crate) metadata: Arc<MetadataGroup>,
    pub(crate) replicas: Replicas,
    pub(crate) board: Board,
    pub(crate) detector: Detector,
    /// Bytes of appends that may be in flight on this node.
    pub(crate) append_bytes: Arc<Semaphore>,
    /// Bytes of records read for fetches that may wait for their clients on this node.
    pub(crate) fetch_bytes: Arc<Semaphore>,
    /// The room on the disk of the logs.
    pub(crate) space: DiskSpace,
    pub(crate) coordinators: Coordinators,
    producer_ids: Mutex<Range<u64>>,
    said: std::sync::Mutex<Said>,
}

/// What this node last said of itself.
#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    version: u64,
    status: Option<NodeStatus>,
}

impl Member {
    pub(crate) fn new(
        identity: Identity,
        config: NodeConfig,
        environment: Environment,
        net: Arc<dyn Net>,
        directory: Arc<Directory>,
        rpc: Arc<RpcPool>,
        metadata: MetadataGroup,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            append_bytes: permits(config.limits.append_bytes_in_flight),
            fetch_bytes: permits(config.limits.fetch_bytes_in_flight),
            space: environment.space.clone(),
            config,
            replicas: Replicas::new(environment),
            net,
            directory,
            rpc,
            metadata: Arc::new(metadata),
            board: Board::default(),
            detector: Detector::default(),
            coordinators: Coordinators::default(),
            producer_ids: Mutex::new(0..0),
            said: std::sync::Mutex::default(),
        })
    }

    pub(crate) fn status(&self) -> NodeStatus {
        NodeStatus {
            node: self.identity.node,
            low_on_disk: self.space.is_low(),
            levels: self.replicas.environment().levels,
            replicas: self.replicas.statuses(),
        }
    }

    /// What this node says of itself to others, at most [`STATUS_AGE_MAX`] old: all of them ask often.
    pub(crate) fn versioned_status(&self, known: Option<u64>) -> VersionedStatus {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.at.is_none_or(|at| at.elapsed() >= STATUS_AGE_MAX) {
            let status = self.status();
            said.at = Some(Instant::now());
            if said.status.as_ref() != Some(&status) {
                // A number that no other version has, nor one of what this node was before a restart.
                said.version = rand::random();
                said.status = Some(status);
            }
        }
        let version = said.version;
        VersionedStatus { version, status: said.status.as_ref().filter(|_| known != Some(version)).cloned() }
    }

    /// Executes a metadata command wherever its leader is.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        command: &MetadataCommand,
        deadline: Instant,
    ) -> Result<(MetadataReply, u64), ExecuteError> {
        execute::anywhere(self, command, deadline).await
    }

    /// The nodes that have answered lately, this one included.
    pub(crate) fn live_nodes(&self) -> Vec<NodeId> {
        let mut nodes = self.directory.nodes();
        nodes.retain(|node| *node == self.identity.node || self.board.is_up(*node));
        nodes
    }

    /// A producer id that was never given before.
    pub(crate) async fn allocate_producer_id(self: &Arc<Self>, deadline: Instant) -> Result<ProducerId, ExecuteError> {
        let mut ids = self.producer_ids.lock().await;
        loop {
            if let Some(id) = ids.next() {
                return Ok(ProducerId(id));
            }
            let command = MetadataCommand::ReserveProducerIds { count: PRODUCER_IDS_RESERVED };
            match execute::anywhere(self, &command, deadline).await {
                Ok((MetadataReply::ProducerIds { first }, _)) => {
                    *ids = first.0..first.0 + u64::from(PRODUCER_IDS_RESERVED);
                }
                Ok((reply, _)) => return Err(ExecuteError::Unknown(format!("unexpected reply {reply:?}"))),
                // Ids reserved by a command whose answer was lost are never given: asking again is safe.
                Err(ExecuteError::Unknown(_)) if Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Tells the metadata group where this node can be reached, until it knows.
pub(crate) async fn register(member: Arc<Member>) {
    let command = MetadataCommand::RegisterNode {
        node: member.identity.node,
        metadata_replica: member.identity.metadata_replica,
        place: NodePlace {
            client_address: member.config.advertised().clone(),
            peer_address: member.config.peer_advertised().clone(),
            rack: member.config.rack.clone(),
        },
        levels: member.replicas.environment().levels,
    };
    loop {
        match execute::anywhere(&member, &command, Instant::now() + REGISTER_PATIENCE).await {
            Ok((MetadataReply::NodeRegistered, _)) => return,
            Ok((MetadataReply::Refused(refusal), _)) => {
                tracing::error!(%refusal, "this node cannot be registered");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            Ok((reply, _)) => tracing::error!(?reply, "this node cannot be registered"),
            Err(error) => tracing::debug!(%error, "this node is not registered yet"),
        }
        tokio::time::sleep(REGISTER_PAUSE).await;
    }
}

/// Keeps the addresses of the nodes as the metadata has them.
pub(crate) async fn keep_directory(member: Arc<Member>) {
    let mut applied = member.metadata.applied_end();
    loop {
        applied.borrow_and_update();
        let state = member.metadata.state();
        member.directory.update(state.nodes().map(|node| (node.id, node.place.peer_address.clone())));
        member.directory.retain(|node| !state.is_shunned(node));
        if applied.changed().await.is_err() {
            return;
        }
    }
}

/// Marks idle logs as durable and writes down how far they are committed, once a second.
pub(crate) async fn tick(member: Arc<Member>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let ticking = member.clone();
        let ticked = tokio::task::spawn_blocking(move || ticking.replicas.tick(&ticking.metadata)).await;
        if let Some(reason) = member.metadata.not_understood() {
            member.directory.expel(Expulsion::NotUnderstood(reason.to_owned()));
        }
        if let Ok(Err(error)) = ticked {
            tracing::error!(%error, "the committed marks could not be written");
        }
    }
}
