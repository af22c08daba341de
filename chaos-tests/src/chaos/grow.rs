//! What it costs those who produce that a fourth node is added to three, and how fast it gets its share.
//!
//! A measurement, and no test of speed: no rate and no latency has to be reached. What was acknowledged has to be there.

mod latencies;
mod ledger;
mod load;
mod placement;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use quorate::{Client, NodeId, PartitionInfo, Position, TopicConfig, TopicName};
use serde::Serialize;
use tokio::time::sleep;

use self::{
    ledger::{Ledger, VALUE_BYTES},
    load::{PacedLoad, Produced, Target, lock, preload},
};
use super::cluster::connect;
use crate::harness::{Cluster, NodeKind, WayIn, eventually, replicas_agree};

pub use self::{latencies::Latencies, ledger::ReadBack, placement::Moved};

const TOPIC: &str = "grow";
/// How much each node sends to replicas that catch up.
const CATCH_UP_BYTES_PER_SECOND: u64 = 10 * MIB;
const MIB: u64 = 1 << 20;
/// Of every call, and of every producer until it is built.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the replicas may take to hold the same: a follower that fell behind at full speed catches up at the limit.
const AGREE_MAX: Duration = Duration::from_secs(300);
/// Produced at the fixed rate before anything is measured, until it flows evenly.
const WARM: Duration = Duration::from_secs(5);
/// How long it may take until the node is part of the cluster and the first move is under way.
const JOIN_MAX: Duration = Duration::from_secs(60);
/// How long the moves may take.
const MOVES_MAX: Duration = Duration::from_secs(900);
/// Between two looks at the moves: often enough for seconds, and hardly a load.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const READ_MAX: Duration = Duration::from_secs(300);
const POLL_WAIT: Duration = Duration::from_millis(200);
/// Two of these for each partition are held in memory.
const FETCH_BYTES: usize = 128 * 1024;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Partitions, each with three replicas.
    pub partitions: u32,
    /// Bytes of values that are produced before.
    pub preload_bytes: u64,
    /// Records a second while it is measured.
    pub rate: u32,
    /// How long is measured before the node is added, in seconds.
    pub seconds: u64,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Grown {
    /// What was measured.
    pub settings: Settings,
    /// Replicas by node, after the moves.
    pub replicas: BTreeMap<NodeId, usize>,
    /// What was moved.
    pub moved: Moved,
    /// From the first move that was seen under way to the last, in seconds.
    pub move_seconds: f64,
    /// Before the node was added.
    pub before: Latencies,
    /// From when the node was started to the last move.
    pub during: Latencies,
    /// Records acknowledged in all, preloaded ones included.
    pub acknowledged: u64,
    /// Records that failed, which may be there or not.
    pub failed: u64,
    /// Why the first of them did.
    pub failure: Option<String>,
    /// What was read back, or why that is not what was acknowledged.
    pub read_back: Result<ReadBack, String>,
}

impl Grown {
    /// How many replicas the fullest node has more than the emptiest.
    #[must_use]
    pub fn unevenness(&self) -> usize {
        let counts = || self.replicas.values();
        counts().max().zip(counts().min()).map_or(0, |(most, fewest)| most - fewest)
    }

    /// MiB moved a second: of what there was when the node was added.
    #[must_use]
    pub fn mib_per_second(&self) -> f64 {
        mib(self.moved.bytes) / self.move_seconds
    }

    /// MiB a second that the senders may send together.
    #[must_use]
    pub fn limit_mib_per_second(&self) -> f64 {
        mib(CATCH_UP_BYTES_PER_SECOND) * self.moved.senders as f64
    }

    /// How many times as long the 99th percentile is during the moves.
    #[must_use]
    pub fn p99_ratio(&self) -> f64 {
        self.during.p99_ms / self.before.p99_ms
    }
}

/// When moves were seen under way.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: Instant,
    last: Instant,
}

