//! A node for the tests of the command line: it takes the flags of `quorate-node`, speaks the client protocol, and
//! keeps everything in memory. Each fake node is a cluster of its own that claims to know its seeds.
//!
//! Where it is asked as any replica may be, it says so in its log. With `FAKE_NODE_FAILS` set it complains and exits, as a node does that cannot start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use quorate_cluster_config::limits::COORDINATOR_GROUPS;
use quorate_cluster_config::{Address, ClusterId, NodeId, ProducerId, ReplicaId, TopicConfig, TopicId, TopicName};
use quorate_coordinator::{CoordinatorState, Topics};
use quorate_protocol::{
    AddNodeRequest, AlterTopicRequest, ApiError, ClusterInfo, CoordinatorRequest, CreateTopicRequest,
    DeleteTopicRequest, DrainRequest, ErrorCode, FetchRequest, FetchResponse, GroupRequest, GroupResponse, MissingInfo,
    MoveInfo, MoveState, NodeInfo, NodeState, OffsetQuery, OffsetsRequest, OffsetsResponse, OutlookInfo, PartitionInfo,
    ProduceRequest, ProduceResponse, QuorateApi, RecoverRequest, RemoveNodeRequest, ReplicaInfo, ReplicaRole,
    ServeFrom, SurvivorInfo, TasksResponse, TopicInfo, TopicSelector, TopicsRequest, TopicsResponse, TrimRequest,
    TrimResponse,
};
use quorate_record::{BatchHeader, UNPROTECTED_SIZE, stamp};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel};

type Outcome<T> = Result<T, ApiError>;

#[derive(Default)]
struct State {
    topics: BTreeMap<TopicName, TopicInfo>,
    logs: BTreeMap<(TopicId, u32), Log>,
    ids: u64,
    drained: BTreeSet<NodeId>,
    removed: BTreeSet<NodeId>,
    tasks: TasksResponse,
    groups: CoordinatorState,
}

/// The topics, as a coordinator sees them.
struct Known(u64, BTreeMap<TopicName, (TopicId, u32)>);

impl Topics for Known {
    fn metadata_index(&self) -> u64 {
        self.0
    }

    fn find(&self, name: &TopicName) -> Option<(TopicId, u32)> {
        self.1.get(name).copied()
    }

    fn was_deleted(&self, topic: TopicId) -> bool {
        self.1.values().all(|(id, _)| *id != topic)
    }
}

/// The log of a partition.
#[derive(Default)]
struct Log {
    start: u64,
    end: u64,
    batches: Vec<Batch>,
}

struct Batch {
    base_offset: u64,
    /// The offset after it.
    end: u64,
    taken_ms: i64,
    bytes: Bytes,
}

impl Log {
    fn replica(&self, node: NodeId, role: ReplicaRole, log_end_offset: u64) -> ReplicaInfo {
        ReplicaInfo {
            id: ReplicaId(node.0),
            node,
            role,
            log_start_offset: self.start,
            log_end_offset,
            log_bytes: self.batches.iter().map(|batch| batch.bytes.len() as u64).sum(),
            detail: None,
        }
    }
}

#[derive(Clone)]
struct FakeNode {
    state: Arc<Mutex<State>>,
    nodes: Vec<NodeInfo>,
    this: NodeId,
}

impl FakeNode {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a partition's log.
    fn with_log<T>(&self, topic: TopicId, partition: u32, act: impl FnOnce(&mut Log) -> T) -> Outcome<T> {
        self.state().logs.get_mut(&(topic, partition)).map(act).ok_or_else(unknown)
    }

    /// As if a replica were on its way from now until the next look.
    fn begin_tasks(&self) {
        let Ok(name) = "orders".parse() else { return };
        let (to, from) = (Some(self.this), Some(NodeId(2)));
        let (state, bytes_done, bytes_total) = (MoveState::CatchingUp, 1 << 20, 4 << 20);
        let row = MoveInfo { topic: TopicId(1), name, partition: 0, state, to, from, bytes_done, bytes_total };
        self.state().tasks = TasksResponse { moves: vec![row], evening: true, ..TasksResponse::default() };
    }

    /// The nodes as they are now.
    fn listed(&self, state: &State) -> Vec<NodeInfo> {
        let listed = |node: &NodeInfo| NodeInfo { drained: state.drained.contains(&node.id), ..node.clone() };
        self.nodes.iter().filter(|node| !state.removed.contains(&node.id)).map(listed).collect()
    }

