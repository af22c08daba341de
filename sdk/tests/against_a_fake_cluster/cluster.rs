//! Nodes on loopback sockets that share one state.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::StreamExt;
use quorate::{
    Address, Client, ClusterInfo, ErrorCode, NodeId, NodeInfo, NodeState, OffsetQuery, PartitionInfo, ProducerId,
    ReplicaId, ReplicaInfo, ReplicaRole, ServeFrom, TopicConfig, TopicId, TopicInfo, TopicName,
};
use quorate_protocol::{
    AddNodeRequest, AlterTopicRequest, ApiError, CoordinatorRequest, CreateTopicRequest, DeleteTopicRequest,
    DrainRequest, FetchRequest, FetchResponse, GroupResponse, MessageTransport, OffsetsRequest, OffsetsResponse,
    OutlookInfo, ProduceRequest, ProduceResponse, QuorateApi, RecoverRequest, RemoveNodeRequest, TasksResponse,
    TopicSelector, TopicsRequest, TopicsResponse, TrimRequest, TrimResponse, accept_client,
};
use tarpc::{
    context::Context,
    server::{BaseChannel, Channel},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

use crate::{
    groups::{self, Groups},
    partition::Partition,
};

/// What all nodes share, and how they misbehave.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) nodes: Vec<Address>,
    pub(crate) topic: Option<TopicInfo>,
    pub(crate) deleted: Vec<TopicId>,
    /// The last change of a topic that was asked for.
    pub(crate) altered: Option<AlterTopicRequest>,
    pub(crate) partitions: Vec<Partition>,
    /// Who leads every partition, as the nodes say and as it is.
    pub(crate) announced_leader: Option<(NodeId, u64)>,
    pub(crate) leader: Option<NodeId>,
    /// Nodes that take no connections and answer nothing.
    pub(crate) down: Vec<NodeId>,
    /// Outcomes of the next appends, before anything is appended.
    pub(crate) refuse_produce: VecDeque<Option<ErrorCode>>,
    /// Outcomes of the next metadata changes, after they took effect.
    pub(crate) lose_answers: u32,
    /// Takes the next appends but closes the connection instead of answering.
    pub(crate) lose_produce_answers: u32,
    /// What a node knows to be committed, where it is less than what is.
    pub(crate) follower_ends: HashMap<NodeId, u64>,
    /// Nodes that serve no fetches.
    pub(crate) fetches_refused: Vec<NodeId>,
    /// The fetches that arrived: where, and from which replica they wanted to be served.
    pub(crate) fetches: Vec<(u64, ServeFrom)>,
    /// The next answers about the first offset say 0, as a leader's would that have not arrived yet.
    pub(crate) stale_first_offsets: u32,
    /// The leader's clock, in ms.
    pub(crate) now_ms: i64,
    /// Fetches return what begins this much before what was asked for.
    pub(crate) fetch_back: u64,
    pub(crate) producer_ids: u64,
    pub(crate) produce_count: usize,
    pub(crate) min_metadata_indexes: Vec<u64>,
    pub(crate) metadata_index: u64,
    pub(crate) groups: Groups,
    /// Looks at topics that are answered as if they did not exist yet.
    pub(crate) looks_behind: u32,
    /// Topics created from now on have no leader at first: looks until they have.
    pub(crate) looks_without_leader: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeCluster {
    state: Arc<Mutex<State>>,
    /// While true, appends are neither taken nor answered.
    stalled: watch::Sender<bool>,
    changed: Arc<Notify>,
}

#[derive(Clone)]
struct Node {
    cluster: FakeCluster,
    id: NodeId,
    hang_up: Arc<Notify>,
}

pub(crate) fn orders() -> TopicName {
    "orders".parse().unwrap()
}

impl FakeCluster {
    /// Nodes 1 to `node_count`, and topic `orders` led by node 1 if it has partitions.
    pub(crate) async fn start(node_count: u64, partitions: u32) -> Self {
        let cluster =
            Self { state: Arc::default(), stalled: watch::Sender::new(false), changed: Arc::new(Notify::new()) };
        for id in 1..=node_count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
            cluster.state().nodes.push(address);
            tokio::spawn(cluster.clone().listen(NodeId(id), listener));
        }
        cluster.lead(1, 1);
        if partitions > 0 {
            cluster.create(TopicConfig { partitions, ..TopicConfig::default() });
        }
        cluster
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes a node the leader and lets everyone know.
    pub(crate) fn lead(&self, node: u64, epoch: u64) {
        let mut state = self.state();
        state.leader = Some(NodeId(node));
        state.announced_leader = Some((NodeId(node), epoch));
        self.changed.notify_waiters();
    }

    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Takes a node down: connections break.
    pub(crate) fn take_down(&self, node: u64) {
        self.state().down.push(NodeId(node));
        self.changed.notify_waiters();
    }

    pub(crate) fn create(&self, config: TopicConfig) -> TopicInfo {
        let mut state = self.state();
        state.metadata_index += 10;
        state.partitions = (0..config.partitions).map(|_| Partition::default()).collect();
        let topic = TopicInfo {
            id: TopicId(state.metadata_index),
            name: orders(),
            created_at: state.metadata_index,
            recoveries: Vec::new(),
            partitions: Vec::new(),
            config,
        };
        state.topic = Some(topic.clone());
        topic
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_of(&[1], Duration::from_secs(5)).await
    }

    pub(crate) async fn client_of(&self, nodes: &[usize], timeout: Duration) -> Client {
        let servers = nodes.iter().map(|node| self.state().nodes[node - 1].clone()).collect();
        Client::builder().servers(servers).timeout(timeout).connect().await.unwrap()
    }

    async fn listen(self, id: NodeId, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(self.clone().serve(id, stream));
        }
    }

    async fn serve(self, id: NodeId, mut stream: TcpStream) {
        if self.state().down.contains(&id) || accept_client(&mut stream, true, Duration::from_secs(5)).await.is_err() {
            return;
        }
        let hang_up = Arc::new(Notify::new());
        let node = Node { cluster: self.clone(), id, hang_up: Arc::clone(&hang_up) };
        // Handlers run in the order of their requests: they are spawned in it, and tests have one thread.
        let requests = BaseChannel::with_defaults(MessageTransport::new(stream, 16 << 20))
            .execute(node.serve())
            .for_each(|handler| async move { drop(tokio::spawn(handler)) });
        let down = async {
            loop {
                let changed = self.changed.notified();
                if self.state().down.contains(&id) {
                    break;
                }
                changed.await;
            }
        };
        tokio::select! {
            () = requests => {}
            () = hang_up.notified() => {}
            () = down => {}
        }
    }
}

