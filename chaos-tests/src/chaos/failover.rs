//! How long partitions take no records after the node that leads them is killed, and what idle partitions cost.

mod victim;

use std::{
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use quorate::{Producer, ProducerRecord, Record, TopicConfig, TopicName};
use serde::Serialize;

use self::victim::{Victim, third};
use crate::harness::{Cluster, NodeKind};

/// How long the cluster is left alone before its idle cost is measured, and for how long it then is.
const SETTLED: Duration = Duration::from_secs(8);
const MEASURED: Duration = Duration::from_secs(15);
/// A partition that takes no record within this time counts as lost.
const GAP_MAX: Duration = Duration::from_secs(20);

/// What was found.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Partitions of the topic.
    pub partitions: u32,
    /// Processor time of all nodes together while nothing was asked of them, of one core.
    pub idle_share: Option<f64>,
    /// The kills, in their order.
    pub kills: Vec<Kill>,
}

/// What came of one kill.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kill {
    /// Partitions that the node led.
    pub led: usize,
    /// Whether that was exactly a third of all, or where that is no whole number, one of its neighbours.
    pub is_third: bool,
    /// How long until every one of them took a record again, in seconds.
    pub seconds: f64,
}

/// What is said of several kills.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gaps {
    /// How many kills.
    pub kills: usize,
    /// The fewest partitions that a killed node led.
    pub led_min: usize,
    /// The most.
    pub led_max: usize,
    /// The median of the times, in seconds.
    pub p50_seconds: f64,
    /// The longest of them.
    pub max_seconds: f64,
}

/// Measures with three nodes and that many partitions of three replicas; kills a node that leads a third of them, `rounds`
/// times.
///
/// # Errors
/// If a partition has no leader or takes no records for too long.
///
/// # Panics
/// If the cluster does not come up.
pub async fn failover(partitions: u32, rounds: u32) -> Result<Failover, String> {
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic: TopicName = "failover".parse().map_err(|error| format!("{error}"))?;
    let config = TopicConfig { partitions, replication_factor: 3, ..TopicConfig::default() };
    client.create_topic(&topic, config).await.map_err(|error| error.to_string())?;
    let idle_share = idle_share(&cluster).await;
    let producer = client.producer(&topic).build().await.map_err(|error| error.to_string())?;
    let mut kills = Vec::new();
    for round in 0..rounds {
        let waited = Instant::now();
        let Victim { node, led, is_third } = victim::choose(&client, &topic, &producer, round).await?;
        let waited = waited.elapsed();
        let index = usize::try_from(node).unwrap_or_default().saturating_sub(1);
        cluster.nodes[index].kill_9();
        let killed = Instant::now();
        let after = join_all(led.iter().map(|partition| send(&producer, *partition))).await;
        let gap = killed.elapsed();
        if let Some(error) = after.into_iter().find_map(Result::err) {
            return Err(format!("round {round}: {error}"));
        }
        eprintln!(
            "round {round}: the {} partitions of node {node}{} take records again after {:.2} s (even after {:.0} s)",
            led.len(),
            if is_third { "" } else { ", not a third," },
            gap.as_secs_f64(),
            waited.as_secs_f64()
        );
        kills.push(Kill { led: led.len(), is_third, seconds: gap.as_secs_f64() });
        cluster.nodes[index].start();
        cluster.wait_until_up().await;
    }
    Ok(Failover { partitions, idle_share, kills })
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

impl Failover {
    /// Of the kills of nodes that led exactly a third.
    #[must_use]
    pub fn of_a_third(&self) -> Option<Gaps> {
        Gaps::of(self.kills.iter().filter(|kill| kill.is_third))
    }

    /// Of all kills.
    #[must_use]
    pub fn of_all(&self) -> Option<Gaps> {
        Gaps::of(&self.kills)
    }
}

impl Gaps {
    fn of<'a>(kills: impl IntoIterator<Item = &'a Kill>) -> Option<Self> {
        let mut kills: Vec<Kill> = kills.into_iter().copied().collect();
        kills.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let led = || kills.iter().map(|kill| kill.led);
        Some(Self {
            kills: kills.len(),
            led_min: led().min()?,
            led_max: led().max()?,
            p50_seconds: kills.get(kills.len() / 2)?.seconds,
            max_seconds: kills.last()?.seconds,
        })
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, p50_seconds, max_seconds, .. } = self;
        write!(formatter, "{kills} kills, p50 {p50_seconds:.2} s, max {max_seconds:.2} s")
    }
}

impl fmt::Display for Failover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(share) = self.idle_share {
            writeln!(formatter, "idle: {:.1} % of one core over all nodes", share * 100.0)?;
        }
        let Some(all) = self.of_all() else { return Ok(()) };
        writeln!(formatter, "until every partition of a killed leader took records again")?;
        let (least, most) = third(self.partitions as usize).into_inner();
        let third = if least == most { format!("{least}") } else { format!("{least} or {most}") };
        match self.of_a_third() {
            Some(gaps) => writeln!(formatter, "  it led a third, {third} of {}: {gaps}", self.partitions)?,
            None => writeln!(formatter, "  it led a third, {third} of {}: never", self.partitions)?,
        }
        write!(formatter, "  all, {} to {} led: {all}", all.led_min, all.led_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_of_a_third_and_all_of_them_are_told_apart() {
        let kill = |(led, seconds): (usize, f64)| Kill { led, is_third: led == 100, seconds };
        let kills = [(100, 0.9), (130, 2.5), (100, 1.1), (100, 1.0)].map(kill).to_vec();
        let measured = Failover { partitions: 300, idle_share: Some(0.071), kills };
        let expected = "idle: 7.1 % of one core over all nodes\n\
                        until every partition of a killed leader took records again\n  \
                        it led a third, 100 of 300: 3 kills, p50 1.00 s, max 1.10 s\n  \
                        all, 100 to 130 led: 4 kills, p50 1.10 s, max 2.50 s";
        assert_eq!(measured.to_string(), expected);
        let none = Failover { kills: vec![kill((130, 2.5))], ..measured.clone() };
        assert!(none.to_string().contains("100 of 300: never\n"), "{none}");
        let idle = Failover { kills: Vec::new(), ..measured };
        assert_eq!(idle.to_string(), "idle: 7.1 % of one core over all nodes\n");
    }
}
