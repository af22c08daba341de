//! What nodes do under ten times the producers they can serve, and a thousand readers that are slow to take what they asked for.

use std::{
    fmt::{self, Display},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use quorate::{Client, Consumer, Delivery, Position, ProduceError, Producer, Record, TopicName};
use quorate_cluster_config::limits::{
    APPEND_BYTES_IN_FLIGHT_DEFAULT, FETCH_BYTES_IN_FLIGHT_DEFAULT, REPLICATION_BYTES_IN_FLIGHT_DEFAULT,
    TAIL_CACHE_BYTES_DEFAULT,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinSet, yield_now},
    time::sleep,
};

use super::{
    Outcome,
    cluster::{ChaosCluster, Network, Shape, connect},
};
use crate::{
    harness::{Memory, Node, NodeKind, eventually},
    proxy::{CLIENTS, Link, Rule},
};

const NODES: u16 = 3;
const TOPIC: &str = "overload";
const PARTITIONS: u32 = 12;
const SEGMENT_BYTES: u64 = 64 << 20;
const RECORD_BYTES: usize = 1_024;
/// Any time will do.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;
/// So many are served at full speed, and then ten times as many are there.
const PRODUCERS: u32 = 4;
const TIMES: u32 = 10;
/// Records of a producer that are not acknowledged, in bytes.
const BUFFER_BYTES: usize = 16 << 20;
/// Deliveries of a producer that are on their way.
const DELIVERIES_MAX: usize = BUFFER_BYTES / RECORD_BYTES;
/// What a reader asks for at once, and what it takes a second.
const FETCH_BYTES: usize = 256 << 10;
const TAKEN_BYTES_PER_SECOND: u32 = 64 << 10;
/// The part of the readers that has to be served meanwhile.
const SERVED_MIN: f64 = 0.95;
/// Readers that connect at the same time.
const CONNECTING_MAX: usize = 32;
const CONNECTED_MAX: Duration = Duration::from_secs(120);
/// A fetch takes a slow reader four seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Each client has a connection for its calls and one for its fetches, each with two ends in a proxy.
const FILES_PER_CLIENT: u64 = 6;
const FILES_BESIDES: u64 = 1_000;
/// More clients than a node takes unless it is told to.
const SETTINGS: [(&str, &str); 1] = [("QUORATE_LIMITS__CLIENT_CONNECTIONS", "8192")];
/// Once they are left alone, nodes serve a client again by then.
const CALM_MAX: Duration = Duration::from_secs(30);
/// What a node may hold by its default settings: recent frames, appends in flight, entries of other nodes, and what is read for
/// fetches, which may hold on to twice its size.
const BUDGET_BYTES: u64 = TAIL_CACHE_BYTES_DEFAULT
    + APPEND_BYTES_IN_FLIGHT_DEFAULT
    + REPLICATION_BYTES_IN_FLIGHT_DEFAULT
    + 2 * FETCH_BYTES_IN_FLIGHT_DEFAULT;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Overload {
    /// Megabytes (10^6 bytes) of values a second that the few producers got acknowledged.
    pub base_mb_per_second: f64,
    /// The same of ten times as many.
    pub overload_mb_per_second: f64,
    /// The same of these beside the readers.
    pub with_readers_mb_per_second: f64,
    /// Of the time that the many producers had beside the readers, how much they waited for what they had sent before.
    pub waited: f64,
    /// Records acknowledged in all.
    pub acknowledged: u64,
    /// Records that were not: each was told to its producer as an error.
    pub failed: u64,
    /// The error of the first.
    pub failure: Option<String>,
    /// Records there are in the end.
    pub stored: u64,
    /// Readers that read.
    pub readers: u32,
    /// Those that got anything.
    pub readers_served: u32,
    /// How often a poll of a reader failed.
    pub polls_failed: u64,
    /// By node: what it had when it was idle and the most it ever had, in bytes.
    pub memory: Vec<Memory>,
    /// What a node may hold besides what it has when it is idle, in bytes.
    pub budget_bytes: u64,
    /// From the end of the load until a record was acknowledged, in seconds.
    pub calm_after_seconds: f64,
}