fn replica(node: NodeId) -> ReplicaInfo {
    let role = ReplicaRole::Unknown;
    ReplicaInfo {
        id: ReplicaId(node.0),
        node,
        role,
        log_start_offset: 0,
        log_end_offset: 0,
        log_bytes: 0,
        detail: None,
    }
}

impl State {
    fn topic_info(&self) -> Option<TopicInfo> {
        self.topic.clone().map(|topic| self.with_leaders(topic))
    }

    fn with_leaders(&self, mut topic: TopicInfo) -> TopicInfo {
        let leader = self.announced_leader.filter(|_| self.looks_without_leader == 0);
        topic.partitions = (0..topic.config.partitions)
            .map(|index| PartitionInfo {
                index,
                leader: leader.map(|(node, _)| node),
                leader_epoch: leader.map_or(0, |(_, epoch)| epoch),
                high_watermark: 0,
                replicas: (1..=self.nodes.len() as u64).map(|node| replica(NodeId(node))).collect(),
            })
            .collect();
        topic
    }

    fn node_infos(&self) -> Vec<NodeInfo> {
        let node = |(index, address): (usize, &Address)| NodeInfo {
            id: NodeId(index as u64 + 1),
            client_address: address.clone(),
            peer_address: address.clone(),
            state: NodeState::Up,
            rack: None,
            drained: false,
            leaving: None,
            metadata_voter: true,
            replica_count: 0,
            leader_count: 0,
            failed_replica_count: 0,
        };
        self.nodes.iter().enumerate().map(node).collect()
    }

    /// The partition, if the node leads it.
    fn led_by(&mut self, node: NodeId, topic: TopicId, partition: u32) -> Result<&mut Partition, ApiError> {
        if self.deleted.contains(&topic) {
            return Err(ApiError::new(ErrorCode::TopicDeleted, "the topic was deleted"));
        }
        if self.leader != Some(node) {
            return Err(ApiError::not_leader(format!("node {node} does not lead"), self.leader));
        }
        self.partitions
            .get_mut(partition as usize)
            .ok_or_else(|| ApiError::new(ErrorCode::UnknownPartition, "no such partition"))
    }
}

impl Node {
    /// Closes the connection; never returns.
    async fn hang_up<T>(&self) -> T {
        self.hang_up.notify_one();
        std::future::pending().await
    }

    async fn lose_answer(&self) {
        let lose = {
            let mut state = self.cluster.state();
            let lose = state.lose_answers > 0;
            state.lose_answers = state.lose_answers.saturating_sub(1);
            lose
        };
        if lose {
            self.hang_up().await
        }
    }
}