    /// The topic as it is now. With `FAKE_NODE_LAGGARD` set to a number, node 2 claims to hold a replica of each
    /// partition that ends there.
    fn described(&self, state: &State, topic: &TopicInfo) -> TopicInfo {
        let mut topic = topic.clone();
        let laggard = std::env::var("FAKE_NODE_LAGGARD").ok().and_then(|end| end.parse().ok());
        for partition in &mut topic.partitions {
            let Some(log) = state.logs.get(&(topic.id, partition.index)) else { continue };
            partition.high_watermark = log.end;
            partition.replicas = vec![log.replica(self.this, ReplicaRole::Leader, log.end)];
            partition.replicas.extend(laggard.map(|end| log.replica(NodeId(2), ReplicaRole::Learner, end)));
        }
        topic
    }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn unknown() -> ApiError {
    ApiError::new(ErrorCode::UnknownTopic, "there is no such topic")
}

impl QuorateApi for FakeNode {
    async fn consumer_groups_topic(self, context: Context) -> Outcome<TopicId> {
        let name = TopicName::consumer_groups();
        if let Some(topic) = self.state().topics.get(&name) {
            return Ok(topic.id);
        }
        let config = TopicConfig { partitions: COORDINATOR_GROUPS, ..TopicConfig::default() };
        Ok(self.create_topic(context, CreateTopicRequest { name, config }).await?.id)
    }

    async fn coordinate(self, _: Context, request: CoordinatorRequest) -> Outcome<GroupResponse> {
        let CoordinatorRequest { coordinator, request } = request;
        // It has all groups, and the first coordinator lists them.
        if request == GroupRequest::List && coordinator.index > 0 {
            return Ok(GroupResponse::Groups(Vec::new()));
        }
        if let GroupRequest::Heartbeat(heartbeat) = &request
            && heartbeat.epoch > 0
        {
            tokio::time::sleep(heartbeat.max_wait.min(Duration::from_millis(50))).await;
        }
        let mut state = self.state();
        let topics = state.topics.iter().map(|(name, topic)| (name.clone(), (topic.id, topic.config.partitions)));
        let known = Known(state.ids, topics.collect());
        Ok(state.groups.handle(&request, &known, now_ms())?)
    }

    async fn cluster_info(self, _: Context) -> Outcome<ClusterInfo> {
        let state = self.state();
        Ok(ClusterInfo {
            cluster_id: ClusterId(7),
            answered_by: self.this,
            metadata_leader: Some(self.this),
            metadata_index: 1,
            nodes: self.listed(&state),
            topic_count: state.topics.len() as u32,
            partition_count: state.logs.len() as u32,
            leaderless_partition_count: 0,
            under_replicated_partition_count: 0,
            metadata_level: 1,
            metadata_recoveries: Vec::new(),
        })
    }

    async fn topics(self, _: Context, request: TopicsRequest) -> Outcome<TopicsResponse> {
        let wanted = |topic: &&TopicInfo| match &request.selector {
            TopicSelector::All => true,
            TopicSelector::Name(name) => topic.name == *name,
            TopicSelector::Id(id) => topic.id == *id,
        };
        let state = self.state();
        let topics = state.topics.values().filter(wanted).map(|topic| self.described(&state, topic)).collect();
        Ok(TopicsResponse { metadata_index: 1, nodes: self.listed(&state), topics })
    }

    async fn create_topic(self, _: Context, request: CreateTopicRequest) -> Outcome<TopicInfo> {
        let mut state = self.state();
        if state.topics.contains_key(&request.name) {
            return Err(ApiError::new(ErrorCode::TopicExists, "a topic of that name exists"));
        }
        state.ids += 1;
        let id = TopicId(state.ids);
        let replica = Log::default().replica(self.this, ReplicaRole::Leader, 0);
        let partitions = (0..request.config.partitions).map(|index| PartitionInfo {
            index,
            leader: Some(self.this),
            leader_epoch: 1,
            high_watermark: 0,
            replicas: vec![replica.clone()],
        });
        let info = TopicInfo {
            id,
            name: request.name.clone(),
            created_at: 1,
            recoveries: Vec::new(),
            partitions: partitions.collect(),
            config: request.config,
        };
        state.logs.extend((0..info.config.partitions).map(|partition| ((id, partition), Log::default())));
        state.topics.insert(request.name, info.clone());
        Ok(info)
    }

    async fn delete_topic(self, _: Context, request: DeleteTopicRequest) -> Outcome<u64> {
        let mut state = self.state();
        let topic = state.topics.remove(&request.name).filter(|topic| topic.id == request.id).ok_or_else(unknown)?;
        state.logs.retain(|(id, _), _| *id != topic.id);
        Ok(2)
    }