/// Measures on a cluster of its own.
///
/// # Errors
/// If the cluster does not come up, the node does not get its share in time, or what there is cannot be read.
///
/// # Panics
/// If a node cannot be started or the three do not form a cluster.
pub async fn grow(settings: Settings) -> Result<Grown, String> {
    let limit = format!("{CATCH_UP_BYTES_PER_SECOND}B");
    let throttle = [("QUORATE_RAFT__CATCH_UP_BYTES_PER_SECOND", limit.as_str())];
    let mut cluster = Cluster::start_with(NodeKind::Shipped, 3, &throttle).await;
    let client = connect(&cluster.servers(), CALL_TIMEOUT).await?;
    let topic: TopicName = TOPIC.parse().map_err(|error| format!("{TOPIC}: {error}"))?;
    create(&client, &topic, settings.partitions).await?;
    let ledger = Arc::new(Mutex::new(Ledger::new(settings.partitions)));
    let target = Target { servers: cluster.servers(), topic, partitions: settings.partitions };
    let topic = &target.topic;

    let began = Instant::now();
    preload(&target, settings.preload_bytes, &ledger).await?;
    eprintln!("preloaded {:.0} MiB in {:.1} s", mib(settings.preload_bytes), began.elapsed().as_secs_f64());
    eventually("all replicas agree", AGREE_MAX, async || replicas_agree(&client, topic).await).await?;

    let load = PacedLoad::start(&target, settings.rate, &ledger).await?;
    sleep(WARM).await;
    let measured = Instant::now();
    sleep(Duration::from_secs(settings.seconds)).await;
    let before = partitions(&client, topic).await?;
    let added = Instant::now();
    let seed = cluster.nodes[0].peer_address();
    cluster.start_another(WayIn::Join(seed));
    let moves = moves(&client).await?;
    let after = partitions(&client, topic).await?;
    eprintln!("{} replicas were moved within {:.1} s", placement::moved(&before, &after).replicas, moves.seconds());
    let Produced { latencies, failed, failure } = load.stop().await?;

    eventually("all replicas agree", AGREE_MAX, async || replicas_agree(&client, topic).await).await?;
    let nodes = client.cluster_info().await.map_err(|error| error.to_string())?.nodes;
    let nodes: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    let ledger = std::mem::replace(&mut *lock(&ledger), Ledger::new(0));
    Ok(Grown {
        settings,
        replicas: placement::replicas_by_node(&nodes, &after),
        moved: placement::moved(&before, &after),
        move_seconds: moves.seconds(),
        before: Latencies::of(&latencies, measured, added),
        during: Latencies::of(&latencies, added, moves.last),
        acknowledged: ledger.acknowledged(),
        failed,
        failure: failure.map(|error| error.to_string()),
        read_back: read_back(&client, topic, ledger).await?,
    })
}

async fn create(client: &Client, topic: &TopicName, partitions: u32) -> Result<(), String> {
    let config = TopicConfig { partitions, replication_factor: 3, ..TopicConfig::default() };
    let info = client.create_topic(topic, config).await.map_err(|error| error.to_string())?;
    let leaderless = info.partitions.iter().filter(|partition| partition.leader.is_none()).count();
    if leaderless == 0 {
        Ok(())
    } else {
        Err(format!("{leaderless} partitions have no leader within {CALL_TIMEOUT:?}"))
    }
}

async fn partitions(client: &Client, topic: &TopicName) -> Result<Vec<PartitionInfo>, String> {
    Ok(client.topic(topic).await.map_err(|error| error.to_string())?.partitions)
}