impl QuorateApi for Node {
    async fn consumer_groups_topic(self, _: Context) -> Result<TopicId, ApiError> {
        Ok(groups::TOPIC)
    }

    async fn coordinate(self, _: Context, request: CoordinatorRequest) -> Result<GroupResponse, ApiError> {
        groups::coordinate(&self.cluster, self.id, request).await
    }

    async fn cluster_info(self, _: Context) -> Result<ClusterInfo, ApiError> {
        let state = self.cluster.state();
        Ok(ClusterInfo {
            cluster_id: quorate::ClusterId(1),
            answered_by: self.id,
            metadata_leader: Some(NodeId(1)),
            metadata_index: state.metadata_index,
            nodes: state.node_infos(),
            topic_count: 1,
            partition_count: state.partitions.len() as u32,
            leaderless_partition_count: 0,
            under_replicated_partition_count: 0,
            metadata_level: 1,
            metadata_recoveries: Vec::new(),
        })
    }

    async fn topics(self, _: Context, request: TopicsRequest) -> Result<TopicsResponse, ApiError> {
        let mut state = self.cluster.state();
        state.min_metadata_indexes.push(request.min_metadata_index);
        if request.selector == TopicSelector::Id(groups::TOPIC) {
            let topic = state.with_leaders(groups::topic());
            let (metadata_index, nodes) = (state.metadata_index, state.node_infos());
            return Ok(TopicsResponse { metadata_index, nodes, topics: vec![topic] });
        }
        let behind = std::mem::replace(&mut state.looks_behind, 0);
        state.looks_behind = behind.saturating_sub(1);
        let topic = state.topic_info().filter(|_| behind == 0);
        state.looks_without_leader = state.looks_without_leader.saturating_sub(1);
        let found = match &request.selector {
            TopicSelector::All => topic,
            TopicSelector::Name(name) => topic.filter(|topic| topic.name == *name),
            TopicSelector::Id(id) if state.deleted.contains(id) => {
                return Err(ApiError::new(ErrorCode::TopicDeleted, "the topic was deleted"));
            }
            TopicSelector::Id(id) => topic.filter(|topic| topic.id == *id),
        };
        if found.is_none() && request.selector != TopicSelector::All {
            return Err(ApiError::new(ErrorCode::UnknownTopic, "there is no such topic"));
        }
        Ok(TopicsResponse {
            metadata_index: state.metadata_index,
            nodes: state.node_infos(),
            topics: found.into_iter().collect(),
        })
    }

    async fn create_topic(self, _: Context, request: CreateTopicRequest) -> Result<TopicInfo, ApiError> {
        if self.cluster.state().topic.is_some() {
            return Err(ApiError::new(ErrorCode::TopicExists, "topic orders exists"));
        }
        let topic = self.cluster.create(request.config);
        self.lose_answer().await;
        Ok(topic)
    }

    async fn delete_topic(self, _: Context, _: DeleteTopicRequest) -> Result<u64, ApiError> {
        let index = {
            let mut state = self.cluster.state();
            let Some(topic) = state.topic.take() else {
                return Err(ApiError::new(ErrorCode::UnknownTopic, "there is no such topic"));
            };
            state.deleted.push(topic.id);
            state.metadata_index += 1;
            state.metadata_index
        };
        self.lose_answer().await;
        Ok(index)
    }

    async fn allocate_producer_id(self, _: Context) -> Result<ProducerId, ApiError> {
        let mut state = self.cluster.state();
        state.producer_ids += 1;
        Ok(ProducerId(state.producer_ids))
    }

    async fn produce(self, _: Context, request: ProduceRequest) -> Result<ProduceResponse, ApiError> {
        let mut stalled = self.cluster.stalled.subscribe();
        stalled.wait_for(|stalled| !stalled).await.unwrap();
        let (appended, lose_answer) = {
            let mut state = self.cluster.state();
            state.produce_count += 1;
            let now_ms = state.now_ms;
            state.led_by(self.id, request.topic, request.partition)?;
            if let Some(code) = state.refuse_produce.pop_front().flatten() {
                return Err(ApiError::new(code, "as the test wants it"));
            }
            let partition = state.led_by(self.id, request.topic, request.partition)?;
            let appended = partition
                .append(&request.batch, request.expected_end_offset, now_ms)
                .map_err(|code| ApiError::new(code, "by the rules of the log"))?;
            let lose_answer = state.lose_produce_answers > 0;
            state.lose_produce_answers = state.lose_produce_answers.saturating_sub(1);
            (appended, lose_answer)
        };
        self.cluster.changed.notify_waiters();
        if lose_answer {
            self.hang_up::<()>().await;
        }
        Ok(ProduceResponse { base_offset: appended.base_offset, leader_epoch: 1, duplicate: appended.duplicate })
    }

