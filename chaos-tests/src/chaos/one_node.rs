//! What it costs those who send that something is wrong with one node, which leads nothing or all.
//!
//! In a run of random faults every node leads something, so that what a follower costs cannot be told from what an election
//! costs.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use quorate::{Client, NodeId, ReplicaRole};
use serde::Serialize;

use super::{
    cluster::{ChaosCluster, Network, Shape, connect, topic_name},
    defects::Defects,
    nemesis::Observer,
    options::TOPICS,
    timing::p99_between,
    workload::Workload,
};
use crate::{
    harness::{Node, NodeKind, eventually},
    history::Recorder,
    node_faults::NodeFaults,
};

const NODES: u16 = 3;
/// The node that something is wrong with.
const NODE: u64 = 3;
const SEGMENT_BYTES: u64 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long leaders may take to be where they are to be, and a node to notice that its disk fails.
const MOVED_MAX: Duration = Duration::from_secs(60);
/// The first sends are left out.
const WARM: Duration = Duration::from_secs(3);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is killed.
    Killed,
    /// Its syncs take so much longer.
    SlowDisk(Duration),
    /// Its syncs fail.
    FailedSync,
    /// Its clock is ahead by so many milliseconds, or behind.
    Clock(i64),
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OneNode {
    /// Of a hundred acknowledged sends the second slowest, before, in seconds.
    pub before_p99_seconds: f64,
    /// How many there were.
    pub before_acknowledged: usize,
    /// The same while the node was not as it should be.
    pub during_p99_seconds: f64,
    /// And how many there were then.
    pub during_acknowledged: usize,
    /// How many partitions were led by another node, or in another term, meanwhile.
    pub leader_changes: usize,
    /// How long until no replica of the node took part any more, in seconds; only if its syncs fail.
    pub stopped_after_seconds: Option<f64>,
}

/// Measures for `each` before, and as long while something is wrong with a node that leads all partitions or none.
///
/// # Errors
/// If the cluster does not come up, or does not do what it is asked.
pub async fn one_node(wrong: Wrong, leads: bool, each: Duration, directory: &Path) -> Result<OneNode, String> {
    let shape = Shape {
        kind: NodeKind::PowerLoss,
        network: Network::PeerProxies,
        segment_bytes: SEGMENT_BYTES,
        settings: Vec::new(),
    };
    let mut cluster = ChaosCluster::start(NODES, shape, directory).await?;
    let servers = cluster.servers();
    let client = connect(&servers, TIMEOUT).await?;
    for (topic, (_, partitions)) in (0..).zip(TOPICS) {
        cluster.create_topic(&client, &topic_name(topic)?, partitions).await?;
    }
    for node in (1..=u64::from(NODES)).filter(|node| (*node == NODE) != leads) {
        client.drain_node(NodeId(node), true).await.map_err(|error| error.to_string())?;
    }
    eventually("leaders are where they are to be", MOVED_MAX, async || {
        let leading = leading(&client).await?;
        if leading.iter().all(|node| (*node == NODE) == leads) { Ok(()) } else { Err(format!("{leading:?}")) }
    })
    .await?;
    let (recorder, defects) = (Arc::new(Recorder::new()), Arc::new(Defects::default()));
    let workload = Workload::start(1, &servers, &recorder, &defects).await?;
    let observer = Observer::start(&servers, &recorder, &defects).await?;
    tokio::time::sleep(WARM).await;
    let began = recorder.now_ns();
    tokio::time::sleep(each).await;
    let (changed, before) = (recorder.now_ns(), observer.changes().len());
    let stopped_after = begin(wrong, &mut cluster.nodes[NODE as usize - 1], &client).await?;
    tokio::time::sleep(each).await;
    let (ended, after) = (recorder.now_ns(), observer.changes().len());
    drop((observer, workload));
    let history = recorder.take();
    if let Some(defect) = defects.take().into_iter().next() {
        return Err(defect);
    }
    let (before_p99, before_acknowledged) = p99_between(&history, began..changed);
    let (during_p99, during_acknowledged) = p99_between(&history, changed..ended);
    Ok(OneNode {
        before_p99_seconds: before_p99.as_secs_f64(),
        before_acknowledged,
        during_p99_seconds: during_p99.as_secs_f64(),
        during_acknowledged,
        leader_changes: after - before,
        stopped_after_seconds: stopped_after.map(|took| took.as_secs_f64()),
    })
}

async fn begin(wrong: Wrong, node: &mut Node, client: &Client) -> Result<Option<Duration>, String> {
    match wrong {
        Wrong::Killed => node.kill_9(),
        Wrong::SlowDisk(delay) => {
            let sync_delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            node.set_faults(NodeFaults { sync_delay_ms, ..NodeFaults::default() });
        }
        Wrong::Clock(clock_offset_ms) => node.set_faults(NodeFaults { clock_offset_ms, ..NodeFaults::default() }),
        Wrong::FailedSync => {
            let failed = Instant::now();
            node.set_faults(NodeFaults { syncs_fail: true, ..NodeFaults::default() });
            let stopped = eventually("no replica of the node takes part", MOVED_MAX, async || {
                match taking_part(client).await? {
                    0 => Ok(()),
                    count => Err(format!("{count} do")),
                }
            });
            // If they never stop, that is what was measured.
            return Ok(stopped.await.ok().map(|_| failed.elapsed()));
        }
    }
    Ok(None)
}

/// Who leads each partition.
async fn leading(client: &Client) -> Result<Vec<u64>, String> {
    let mut leading = Vec::new();
    for topic in 0..TOPICS.len() as u32 {
        let info = client.topic(&topic_name(topic)?).await.map_err(|error| error.to_string())?;
        leading.extend(info.partitions.iter().map(|partition| partition.leader.map_or(0, |node| node.0)));
    }
    Ok(leading)
}

/// How many replicas of the node take part in their partitions.
async fn taking_part(client: &Client) -> Result<usize, String> {
    let mut count = 0;
    for topic in 0..TOPICS.len() as u32 {
        let info = client.topic(&topic_name(topic)?).await.map_err(|error| error.to_string())?;
        let replicas = info.partitions.iter().flat_map(|partition| &partition.replicas);
        let here = replicas.filter(|replica| replica.node.0 == NODE);
        count += here.filter(|replica| !matches!(replica.role, ReplicaRole::Failed | ReplicaRole::Unknown)).count();
    }
    Ok(count)
}