impl Overload {
    /// The most that a node had, as a part of what it may have.
    #[must_use]
    pub fn of_budget(&self) -> f64 {
        self.memory.iter().map(|memory| self.of_budget_on(*memory)).fold(0.0, f64::max)
    }

    fn of_budget_on(&self, memory: Memory) -> f64 {
        memory.peak_bytes as f64 / (memory.bytes + self.budget_bytes) as f64
    }

    /// Whether all that was acknowledged is there and no node had more than `of_budget` times what it may have. Nothing is proved
    /// if there were hardly any readers to be slow.
    #[must_use]
    pub fn outcome(&self, of_budget: f64) -> Outcome {
        if self.stored < self.acknowledged || self.of_budget() > of_budget {
            Outcome::Violated
        } else if self.acknowledged == 0 || f64::from(self.readers_served) < SERVED_MIN * f64::from(self.readers) {
            Outcome::Inconclusive
        } else {
            Outcome::Passed
        }
    }
}

impl Display for Overload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base_mb_per_second;
        let mut line = |who: String, rate: f64| writeln!(formatter, "{who:<29}{rate:>7.1} MB/s, {:.2}", rate / base);
        line(format!("{PRODUCERS} producers"), base)?;
        line(format!("{} producers", PRODUCERS * TIMES), self.overload_mb_per_second)?;
        line(format!("{} and {} slow readers", PRODUCERS * TIMES, self.readers), self.with_readers_mb_per_second)?;
        writeln!(formatter, "  back-pressure senders waited {:.0} % of the time", self.waited * 100.0)?;
        let Self { acknowledged, failed, stored, polls_failed, .. } = self;
        let failure = self.failure.as_ref().map(|failure| format!(" ({failure})")).unwrap_or_default();
        writeln!(formatter, "  records       {acknowledged} acknowledged, {failed} not{failure}, {stored} stored")?;
        writeln!(formatter, "  readers       {} were served, {polls_failed} polls failed", self.readers_served)?;
        for (node, memory) in (1..).zip(&self.memory) {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            writeln!(
                formatter,
                "  node {node}        {:.0} MiB at most, {:.0} when idle, {:.0} allowed besides: {:.2}",
                mib(memory.peak_bytes),
                mib(memory.bytes),
                mib(self.budget_bytes),
                self.of_budget_on(*memory)
            )?;
        }
        write!(formatter, "  afterwards    a record was acknowledged after {:.2} s", self.calm_after_seconds)
    }
}

/// What producers and readers count.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    failure: std::sync::Mutex<Option<String>>,
    /// How long producers waited for what they had sent before, in nanoseconds.
    waited: AtomicU64,
    /// How long they sent, in nanoseconds.
    sending: AtomicU64,
    served: AtomicU64,
    polls_failed: AtomicU64,
}

