//! How long partitions take no records after the node that leads them is killed, and what idle partitions cost.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use quorate::{Client, NodeId, Producer, ProducerRecord, Record, TopicConfig, TopicName};

use crate::harness::{Cluster, NodeKind, eventually};

/// How long the cluster is left alone before its idle cost is measured, and for how long it then is.
const SETTLED: Duration = Duration::from_secs(8);
const MEASURED: Duration = Duration::from_secs(15);
/// A partition that takes no record within this time counts as lost.
const GAP_MAX: Duration = Duration::from_secs(20);
/// How long all nodes may take to lead alike, and to be up.
const EVEN_MAX: Duration = Duration::from_secs(180);

/// What was found.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Processor time of all nodes together while nothing was asked of them, of one core.
    pub idle_share: Option<f64>,
    /// For each kill: how many partitions the node led, and how long until every one of them took a record again.
    pub gaps: Vec<(usize, Duration)>,
}

/// Measures with three nodes and that many partitions of three replicas; kills one node after the other, `rounds` times.
///
/// # Errors
/// If the cluster does not come up, or a partition takes no records for too long.
pub async fn failover(partitions: u32, rounds: u32) -> Result<Failover, String> {
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic: TopicName = "failover".parse().map_err(|error| format!("{error}"))?;
    let config = TopicConfig { partitions, replication_factor: 3, ..TopicConfig::default() };
    client.create_topic(&topic, config).await.map_err(|error| error.to_string())?;
    let idle_share = idle_share(&cluster).await;
    let producer = client.producer(&topic).build().await.map_err(|error| error.to_string())?;
    let mut gaps = Vec::new();
    for round in 0..rounds {
        let victim = round as usize % cluster.nodes.len();
        let led = led_evenly(&client, &topic, victim as u64 + 1).await?;
        // Each partition has just taken a record: its producer knows who leads.
        join_all(led.iter().map(|partition| send(&producer, *partition))).await;
        cluster.nodes[victim].kill_9();
        let killed = Instant::now();
        let after = join_all(led.iter().map(|partition| send(&producer, *partition))).await;
        let gap = killed.elapsed();
        if let Some(error) = after.into_iter().find_map(Result::err) {
            return Err(format!("round {round}: {error}"));
        }
        eprintln!("round {round}: {} partitions take records again after {:.2} s", led.len(), gap.as_secs_f64());
        gaps.push((led.len(), gap));
        cluster.nodes[victim].start();
        cluster.wait_until_up().await;
    }
    Ok(Failover { idle_share, gaps })
}

async fn idle_share(cluster: &Cluster) -> Option<f64> {
    tokio::time::sleep(SETTLED).await;
    let used = || cluster.nodes.iter().map(|node| node.processor_time()).sum::<Option<Duration>>();
    let (before, began) = (used()?, Instant::now());
    tokio::time::sleep(MEASURED).await;
    Some((used()? - before).as_secs_f64() / began.elapsed().as_secs_f64())
}

async fn send(producer: &Producer, partition: u32) -> Result<(), String> {
    let record = Record::new(Bytes::from_static(b"a record"), 1_700_000_000_000);
    let sending = async {
        let delivery = producer.send(ProducerRecord { partition: Some(partition), record }).await?;
        delivery.await
    };
    match tokio::time::timeout(GAP_MAX, sending).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("partition {partition}: {error}")),
        Err(_) => Err(format!("partition {partition} took no record within {GAP_MAX:?}")),
    }
}

/// Waits until all nodes lead alike; returns what this one leads.
async fn led_evenly(client: &Client, topic: &TopicName, node: u64) -> Result<Vec<u32>, String> {
    let even = async || {
        let info = client.topic(topic).await.map_err(|error| error.to_string())?;
        let mut led: BTreeMap<NodeId, Vec<u32>> = BTreeMap::new();
        for partition in &info.partitions {
            let leader = partition.leader.ok_or_else(|| format!("partition {} has no leader", partition.index))?;
            led.entry(leader).or_default().push(partition.index);
        }
        let share = info.partitions.len() / 3;
        match led.remove(&NodeId(node)) {
            Some(partitions) if partitions.len() >= share && led.len() == 2 => Ok(partitions),
            other => Err(format!("node {node} leads {} partitions", other.map_or(0, |led| led.len()))),
        }
    };
    eventually("leadership is even", EVEN_MAX, even).await.map(|(led, _)| led)
}

impl fmt::Display for Failover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(share) = self.idle_share {
            writeln!(formatter, "idle: {:.1} % of one core over all nodes", share * 100.0)?;
        }
        let mut gaps: Vec<f64> = self.gaps.iter().map(|(_, gap)| gap.as_secs_f64()).collect();
        gaps.sort_by(f64::total_cmp);
        let (Some(longest), Some(median)) = (gaps.last(), gaps.get(gaps.len() / 2)) else { return Ok(()) };
        let led: Vec<usize> = self.gaps.iter().map(|(led, _)| *led).collect();
        write!(
            formatter,
            "until every partition of a killed leader ({} to {} of them) took records again, {} kills: p50 {median:.2} s, max {longest:.2} s",
            led.iter().min().copied().unwrap_or_default(),
            led.iter().max().copied().unwrap_or_default(),
            gaps.len()
        )
    }
}