    async fn rebalance(self, _: Context) -> Outcome<u64> {
        self.begin_tasks();
        Ok(3)
    }

    async fn add_node(self, _: Context, request: AddNodeRequest) -> Outcome<NodeId> {
        match request.peer_address.port() {
            1 => Err(ApiError::new(ErrorCode::NodeUnreachable, "127.0.0.1:1: connection refused")),
            _ => {
                self.begin_tasks();
                Ok(self.this)
            }
        }
    }

    async fn remove_node(self, _: Context, request: RemoveNodeRequest) -> Outcome<u64> {
        if !self.nodes.iter().any(|node| node.id == request.node) {
            let message = format!("node {} is not registered", request.node);
            return Err(ApiError::new(ErrorCode::UnknownNode, message));
        }
        match request.departure {
            Some(_) => {
                self.begin_tasks();
                self.state().removed.insert(request.node);
            }
            None => _ = self.state().removed.remove(&request.node),
        }
        Ok(4)
    }

    async fn alter_topic(self, _: Context, request: AlterTopicRequest) -> Outcome<u64> {
        let mut state = self.state();
        let topic = state.topics.get_mut(&request.name).filter(|topic| topic.id == request.id).ok_or_else(unknown)?;
        let config = &mut topic.config;
        config.partitions = request.partitions.unwrap_or(config.partitions);
        config.replication_factor = request.replication_factor.unwrap_or(config.replication_factor);
        config.retention_time = request.retention_time.unwrap_or(config.retention_time);
        config.retention_bytes = request.retention_bytes.unwrap_or(config.retention_bytes);
        Ok(5)
    }

    /// Partition 0 of every topic has a majority; of partition 1 node 2 alone is left, of all others nothing.
    async fn outlook(self, _: Context, topic: TopicId) -> Outcome<Vec<OutlookInfo>> {
        let state = self.state();
        let missing = |node| MissingInfo { replica: ReplicaId(node), node: NodeId(node) };
        let survivor = SurvivorInfo {
            replica: ReplicaId(22),
            node: NodeId(2),
            log_end_offset: 1_204,
            high_watermark: 1_200,
            damaged: false,
        };
        let outlook = |partition| OutlookInfo {
            partition,
            has_majority: partition == 0,
            survivors: if partition == 1 { vec![survivor] } else { Vec::new() },
            missing: if partition == 0 { Vec::new() } else { vec![missing(1), missing(3)] },
        };
        let partitions = state.logs.keys().filter(|(of, _)| *of == topic).map(|(_, partition)| *partition);
        let mut outlooks: Vec<OutlookInfo> = partitions.map(outlook).collect();
        outlooks.sort_by_key(|outlook| outlook.partition);
        Ok(outlooks)
    }

    async fn recover_partition(self, _: Context, request: RecoverRequest) -> Outcome<u64> {
        match (request.partition, request.survivor, request.log_end_offset) {
            (1, ReplicaId(22), 1_204) => Ok(6),
            _ => Err(ApiError::new(ErrorCode::InvalidRequest, "look again")),
        }
    }

    async fn cancel_moves(self, _: Context) -> Outcome<u32> {
        Ok(0)
    }

    async fn tasks(self, _: Context, _: u64) -> Outcome<TasksResponse> {
        let mut state = self.state();
        let tasks = state.tasks.clone();
        // What is under way is done by the next look.
        state.tasks = TasksResponse::default();
        Ok(tasks)
    }

    async fn drain(self, _: Context, request: DrainRequest) -> Outcome<u64> {
        if !self.nodes.iter().any(|node| node.id == request.node) {
            let message = format!("node {} is not registered", request.node);
            return Err(ApiError::new(ErrorCode::UnknownNode, message));
        }
        let mut state = self.state();
        match request.drained {
            true => _ = state.drained.insert(request.node),
            false => _ = state.drained.remove(&request.node),
        }
        Ok(3)
    }

    async fn allocate_producer_id(self, _: Context) -> Outcome<ProducerId> {
        let mut state = self.state();
        state.ids += 1;
        Ok(ProducerId(state.ids))
    }

