//! Three nodes with a replica of one partition and one of the metadata group each.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_cluster_config::{ClusterId, GroupId, NodeId, PartitionId, RaftConfig, ReplicaId, TopicId};
use quorate_faulty_vfs::{Disk, PowerCut};
use quorate_log_engine::{EngineOptions, Log, LogEngine, LogOptions, RecoveredEntry, Recovery, ScrubOptions};
use quorate_raft::{
    AppendTicket, CatchUp, ColdReads, DiskSpace, Elections, Environment, GroupOpenError, LEVELS, MemoryStore, Mended,
    MetadataGroup, PartitionGroup, ReplicaPhase, ReplicaRecord, ReplicaRecords, Role, SystemClock,
};
use quorate_record::{BatchBuilder, BatchHeader, Compression, DecodeLimits, ProducerStamp, Record, decode_batch};
use tokio::runtime::Runtime;

use super::net::{Net, Port, Replica};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const CLUSTER: ClusterId = ClusterId(0x0102_0304);
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
pub(crate) const PARTITION: GroupId = GroupId::Partition(PartitionId { topic: TopicId(1), index: 0 });

/// What a test may choose. What it changes later holds for nodes that start after that.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) segment_bytes: u64,
    pub(crate) scrub: Option<ScrubOptions>,
    /// The node that stands for leader long before any other.
    pub(crate) eager: Option<NodeId>,
    /// What has the partition elect leaders.
    pub(crate) elections: Elections,
}

impl Default for Setup {
    fn default() -> Self {
        Self { segment_bytes: 1 << 20, scrub: None, eager: None, elections: Elections::Timers }
    }
}

struct Node {
    disk: Disk,
    space: DiskSpace,
    store: Arc<MemoryStore>,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    partition: Arc<PartitionGroup>,
    metadata: Arc<MetadataGroup>,
}

/// The cluster of a test.
pub(crate) struct TestCluster {
    pub(crate) setup: Setup,
    pub(crate) net: Arc<Net>,
    /// Of those who only look at logs.
    onlooker: Arc<LogEngine>,
    nodes: BTreeMap<NodeId, Node>,
    /// What every log id ever named, on any node: it names one entry for ever.
    entries: BTreeMap<(u64, u64), String>,
}

/// The replica of a node in a group.
pub(crate) fn replica_of(group: GroupId, node: NodeId) -> ReplicaId {
    ReplicaId(node.0 + if group == GroupId::Metadata { 0 } else { 10 })
}

/// All entries of a log as it is opened: (index, term) and what it holds.
struct Entries(BTreeMap<(u64, u64), String>);

impl Recovery for Entries {
    /// What is before was trimmed away.
    fn restore(&mut self, _: u64, _: Bytes) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, entry: RecoveredEntry<'_>) -> Result<(), String> {
        let content = entry.batch.map_or_else(|| format!("{:?}", entry.payload), |batch| batch.crc.to_string());
        let (id, content) = ((entry.header.index, entry.header.term), format!("{:?} {content}", entry.header.kind));
        assert_eq!(self.0.insert(id, content), None, "an entry twice in one log");
        Ok(())
    }
}

fn record_of(group: GroupId, node: NodeId, segment_bytes: u64) -> ReplicaRecord {
    ReplicaRecord {
        replica: replica_of(group, node),
        log: replica_of(group, node),
        group,
        phase: ReplicaPhase::Creating,
        first_members: NODES.iter().map(|node| (replica_of(group, *node), *node)).collect(),
        segment_bytes,
    }
}

impl TestCluster {
    /// Starts three nodes.
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub(crate) async fn start_with(setup: Setup) -> Self {
        let node =
            |_| Node { disk: Disk::default(), space: DiskSpace::new(1000), store: Arc::default(), running: None };
        let nodes = NODES.iter().map(|id| (*id, node(id))).collect();
        let onlooker = LogEngine::start(EngineOptions { tail_cache_bytes: 0, ..EngineOptions::default() }).unwrap();
        let mut cluster = Self { setup, net: Arc::default(), onlooker, nodes, entries: BTreeMap::new() };
        for id in NODES {
            cluster.restart(id).await.unwrap();
        }
        for id in NODES {
            let members = |group| record_of(group, id, 0).first_members;
            cluster.partition(id).group().initialize(&members(PARTITION)).await.unwrap();
            cluster.metadata(id).group().initialize(&members(GroupId::Metadata)).await.unwrap();
        }
        cluster
    }

