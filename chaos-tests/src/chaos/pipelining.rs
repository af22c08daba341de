//! Whether replication is pipelined: what one partition takes with and without delay between the nodes.
//!
//! A leader that waited for an answer before it sent on would write a batch a round trip. A measurement, and no test:
//! nothing here has to be reached.

use std::{
    fmt::{self, Display},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate::{Delivery, Producer, Record, TopicName};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::cluster::{ChaosCluster, Network, Shape, connect};
use crate::{harness::NodeKind, proxy::Rule};
use quorate_cluster_config::limits::SEGMENT_BYTES_DEFAULT;

const NODES: u16 = 3;
const RECORD_BYTES: usize = 1_024;
const TOPIC: &str = "pipelining";
const TIMEOUT: Duration = Duration::from_secs(15);
/// Before a measurement, until the stream flows evenly.
const WARM: Duration = Duration::from_secs(2);
/// Deliveries of a producer that are on their way.
const DELIVERIES_MAX: usize = 65_536;
/// Any time will do.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Producers, each with a client of its own.
    pub producers: u32,
    /// Bytes of a full batch.
    pub batch_bytes: usize,
    /// Batches of a producer on their way at once.
    pub in_flight: usize,
    /// Added each way on every link between nodes, in milliseconds.
    pub delay_ms: u64,
    /// How long each measurement lasts, in seconds.
    pub seconds: u64,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// What was measured.
    pub settings: Settings,
    /// Megabytes (10^6 bytes) of records acknowledged a second, without delay.
    pub plain_mb_per_second: f64,
    /// The same with delay.
    pub delayed_mb_per_second: f64,
}

impl Measured {
    /// What is left with the delay.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.delayed_mb_per_second / self.plain_mb_per_second
    }
}

impl Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { producers, batch_bytes, in_flight, delay_ms, seconds } = self.settings;
        writeln!(
            formatter,
            "one partition, three nodes; {producers} producers, records of {RECORD_BYTES} bytes, batches of {batch_bytes} \
             bytes, {in_flight} of each producer in flight; {seconds} s each"
        )?;
        writeln!(formatter, "  without delay          {:>8.1} MB/s", self.plain_mb_per_second)?;
        writeln!(formatter, "  {delay_ms:>3} ms added each way  {:>8.1} MB/s", self.delayed_mb_per_second)?;
        write!(formatter, "  ratio                  {:>8.2}", self.ratio())
    }
}

/// Measures on a cluster of its own, whose files are below `directory`.
///
/// # Errors
/// If the cluster does not come up or nothing is acknowledged.
pub async fn measure(settings: Settings, directory: &Path) -> io::Result<Measured> {
    measure_or_say(settings, directory).await.map_err(io::Error::other)
}

async fn measure_or_say(settings: Settings, directory: &Path) -> Result<Measured, String> {
    let shape = Shape {
        kind: NodeKind::Shipped,
        network: Network::PeerProxies,
        segment_bytes: SEGMENT_BYTES_DEFAULT,
        settings: Vec::new(),
    };
    let cluster = ChaosCluster::start(NODES, shape, directory).await?;
    let topic: TopicName = TOPIC.parse().map_err(|error| format!("{TOPIC}: {error}"))?;
    let client = connect(&cluster.servers(), TIMEOUT).await?;
    cluster.create_topic(&client, &topic, 1).await?;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..settings.producers {
        let client = connect(&cluster.servers(), TIMEOUT).await?;
        let builder = client.producer(&topic).batch_bytes(settings.batch_bytes).in_flight(settings.in_flight);
        let producer = builder.build().await.map_err(|error| error.to_string())?;
        let (sender, receiver) = mpsc::channel(DELIVERIES_MAX);
        tasks.spawn(send(producer, sender));
        tasks.spawn(count(receiver, Arc::clone(&acknowledged)));
    }
    let window = Duration::from_secs(settings.seconds);
    let plain_mb_per_second = rate(&acknowledged, window, &mut tasks).await?;
    let delay = Rule::Delay(Duration::from_millis(settings.delay_ms));
    cluster.links.install(1, cluster.links.all().map(|link| (link, delay)).collect());
    let delayed_mb_per_second = rate(&acknowledged, window, &mut tasks).await?;
    tasks.abort_all();
    Ok(Measured { settings, plain_mb_per_second, delayed_mb_per_second })
}

async fn rate(
    acknowledged: &AtomicU64,
    window: Duration,
    tasks: &mut JoinSet<Result<(), String>>,
) -> Result<f64, String> {
    sleep(WARM).await;
    let (before, began) = (acknowledged.load(Ordering::Relaxed), Instant::now());
    // None of the tasks ends by itself unless it fails.
    if let Ok(Some(ended)) = timeout(window, tasks.join_next()).await {
        return Err(format!("a producer stopped: {ended:?}"));
    }
    let bytes = (acknowledged.load(Ordering::Relaxed) - before) * RECORD_BYTES as u64;
    if bytes == 0 {
        return Err(format!("nothing was acknowledged within {window:?}"));
    }
    Ok(bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
}

async fn send(producer: Producer, deliveries: mpsc::Sender<Delivery>) -> Result<(), String> {
    let value = Bytes::from(vec![b'q'; RECORD_BYTES]);
    loop {
        let delivery = producer.send(Record::new(value.clone(), TIMESTAMP_MS).into()).await;
        let delivery = delivery.map_err(|error| error.to_string())?;
        deliveries.send(delivery).await.map_err(|error| error.to_string())?;
    }
}

async fn count(mut deliveries: mpsc::Receiver<Delivery>, acknowledged: Arc<AtomicU64>) -> Result<(), String> {
    while let Some(delivery) = deliveries.recv().await {
        delivery.await.map_err(|error| error.to_string())?;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
