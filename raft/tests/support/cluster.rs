//! Three nodes with a replica of one partition and one of the metadata group each.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate_cluster_config::{GroupId, NodeId, PartitionId, RaftConfig, ReplicaId, TopicId};
use quorate_log_engine::{Log, LogOptions, LogWriters, TailCache};
use quorate_raft::{
    AppendTicket, Environment, GroupOpenError, MetadataGroup, PartitionGroup, ReplicaPhase, ReplicaRecord,
    ReplicaRecords, Role, SystemClock,
};
use quorate_record::{BatchBuilder, BatchHeader, Compression, DecodeLimits, ProducerStamp, Record, decode_batch};
use tokio::runtime::Runtime;

use super::{
    disk::Disk,
    net::{Net, Port, Replica},
    store::Store,
};

/// How long anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const SEGMENT_BYTES: u64 = 1 << 20;
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
pub(crate) const PARTITION: GroupId = GroupId::Partition(PartitionId { topic: TopicId(1), index: 0 });

struct Node {
    disk: Arc<Disk>,
    store: Arc<Store>,
    running: Option<Running>,
}

struct Running {
    runtime: Runtime,
    partition: Arc<PartitionGroup>,
    metadata: Arc<MetadataGroup>,
}

/// The cluster of a test.
pub(crate) struct TestCluster {
    pub(crate) net: Arc<Net>,
    nodes: BTreeMap<NodeId, Node>,
    /// What every log id ever named, on any node: it names one entry for ever.
    entries: BTreeMap<(u64, u64), String>,
}

/// The replica of a node in a group.
pub(crate) fn replica_of(group: GroupId, node: NodeId) -> ReplicaId {
    ReplicaId(node.0 + if group == GroupId::Metadata { 0 } else { 10 })
}

fn record_of(group: GroupId, node: NodeId) -> ReplicaRecord {
    ReplicaRecord {
        replica: replica_of(group, node),
        group,
        phase: ReplicaPhase::Creating,
        first_members: NODES.iter().map(|node| (replica_of(group, *node), *node)).collect(),
        segment_bytes: SEGMENT_BYTES,
    }
}

impl TestCluster {
    /// Starts three nodes.
    pub(crate) async fn start() -> Self {
        let node = |_| Node { disk: Arc::default(), store: Arc::default(), running: None };
        let nodes = NODES.iter().map(|id| (*id, node(id))).collect();
        let mut cluster = Self { net: Arc::default(), nodes, entries: BTreeMap::new() };
        for id in NODES {
            cluster.restart(id).await.unwrap();
        }
        for id in NODES {
            cluster.partition(id).group().initialize(&record_of(PARTITION, id).first_members).await.unwrap();
            let members = record_of(GroupId::Metadata, id).first_members;
            cluster.metadata(id).group().initialize(&members).await.unwrap();
        }
        cluster
    }

    pub(crate) fn all(&self) -> Vec<NodeId> {
        NODES.to_vec()
    }

    pub(crate) fn running(&self) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, node)| node.running.is_some()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn disk(&self, id: NodeId) -> &Arc<Disk> {
        &self.nodes[&id].disk
    }

    pub(crate) fn store(&self, id: NodeId) -> &Arc<Store> {
        &self.nodes[&id].store
    }

    pub(crate) fn partition(&self, id: NodeId) -> Arc<PartitionGroup> {
        self.nodes[&id].running.as_ref().unwrap().partition.clone()
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
        node.disk.crash();
        running.runtime.shutdown_background();
    }

    /// The node starts on what its disk and store kept.
    pub(crate) async fn restart(&mut self, id: NodeId) -> Result<(), GroupOpenError> {
        let environment = self.environment(id);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let records = ReplicaRecords::new(environment.store.clone());
        let record = |group| {
            let known = records.get(replica_of(group, id)).unwrap();
            known.unwrap_or_else(|| record_of(group, id))
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

    /// What a node lends to its groups.
    pub(crate) fn environment(&self, id: NodeId) -> Environment {
        let node = &self.nodes[&id];
        Environment {
            directory: "/data".into(),
            vfs: node.disk.mount(),
            store: node.store.mount(),
            writers: LogWriters::start(1).unwrap(),
            cache: TailCache::new(1 << 20),
            transport: Arc::new(Port { net: self.net.clone(), node: id }),
            clock: Arc::new(SystemClock),
            raft: RaftConfig {
                heartbeat_interval: Duration::from_millis(60),
                election_timeout_min: Duration::from_millis(300),
                election_timeout_max: Duration::from_millis(600),
            },
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
            let proven = match group {
                GroupId::Metadata => self.metadata(leader).group().linearize().await,
                _ => self.partition(leader).group().linearize().await,
            };
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
            segment_bytes: SEGMENT_BYTES,
            payload_bytes_max: 16 << 20,
            must_exist: true,
            durable_through: None,
        };
        let mut entries = BTreeMap::new();
        let directory = format!("/data/replica-{replica}");
        let (vfs, writers) = (self.disk(id).copy().mount(), LogWriters::start(1).unwrap());
        Log::open(vfs, Path::new(&directory), &options, &writers, &TailCache::new(1 << 20), &mut |entry| {
            let content = entry.batch.map_or_else(|| format!("{:?}", entry.payload), |batch| batch.crc.to_string());
            let entry = ((entry.header.index, entry.header.term), format!("{:?} {content}", entry.header.kind));
            assert_eq!(entries.insert(entry.0, entry.1), None, "an entry twice in one log");
        })
        .unwrap();
        entries
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
            (durable && states.iter().all(|other| *other == states[0])).then_some(())
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
            let offset = records.last().map_or(0, |(last, _)| last + 1);
            let frames = partition.read(offset, 1 << 20).await.unwrap();
            if frames.is_empty() {
                assert_eq!(offset, partition.high_watermark(), "a read ends at the high watermark");
                return records;
            }
            for frame in frames {
                let base = frame.stamp.unwrap().base_offset;
                let limits = DecodeLimits::default();
                for (record, offset) in decode_batch(frame.payload.clone(), &limits).unwrap().zip(base..) {
                    let value = record.unwrap().record.value.unwrap();
                    records.push((offset, String::from_utf8(value.to_vec()).unwrap()));
                }
            }
            let offsets: Vec<u64> = records.iter().map(|(offset, _)| *offset).collect();
            assert_eq!(offsets, (0..offsets.len() as u64).collect::<Vec<_>>(), "offsets are dense");
            let values: BTreeSet<_> = records.iter().map(|(_, value)| value).collect();
            assert_eq!(values.len(), records.len(), "no record twice");
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            node.disk.crash();
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