    pub(crate) fn all(&self) -> Vec<NodeId> {
        NODES.to_vec()
    }

    /// A fourth node, with a replica that belongs to no membership yet.
    pub(crate) async fn join(&mut self) -> NodeId {
        let id = NodeId(4);
        let node = Node { disk: Disk::default(), space: DiskSpace::new(1000), store: Arc::default(), running: None };
        self.nodes.insert(id, node);
        self.restart(id).await.unwrap();
        id
    }

    /// The first log index that a replica's log still holds.
    pub(crate) fn first_on_disk(&self, id: NodeId) -> u64 {
        self.log(PARTITION, id).keys().next().map_or(0, |(index, _)| *index)
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.running.is_some()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn space(&self, id: NodeId) -> &DiskSpace {
        &self.nodes[&id].space
    }

    pub(crate) fn disk(&self, id: NodeId) -> &Disk {
        &self.nodes[&id].disk
    }

    /// The files of a replica's log.
    pub(crate) fn files(&self, group: GroupId, id: NodeId) -> Vec<PathBuf> {
        let directory = PathBuf::from(format!("/data/replica-{}", replica_of(group, id)));
        self.disk(id).paths().into_iter().filter(|path| path.starts_with(&directory)).collect()
    }

    pub(crate) fn store(&self, id: NodeId) -> &Arc<MemoryStore> {
        &self.nodes[&id].store
    }

    pub(crate) fn partition(&self, id: NodeId) -> Arc<PartitionGroup> {
        self.nodes[&id].running.as_ref().unwrap().partition.clone()
    }

    /// Mends what is known to be damaged in a node's replica of the partition, as its node does by itself.
    pub(crate) async fn mend(&self, id: NodeId) -> Mended {
        let running = self.nodes[&id].running.as_ref().unwrap();
        let (partition, runtime) = (running.partition.clone(), running.runtime.handle().clone());
        let mend = move || partition.group().mend(&tokio::runtime::Handle::current(), &mut |_| ());
        runtime.spawn_blocking(mend).await.unwrap()
    }

    pub(crate) fn metadata(&self, id: NodeId) -> Arc<MetadataGroup> {
        self.nodes[&id].running.as_ref().unwrap().metadata.clone()
    }

    /// The node loses power.
    pub(crate) fn crash(&mut self, id: NodeId) {
        self.inspect();
        let node = self.nodes.get_mut(&id).unwrap();
        let running = node.running.take().unwrap();
        self.net.detach(id);
        node.store.crash();
        node.disk.power_cut(PowerCut::LoseAll);
        node.disk.open_gates();
        running.runtime.shutdown_background();
    }

    /// Stops a node's replicas and starts them again, as its node does without being restarted.
    pub(crate) async fn revive(&mut self, id: NodeId) {
        let running = self.nodes.get_mut(&id).unwrap().running.take().unwrap();
        self.net.detach(id);
        let Running { runtime, partition, metadata } = running;
        let stop = async move {
            partition.group().shutdown().await;
            metadata.group().shutdown().await;
        };
        runtime.spawn(stop).await.unwrap();
        self.restart(id).await.unwrap();
        runtime.shutdown_background();
    }

    /// The node starts on what its disk and store kept.
    pub(crate) async fn restart(&mut self, id: NodeId) -> Result<(), GroupOpenError> {
        let environment = self.environment(id);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let records = ReplicaRecords::new(environment.store.clone());
        let record = |group| {
            let known = records.get(replica_of(group, id)).unwrap();
            known.unwrap_or_else(|| record_of(group, id, self.setup.segment_bytes))
        };
        let (partition, metadata) = (record(PARTITION), record(GroupId::Metadata));
        let open = async move {
            let partition = PartitionGroup::open(&environment, &partition).await?;
            let metadata = MetadataGroup::open(&environment, &metadata).await?;
            Ok((Arc::new(partition), Arc::new(metadata)))
        };
        let (partition, metadata) = match runtime.spawn(open).await.unwrap() {
            Ok(opened) => opened,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let attach = |group, replica| {
            self.net.attach(id, replica_of(group, id), runtime.handle().clone(), replica);
        };
        attach(PARTITION, Replica::Partition(partition.clone()));
        attach(GroupId::Metadata, Replica::Metadata(metadata.clone()));
        self.nodes.get_mut(&id).unwrap().running = Some(Running { runtime, partition, metadata });
        Ok(())
    }

    /// What a node lends to its groups. It is another process: what ran on the node's disk before is dead.
    pub(crate) fn environment(&self, id: NodeId) -> Environment {
        let node = &self.nodes[&id];
        let engine = EngineOptions {
            writer_threads: 1,
            tail_cache_bytes: 1 << 20,
            scrub: self.setup.scrub,
            ..EngineOptions::default()
        };
        let patience = if self.setup.eager.is_none_or(|eager| eager == id) { 1 } else { 3 };
        Environment {
            cluster: CLUSTER,
            directory: "/data".into(),
            vfs: node.disk.vfs(),
            store: node.store.mount(),
            engine: LogEngine::start(engine).unwrap(),
            cold_reads: ColdReads::default(),
            catch_up: CatchUp::new(0),
            space: node.space.clone(),
            transport: Arc::new(Port { net: self.net.clone(), node: id }),
            clock: Arc::new(SystemClock),
            raft: RaftConfig {
                heartbeat_interval: Duration::from_millis(60),
                election_timeout_min: Duration::from_millis(300) * patience,
                election_timeout_max: Duration::from_millis(600) * patience,
                ..RaftConfig::default()
            },
            elections: self.setup.elections,
            levels: LEVELS,
        }
    }

    /// Waits until one of these nodes leads the group and has committed in its term; returns it.
    pub(crate) async fn leader(&self, group: GroupId, among: &[NodeId]) -> NodeId {
        let status = |id: &NodeId| match group {
            GroupId::Metadata => self.metadata(*id).group().status(),
            _ => self.partition(*id).group().status(),
        };
        loop {
            let leader = eventually("a leader", async || {
                among.iter().copied().find(|id| {
                    let known = status(id);
                    let agreed = among.iter().map(status).all(|other| other.leader == known.leader);
                    known.role == Role::Leader && agreed
                })
            })
            .await;
            let prove = async {
                match group {
                    GroupId::Metadata => self.metadata(leader).group().linearize().await,
                    _ => self.partition(leader).group().linearize().await,
                }
            };
            let proven = tokio::time::timeout(PATIENCE, prove).await;
            let proven = proven.unwrap_or_else(|_| panic!("a leader that commits nothing\n{}", self.describe()));
            if proven.is_ok() {
                return leader;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Every entry in the log of a node as a reader would find it now, synced or not.
    pub(crate) fn log(&self, group: GroupId, id: NodeId) -> BTreeMap<(u64, u64), String> {
        let replica = replica_of(group, id);
        let options = LogOptions {
            replica: replica.0,
            owner: CLUSTER.0,
            segment_bytes: self.setup.segment_bytes,
            payload_bytes_max: 16 << 20,
            must_exist: true,
            // Without it no checkpoint is used.
            settled_through: None,
        };
        let mut entries = Entries(BTreeMap::new());
        let directory = format!("/data/replica-{replica}");
        let vfs = self.disk(id).fork().vfs();
        Log::open(&self.onlooker, vfs, Path::new(&directory), &options, &mut entries).unwrap();
        entries.0
    }

    /// The tick of once a second of a node's replicas, and a flush of its store.
    pub(crate) fn mark(&self, id: NodeId) {
        self.partition(id).tick().unwrap();
        self.metadata(id).tick().unwrap();
        self.store(id).flush();
    }

    /// Looks at all logs and asserts that no log id has ever named two entries.
    pub(crate) fn inspect(&mut self) {
        for id in self.running() {
            for (log_id, entry) in self.log(PARTITION, id) {
                let known = self.entries.entry(log_id).or_insert_with(|| entry.clone());
                assert_eq!(*known, entry, "log id {log_id:?} names two entries");
            }
        }
    }

    /// Waits until all running replicas of the partition hold the same log on stable storage and have applied it.
    pub(crate) async fn settle(&mut self) {
        let running = self.running();
        eventually("equal logs", async || {
            let state = |id: &NodeId| (self.partition(*id).high_watermark(), self.log(PARTITION, *id));
            let states: Vec<_> = running.iter().map(state).collect();
            let durable = running.iter().all(|id| self.partition(*id).log_end_offset() == states[0].0);
            // What one has given up the others may still hold.
            let first = states.iter().filter_map(|(_, log)| log.keys().next().copied()).max().unwrap_or_default();
            let kept = |(end, log): &(u64, BTreeMap<(u64, u64), String>)| (*end, log.clone().split_off(&first));
            (durable && states.iter().all(|other| kept(other) == kept(&states[0]))).then_some(())
        })
        .await;
        self.inspect();
    }

    /// What each running replica of the partition thinks, for a test that fails.
    pub(crate) fn describe(&self) -> String {
        let one = |id: NodeId| {
            let partition = self.partition(id);
            let (status, high_watermark) = (partition.group().status(), partition.high_watermark());
            format!("node {id}: {status:?}, high watermark {high_watermark}, log {:?}\n", self.log(PARTITION, id))
        };
        self.running().into_iter().map(one).collect()
    }

    /// Appends a batch of records named after producer and sequence.
    pub(crate) async fn append(
        &self,
        id: NodeId,
        producer_id: i64,
        base_sequence: i32,
        records: i32,
        expected_end_offset: Option<u64>,
    ) -> AppendTicket {
        let batch = batch(producer_id, base_sequence, records);
        let header = BatchHeader::parse(&batch).unwrap();
        self.partition(id).append(batch, &header, expected_end_offset).await
    }

    /// All committed records of the partition as a node serves them: (offset, value).
    pub(crate) async fn read(&self, id: NodeId) -> Vec<(u64, String)> {
        let partition = self.partition(id);
        let mut records = Vec::new();
        loop {
            let start = partition.log_start_offset();
            let offset = records.last().map_or(start, |(last, _)| last + 1);
            let frames = partition.read(offset, 1 << 20).await.unwrap();
            if frames.is_empty() {
                assert_eq!(offset, partition.high_watermark(), "a read ends at the high watermark");
                return records;
            }
            for frame in frames {
                let base = frame.stamp.unwrap().base_offset;
                let limits = DecodeLimits::default();
                for (record, offset) in decode_batch(frame.payload.clone(), &limits).unwrap().zip(base..) {
                    if offset < start {
                        continue;
                    }
                    let value = record.unwrap().record.value.unwrap();
                    records.push((offset, String::from_utf8(value.to_vec()).unwrap()));
                }
            }
            let offsets: Vec<u64> = records.iter().map(|(offset, _)| *offset).collect();
            let expected = start..start + offsets.len() as u64;
            assert_eq!(offsets, expected.collect::<Vec<_>>(), "offsets are dense");
            let values: BTreeSet<_> = records.iter().map(|(_, value)| value).collect();
            assert_eq!(values.len(), records.len(), "no record twice");
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            node.disk.power_cut(PowerCut::LoseAll);
            if let Some(running) = node.running.take() {
                running.runtime.shutdown_background();
            }
        }
    }
}

/// A batch of `records` records.
pub(crate) fn batch(producer_id: i64, base_sequence: i32, records: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for sequence in base_sequence..base_sequence + records {
        builder.push(&Record::new(format!("p{producer_id}-{sequence}"), 1));
    }
    builder.build(ProducerStamp { producer_id, producer_epoch: 0, base_sequence }).unwrap()
}

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