    async fn fetch(self, _: Context, request: FetchRequest) -> Result<FetchResponse, ApiError> {
        let deadline = tokio::time::Instant::now() + request.max_wait;
        self.cluster.state().fetches.push((self.id.0, request.serve_from));
        loop {
            let changed = self.cluster.changed.notified();
            let response = {
                let mut state = self.cluster.state();
                if state.fetches_refused.contains(&self.id) {
                    return Err(ApiError::new(ErrorCode::NotReady, "this replica catches up"));
                }
                let (back, known) = (state.fetch_back, state.follower_ends.get(&self.id).copied());
                let any = request.serve_from == ServeFrom::AnyReplica;
                let leader = if any { state.leader.unwrap_or_default() } else { self.id };
                let partition = state.led_by(leader, request.topic, request.partition)?;
                let end = known.unwrap_or(u64::MAX).min(partition.end_offset());
                if request.offset < partition.log_start || (!any && request.offset > end) {
                    return Err(ApiError::new(ErrorCode::OffsetOutOfRange, "not in this log"));
                }
                let batches = partition.read(request.offset.saturating_sub(back), end, request.max_bytes as usize);
                FetchResponse { batches: batches.into(), high_watermark: end, log_start_offset: partition.log_start }
            };
            if !response.batches.is_empty() || tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Ok(response);
            }
        }
    }

    async fn offsets(self, _: Context, request: OffsetsRequest) -> Result<OffsetsResponse, ApiError> {
        let mut state = self.cluster.state();
        let stale_first = request.query == OffsetQuery::First && state.stale_first_offsets > 0;
        state.stale_first_offsets -= u32::from(stale_first);
        let partition = state.led_by(self.id, request.topic, request.partition)?;
        let offset = match request.query {
            OffsetQuery::First if stale_first => 0,
            OffsetQuery::First => partition.log_start,
            OffsetQuery::Last => partition.end_offset(),
            OffsetQuery::AtTime { ms } => partition.offset_at(ms),
        };
        Ok(OffsetsResponse { offset })
    }

    async fn rebalance(self, _: Context) -> Result<u64, ApiError> {
        Ok(3)
    }

    async fn cancel_moves(self, _: Context) -> Result<u32, ApiError> {
        Ok(0)
    }

    async fn tasks(self, _: Context, _: u64) -> Result<TasksResponse, ApiError> {
        Ok(TasksResponse::default())
    }

    async fn drain(self, _: Context, request: DrainRequest) -> Result<u64, ApiError> {
        if request.node.0 == 0 || request.node.0 > self.cluster.state().nodes.len() as u64 {
            return Err(ApiError::new(ErrorCode::UnknownNode, "no such node"));
        }
        self.lose_answer().await;
        Ok(4)
    }

    async fn add_node(self, _: Context, request: AddNodeRequest) -> Result<NodeId, ApiError> {
        let count = self.cluster.state().nodes.len() as u64;
        match request.peer_address.port() {
            1 => Err(ApiError::new(ErrorCode::NodeUnreachable, "nothing listens there")),
            _ => Ok(NodeId(count + 1)),
        }
    }

    async fn remove_node(self, _: Context, request: RemoveNodeRequest) -> Result<u64, ApiError> {
        if request.node.0 > self.cluster.state().nodes.len() as u64 {
            return Err(ApiError::new(ErrorCode::NodeRemoved, "it was removed before"));
        }
        self.lose_answer().await;
        Ok(5)
    }

    async fn alter_topic(self, _: Context, request: AlterTopicRequest) -> Result<u64, ApiError> {
        self.cluster.state().altered = Some(request);
        self.lose_answer().await;
        Ok(6)
    }

    async fn outlook(self, _: Context, _: TopicId) -> Result<Vec<OutlookInfo>, ApiError> {
        Ok(Vec::new())
    }

    async fn recover_partition(self, _: Context, _: RecoverRequest) -> Result<u64, ApiError> {
        Ok(7)
    }

    async fn trim(self, _: Context, request: TrimRequest) -> Result<TrimResponse, ApiError> {
        let log_start_offset = {
            let mut state = self.cluster.state();
            let partition = state.led_by(self.id, request.topic, request.partition)?;
            if request.before > partition.end_offset() {
                return Err(ApiError::new(ErrorCode::OffsetOutOfRange, "beyond the end"));
            }
            partition.trim(request.before);
            partition.log_start
        };
        self.lose_answer().await;
        Ok(TrimResponse { log_start_offset })
    }
}
