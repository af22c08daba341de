//! What the node tells Prometheus: gauges and counters read when they are asked for.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use quorate_log_engine::{SYNC_TIME_BOUNDS_US, SyncTimes};
use quorate_protocol::{ClusterInfo, NodeState};
use quorate_raft::Role;

use crate::cluster::{Cluster, Member};

/// What is counted while the node works.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of batches that clients handed in and that are on stable storage of a majority.
    pub(crate) produced_bytes: AtomicU64,
    /// Such batches.
    pub(crate) produced_batches: AtomicU64,
    /// Bytes of batches that were sent to clients.
    pub(crate) fetched_bytes: AtomicU64,
    /// Times that a replica of this node stood for leader since its leader was gone.
    pub(crate) elections: AtomicU64,
    /// Commits of offsets that coordinators of this node have written down.
    pub(crate) group_commits: AtomicU64,
    /// Members of consumer groups that were given up: silent, disconnected, or not giving partitions up.
    pub(crate) group_members_lost: AtomicU64,
}

/// The counters of this process.
pub(crate) fn counters() -> &'static Counters {
    static COUNTERS: OnceLock<Counters> = OnceLock::new();
    COUNTERS.get_or_init(Counters::default)
}

/// Renders all metrics in the OpenMetrics text format. Takes a few milliseconds with thousands of partitions.
pub(crate) fn render(cluster: &Cluster) -> String {
    let mut registry = Registry::with_prefix("quorate");
    if let Some(member) = cluster.member() {
        registry.register_collector(Box::new(Snapshot::take(member)));
    }
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => text,
        // Writing to a string does not fail.
        Err(error) => format!("# {error}\n"),
    }
}

/// The values of one moment.
#[derive(Debug)]
struct Snapshot {
    gauges: Vec<(&'static str, &'static str, f64)>,
    counters: Vec<(&'static str, &'static str, u64)>,
    sync_times: SyncTimes,
}

impl Snapshot {
    fn take(member: &Member) -> Self {
        let info: ClusterInfo = member.cluster_info();
        let engine = member.replicas.environment().engine.stats();
        let us = info.nodes.iter().find(|node| node.id == member.identity.node);
        let state = member.metadata.state();
        let down = info.nodes.iter().filter(|node| node.state == NodeState::Down).count();
        let leads_metadata = member.metadata.group().status().role == Role::Leader;
        let of_us = |count: fn(&quorate_protocol::NodeInfo) -> u32| us.map_or(0.0, |node| f64::from(count(node)));
        let said = member.versioned_status(None).status;
        let log_bytes: u64 = said.iter().flat_map(|status| &status.replicas).map(|replica| replica.log_bytes).sum();
        let groups = member.coordinators.census(member);
        let counters = counters();
        Self {
            gauges: vec![
                (
                    "under_replicated_partitions",
                    "Partitions with a replica that is down, failed or behind, as this node sees it",
                    f64::from(info.under_replicated_partition_count),
                ),
                (
                    "leaderless_partitions",
                    "Partitions that no node leads, as this node sees it",
                    f64::from(info.leaderless_partition_count),
                ),
                ("partitions", "Partitions of the cluster", f64::from(info.partition_count)),
                ("leader_count", "Partitions that this node leads", of_us(|node| node.leader_count)),
                ("replica_count", "Partition replicas placed on this node", of_us(|node| node.replica_count)),
                (
                    "failed_replica_count",
                    "Replicas of this node that were refused, have stopped or are damaged",
                    of_us(|node| node.failed_replica_count),
                ),
                ("nodes", "Registered nodes", info.nodes.len() as f64),
                ("nodes_down", "Registered nodes that do not answer this one", down as f64),
                (
                    "suspected_nodes",
                    "Nodes that have not answered the pings of this one",
                    member.detector.suspects().len() as f64,
                ),
                ("metadata_leader", "1 if this node leads the metadata group", f64::from(u8::from(leads_metadata))),
                ("metadata_index", "The metadata index that this node has applied", info.metadata_index as f64),
                ("moves", "Replicas on their way from one node to another", state.moves().count() as f64),
                ("log_bytes", "Bytes of the logs of this node's partition replicas", log_bytes as f64),
                (
                    "disk_available_bytes",
                    "Bytes free on the disk of the logs, as last looked",
                    member.space.available() as f64,
                ),
                (
                    "consumer_groups",
                    "Consumer groups that this node coordinates and has been asked for",
                    groups.groups as f64,
                ),
                ("consumer_group_members", "Members of those groups", groups.members as f64),
                ("open_segments", "Finished segments open for reading", engine.open_segments as f64),
            ],
            counters: vec![
                (
                    "produced_bytes",
                    "Bytes of batches handed in here that are on stable storage of a majority",
                    counters.produced_bytes.load(Relaxed),
                ),
                ("produced_batches", "Such batches", counters.produced_batches.load(Relaxed)),
                ("fetched_bytes", "Bytes of batches sent to clients", counters.fetched_bytes.load(Relaxed)),
                ("elections", "Times that a replica of this node stood for leader", counters.elections.load(Relaxed)),
                (
                    "consumer_group_commits",
                    "Commits of offsets that this node has written down as coordinator",
                    counters.group_commits.load(Relaxed),
                ),
                (
                    "consumer_group_members_lost",
                    "Members of consumer groups that this node has given up: silent, disconnected, or not giving partitions up",
                    counters.group_members_lost.load(Relaxed),
                ),
                ("log_written_bytes", "Bytes of frames and headers written to logs", engine.writers.bytes),
                ("scrubbed_bytes", "Bytes that the scrubber has read", engine.scrub_bytes),
                (
                    "scrub_damages",
                    "Damages the scrubber has met; what stays damaged counts at every pass",
                    engine.scrub_damages,
                ),
            ],
            sync_times: engine.writers.sync_times,
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, help, value) in &self.gauges {
            let gauge = ConstGauge::new(*value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in &self.counters {
            let counter = ConstCounter::new(*value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let bounds = SYNC_TIME_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.sync_times.counts).collect();
        let unit = prometheus_client::registry::Unit::Seconds;
        let help = "How long the fdatasync calls of the logs took";
        let mut histogram = encoder.encode_descriptor(
            "fsync_duration",
            help,
            Some(&unit),
            prometheus_client::metrics::MetricType::Histogram,
        )?;
        let count = self.sync_times.counts.iter().sum();
        let sum = self.sync_times.sum_us as f64 / 1e6;
        histogram.encode_histogram::<prometheus_client::encoding::NoLabelSet>(sum, count, &buckets, None)
    }
}