/// Waits until there were moves and all of them are done.
async fn moves(client: &Client) -> Result<Span, String> {
    let began = Instant::now();
    let mut span: Option<Span> = None;
    loop {
        // What a node does not tell now is asked for again.
        if let Ok(tasks) = client.tasks().await {
            let now = Instant::now();
            match &mut span {
                Some(span) if !tasks.moves.is_empty() => span.last = now,
                Some(span) if !tasks.evening => return Ok(*span),
                None if !tasks.moves.is_empty() => span = Some(Span { first: now, last: now }),
                _ => {}
            }
        }
        let within = if span.is_some() { MOVES_MAX } else { JOIN_MAX };
        if began.elapsed() >= within {
            return Err(format!("the node has not got its share of the replicas within {within:?}: {span:?}"));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

impl Span {
    /// At least the time between two looks, within which the moves were seen.
    fn seconds(self) -> f64 {
        (self.last - self.first).max(LOOK_INTERVAL).as_secs_f64()
    }
}

/// Reads everything; the inner error is what is wrong with it.
async fn read_back(client: &Client, topic: &TopicName, ledger: Ledger) -> Result<Result<ReadBack, String>, String> {
    let mut judge = match ledger.judge() {
        Ok(judge) => judge,
        Err(violation) => return Ok(Err(violation)),
    };
    let consumer = client.consumer(topic).from(Position::First).fetch_bytes(FETCH_BYTES).build().await;
    let mut consumer = consumer.map_err(|error| error.to_string())?;
    let ends = consumer.end_offsets().await.map_err(|error| error.to_string())?;
    let began = Instant::now();
    while ends.iter().any(|(partition, end)| consumer.position(*partition).is_none_or(|position| position < *end)) {
        if began.elapsed() >= READ_MAX {
            return Err(format!("{topic} was not read within {READ_MAX:?}"));
        }
        for consumed in consumer.poll(POLL_WAIT).await.map_err(|error| format!("reading back: {error}"))? {
            let value = consumed.record.value.unwrap_or_default();
            if let Err(violation) = judge.take(consumed.partition, consumed.offset, &value) {
                return Ok(Err(violation));
            }
        }
    }
    Ok(judge.finish())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

impl fmt::Display for Grown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { partitions, preload_bytes, rate, .. } = self.settings;
        let Moved { replicas, bytes, bytes_in_the_end, senders } = self.moved;
        let counts: Vec<String> = self.replicas.iter().map(|(node, count)| format!("{node}: {count}")).collect();
        let (done, limit) = (self.mib_per_second(), self.limit_mib_per_second());
        writeln!(
            formatter,
            "a fourth node; {partitions} partitions of three replicas, {:.0} MiB of records, {rate} more a second of \
             {VALUE_BYTES} bytes",
            mib(preload_bytes)
        )?;
        writeln!(formatter, "  replicas by node   {}; max - min {}", counts.join(", "), self.unevenness())?;
        writeln!(
            formatter,
            "  moved              {replicas} replicas, {:.1} MiB ({:.1} MiB with what was produced meanwhile) in {:.1} s",
            mib(bytes),
            mib(bytes_in_the_end),
            self.move_seconds
        )?;
        writeln!(
            formatter,
            "  rate               {done:.1} MiB/s ({:.1} MiB/s with that); limit {limit:.1} MiB/s: {:.0} MiB/s of each of \
             {senders} senders",
            mib(bytes_in_the_end) / self.move_seconds,
            mib(CATCH_UP_BYTES_PER_SECOND)
        )?;
        for (when, latencies) in [("before", self.before), ("during", self.during)] {
            let Latencies { records, p50_ms, p99_ms, max_ms } = latencies;
            writeln!(
                formatter,
                "  latency {when}     p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, max {max_ms:.1} ms of {records} records"
            )?;
        }
        writeln!(formatter, "  p99 during/before  {:.2}", self.p99_ratio())?;
        write!(formatter, "  acknowledged       {} records, {} failed", self.acknowledged, self.failed)?;
        if let Some(failure) = &self.failure {
            write!(formatter, ", the first: {failure}")?;
        }
        match &self.read_back {
            Ok(ReadBack { records, unacknowledged }) => write!(
                formatter,
                "\n  read back          every acknowledged record once and in order; {records} in all, {unacknowledged} \
                 of them not acknowledged"
            ),
            Err(violation) => write!(formatter, "\n  read back          VIOLATED: {violation}"),
        }
    }
}