/// Measures for `each` with few producers, as long with ten times as many, and as long with so many slow readers beside them, on a
/// cluster of its own whose files are below `directory`.
///
/// # Errors
/// If the cluster does not come up, a node ends, or there is no `/proc`.
pub async fn overload(readers: u32, each: Duration, directory: &Path) -> Result<Overload, String> {
    allow_files(u64::from(readers + PRODUCERS * TIMES) * FILES_PER_CLIENT + FILES_BESIDES)?;
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let shape = Shape { kind: NodeKind::Shipped, network: Network::Proxies, segment_bytes: SEGMENT_BYTES, settings };
    let mut cluster = ChaosCluster::start(NODES, shape, directory).await?;
    let topic: TopicName = TOPIC.parse().map_err(|error| format!("{TOPIC}: {error}"))?;
    let servers = cluster.servers();
    let client = connect(&servers, TIMEOUT).await?;
    cluster.create_topic(&client, &topic, PARTITIONS).await?;
    let idle = memory(&cluster.nodes)?;

    let counts = Arc::new(Counts::default());
    let load = async |producers| produce_for(each, producers, &servers, &topic, &counts).await;
    let base = load(PRODUCERS).await?;
    let overload = load(PRODUCERS * TIMES).await?;

    let reader = |number: u32| connect_reader(number, &servers, &topic);
    let connecting = stream::iter((0..readers).map(reader)).buffer_unordered(CONNECTING_MAX).try_collect::<Vec<_>>();
    let consumers = tokio::time::timeout(CONNECTED_MAX, connecting)
        .await
        .map_err(|_| format!("{readers} readers did not connect within {CONNECTED_MAX:?}"))??;
    let answers = (1..=u64::from(NODES)).map(|node| Link { from: node, to: CLIENTS });
    cluster.break_links(1, answers.map(|link| (link, Rule::Throttle(TAKEN_BYTES_PER_SECOND))).collect())?;
    let mut reading = JoinSet::new();
    for consumer in consumers {
        reading.spawn(read(consumer, Arc::clone(&counts)));
    }
    counts.waited.store(0, Relaxed);
    counts.sending.store(0, Relaxed);
    let with_readers = load(PRODUCERS * TIMES).await?;
    let waited = counts.waited.load(Relaxed) as f64 / counts.sending.load(Relaxed) as f64;

    reading.shutdown().await;
    cluster.heal(1)?;
    let calm = eventually("a record is acknowledged", CALM_MAX, async || {
        let producer = client.producer(&topic).linger(Duration::ZERO).build();
        let producer = producer.await.map_err(|error| error.to_string())?;
        let delivery = producer.send(record().into()).await.map_err(|error| error.to_string())?;
        delivery.await.map_err(|error| error.to_string())
    });
    let (_, calm_after) = calm.await?;
    // The one above.
    counts.acknowledged.fetch_add(1, Relaxed);
    let now = memory(&cluster.nodes)?;
    let memory = idle.iter().zip(now).map(|(idle, now)| Memory { bytes: idle.bytes, ..now }).collect();
    let stored = stored(&client, &topic).await?;
    for node in &mut cluster.nodes {
        node.try_stop().await?;
    }
    let failure = counts.failure.lock().ok().and_then(|failure| failure.clone());
    Ok(Overload {
        base_mb_per_second: base,
        overload_mb_per_second: overload,
        with_readers_mb_per_second: with_readers,
        waited,
        acknowledged: counts.acknowledged.load(Relaxed),
        failed: counts.failed.load(Relaxed),
        failure,
        stored,
        readers,
        readers_served: u32::try_from(counts.served.load(Relaxed)).unwrap_or(u32::MAX),
        polls_failed: counts.polls_failed.load(Relaxed),
        memory,
        budget_bytes: BUDGET_BYTES,
        calm_after_seconds: calm_after.as_secs_f64(),
    })
}

/// Lets this process, and the nodes that it starts, open so many files.
fn allow_files(count: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < count) {
        return Err(format!(
            "{count} files are needed at once, and the system allows {:?}: see ulimit -Hn",
            limit.maximum
        ));
    }
    if limit.current.is_some_and(|current| current < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..limit })
            .map_err(|error| format!("the limit of open files cannot be raised to {count}: {error}"))?;
    }
    Ok(())
}

fn memory(nodes: &[Node]) -> Result<Vec<Memory>, String> {
    let of_node = |(number, node): (u16, &Node)| {
        node.memory()
            .ok_or_else(|| format!("the memory of node {number} is not known: it has ended, or there is no /proc"))
    };
    (1..).zip(nodes).map(of_node).collect()
}

fn record() -> Record {
    // Shared by all records.
    static VALUE: [u8; RECORD_BYTES] = [b'q'; RECORD_BYTES];
    Record::new(Bytes::from_static(&VALUE), TIMESTAMP_MS)
}

/// Has so many producers send for so long; returns the megabytes a second that were acknowledged meanwhile, once the end of all that
/// they sent is known.
async fn produce_for(
    window: Duration,
    producers: u32,
    servers: &str,
    topic: &TopicName,
    counts: &Arc<Counts>,
) -> Result<f64, String> {
    let (stop, stopped) = watch::channel(false);
    let mut senders = JoinSet::new();
    for _ in 0..producers {
        let client = connect(servers, TIMEOUT).await?;
        let producer = client.producer(topic).buffer_bytes(BUFFER_BYTES).build().await;
        senders.spawn(produce(producer.map_err(|error| error.to_string())?, stopped.clone(), Arc::clone(counts)));
    }
    let (before, began) = (counts.acknowledged.load(Relaxed), Instant::now());
    sleep(window).await;
    let bytes = (counts.acknowledged.load(Relaxed) - before) * RECORD_BYTES as u64;
    let rate = bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
    stop.send_replace(true);
    while let Some(ended) = senders.join_next().await {
        ended.map_err(|error| format!("a producer broke: {error}"))?;
    }
    Ok(rate)
}