    async fn produce(self, _: Context, request: ProduceRequest) -> Outcome<ProduceResponse> {
        let header = BatchHeader::parse(&request.batch)
            .map_err(|error| ApiError::new(ErrorCode::CorruptBatch, error.to_string()))?;
        let base_offset = self.with_log(request.topic, request.partition, |log| {
            let base_offset = log.end;
            let head = stamp(&request.batch, base_offset.cast_signed(), 1);
            let bytes = Bytes::from([&head[..], &request.batch[UNPROTECTED_SIZE..]].concat());
            log.end += u64::from(header.record_count.cast_unsigned());
            log.batches.push(Batch { base_offset, end: log.end, taken_ms: now_ms(), bytes });
            base_offset
        })?;
        Ok(ProduceResponse { base_offset, leader_epoch: 1, duplicate: false })
    }

    async fn fetch(self, _: Context, request: FetchRequest) -> Outcome<FetchResponse> {
        if request.serve_from == ServeFrom::AnyReplica {
            println!("asked as any replica");
        }
        let high_watermark = self.with_log(request.topic, request.partition, |log| log.end)?;
        if high_watermark <= request.offset {
            tokio::time::sleep(request.max_wait.min(Duration::from_millis(50))).await;
        }
        self.with_log(request.topic, request.partition, |log| {
            if request.offset < log.start {
                return Err(ApiError::new(ErrorCode::OffsetOutOfRange, "before the log start"));
            }
            let mut batches = Vec::new();
            for batch in log.batches.iter().filter(|batch| batch.end > request.offset) {
                if !batches.is_empty() && batches.len() + batch.bytes.len() > request.max_bytes as usize {
                    break;
                }
                batches.extend_from_slice(&batch.bytes);
            }
            Ok(FetchResponse {
                batches: Bytes::from(batches).into(),
                high_watermark: log.end,
                log_start_offset: log.start,
            })
        })?
    }

    async fn offsets(self, _: Context, request: OffsetsRequest) -> Outcome<OffsetsResponse> {
        let offset = self.with_log(request.topic, request.partition, |log| match request.query {
            OffsetQuery::First => log.start,
            OffsetQuery::Last => log.end,
            OffsetQuery::AtTime { ms } => {
                let batch = log.batches.iter().find(|batch| batch.taken_ms >= ms);
                batch.map_or(log.end, |batch| batch.base_offset.max(log.start))
            }
        })?;
        Ok(OffsetsResponse { offset })
    }

    async fn trim(self, _: Context, request: TrimRequest) -> Outcome<TrimResponse> {
        self.with_log(request.topic, request.partition, |log| {
            if request.before > log.end {
                return Err(ApiError::new(ErrorCode::OffsetOutOfRange, "beyond the end"));
            }
            log.start = log.start.max(request.before);
            log.batches.retain(|batch| batch.end > log.start);
            Ok(TrimResponse { log_start_offset: log.start })
        })?
    }
}

fn flag(name: &str) -> Result<String, String> {
    std::env::args().skip_while(|argument| argument != name).nth(1).ok_or_else(|| format!("{name} is missing"))
}

/// The node whose peers reach it there, by the arrangement of `quorate local`.
fn node(id: u64, peer_address: Address) -> Result<NodeInfo, String> {
    let client_address = format!("{}:{}", peer_address.host(), peer_address.port() - 100);
    Ok(NodeInfo {
        id: NodeId(id),
        client_address: client_address.parse().map_err(|error| format!("{error}"))?,
        peer_address,
        state: NodeState::Up,
        rack: None,
        drained: false,
        leaving: None,
        metadata_voter: true,
        replica_count: 0,
        leader_count: 0,
        failed_replica_count: 0,
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os("FAKE_NODE_FAILS").is_some() {
        return Err("the disk is on fire".into());
    }
    let peers = Address::parse_list(&flag("--seeds")?)?;
    let nodes = (1..).zip(peers).map(|(id, peer)| node(id, peer)).collect::<Result<Vec<_>, _>>()?;
    let listen: Address = flag("--listen")?.parse()?;
    let this = nodes.iter().find(|node| node.client_address == listen).map(|node| node.id).ok_or("not a seed")?;
    let listener = tokio::net::TcpListener::bind((listen.host(), listen.port())).await?;
    println!("listening on {listen}, data in {}", flag("--data-dir")?);
    let fake = FakeNode { state: Arc::default(), nodes, this };
    loop {
        let (mut stream, _) = listener.accept().await?;
        let fake = fake.clone();
        tokio::spawn(async move {
            if quorate_protocol::accept_client(&mut stream, true, Duration::from_secs(5)).await.is_ok() {
                let transport = quorate_protocol::MessageTransport::new(stream, 16 << 20);
                let answers = BaseChannel::with_defaults(transport).execute(fake.serve());
                answers.for_each(|answer| async { drop(tokio::spawn(answer)) }).await;
            }
        });
    }
}