/// Sends at full speed until it is told to stop, then waits for the end of what it sent.
async fn produce(producer: Producer, stopped: watch::Receiver<bool>, counts: Arc<Counts>) {
    let (sender, mut deliveries) = mpsc::channel::<Delivery>(DELIVERIES_MAX);
    let failed = |error: &ProduceError| {
        counts.failed.fetch_add(1, Relaxed);
        if let Ok(mut failure) = counts.failure.lock() {
            failure.get_or_insert_with(|| error.to_string());
        }
    };
    let add = |to: &AtomicU64, began: Instant| {
        to.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
    };
    let send = async {
        let sender = sender;
        let started = Instant::now();
        while !*stopped.borrow() {
            let began = Instant::now();
            match producer.send(record().into()).await {
                Ok(delivery) => drop(sender.send(delivery).await),
                Err(error) => {
                    failed(&error);
                    yield_now().await;
                }
            }
            add(&counts.waited, began);
        }
        add(&counts.sending, started);
        drop(sender);
        // The end of each is told by its delivery.
        let _ = producer.close().await;
    };
    let receive = async {
        while let Some(delivery) = deliveries.recv().await {
            match delivery.await {
                Ok(_) => drop(counts.acknowledged.fetch_add(1, Relaxed)),
                Err(error) => failed(&error),
            }
        }
    };
    tokio::join!(send, receive);
}

/// Connects a reader of one partition, from its beginning.
async fn connect_reader(number: u32, servers: &str, topic: &TopicName) -> Result<Consumer, String> {
    let client = connect(servers, TIMEOUT).await?;
    let builder = client.consumer(topic).partitions(vec![number % PARTITIONS]).from(Position::First);
    builder.fetch_bytes(FETCH_BYTES).build().await.map_err(|error| error.to_string())
}

/// Reads for ever.
async fn read(mut consumer: Consumer, counts: Arc<Counts>) {
    let mut served = false;
    loop {
        match consumer.poll(POLL_WAIT).await {
            Ok(records) if !served && !records.is_empty() => {
                served = true;
                counts.served.fetch_add(1, Relaxed);
            }
            Ok(_) => {}
            Err(_) => {
                counts.polls_failed.fetch_add(1, Relaxed);
                sleep(POLL_WAIT).await;
            }
        }
    }
}

/// Records in all partitions.
async fn stored(client: &Client, topic: &TopicName) -> Result<u64, String> {
    let consumer = client.consumer(topic).build().await.map_err(|error| error.to_string())?;
    let ends = consumer.end_offsets().await.map_err(|error| error.to_string())?;
    Ok(ends.values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_memory_and_lost_records_are_violations_and_missing_readers_prove_nothing() {
        let measured = Overload {
            base_mb_per_second: 1.0,
            overload_mb_per_second: 1.0,
            with_readers_mb_per_second: 1.0,
            waited: 1.0,
            acknowledged: 10,
            failed: 2,
            failure: None,
            stored: 11,
            readers: 100,
            readers_served: 95,
            polls_failed: 0,
            memory: vec![Memory { bytes: 10, peak_bytes: 60 }, Memory { bytes: 20, peak_bytes: 132 }],
            budget_bytes: 90,
            calm_after_seconds: 0.1,
        };
        assert!((measured.of_budget() - 1.2).abs() < 1e-9);
        assert_eq!(measured.outcome(1.2), Outcome::Passed);
        assert_eq!(measured.outcome(1.1), Outcome::Violated);
        assert_eq!(Overload { stored: 9, ..measured.clone() }.outcome(1.2), Outcome::Violated);
        assert_eq!(Overload { readers_served: 94, ..measured.clone() }.outcome(1.2), Outcome::Inconclusive);
        assert_eq!(Overload { acknowledged: 0, ..measured }.outcome(1.2), Outcome::Inconclusive);
    }
}
