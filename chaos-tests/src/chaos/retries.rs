//! Retries of what was appended already, while leaders fail: requests arrive, their answers do not, and every batch is one record.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Display},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use quorate::{Client, Delivery, PartitionIndex, Position, Producer, ProducerRecord, Record, TopicName};
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    Outcome,
    cluster::{ChaosCluster, Network, Shape, connect},
};
use crate::{
    harness::{NodeKind, eventually},
    history::Value,
    proxy::{CLIENTS, Link, Rule},
};

const NODES: u16 = 3;
const TOPIC: &str = "retries";
const PARTITIONS: u32 = 24;
const PRODUCERS: u32 = 4;
/// Records of one producer that await their end.
const DELIVERIES_MAX: usize = 4_096;
/// A producer tries for so long, whatever happens.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(300);
const TIMEOUT: Duration = Duration::from_secs(15);
const SEGMENT_BYTES: u64 = 64 << 20;
/// For so long answers are lost, then connections are made anew and work.
const MUTE_FOR: Duration = Duration::from_millis(40);
const HEARD_FOR: Duration = Duration::from_millis(110);
/// A node is killed this often, and started again after so long.
const KILL_EVERY: Duration = Duration::from_secs(5);
const DOWN_FOR: Duration = Duration::from_secs(1);
/// Records come at least this often when all are read back.
const STALLED_MAX: Duration = Duration::from_secs(30);
const POLL_WAIT: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Retries {
    /// Retries that were asked for.
    pub asked: u64,
    /// Records that were acknowledged as duplicates: an earlier try of each had been appended.
    pub recognised: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records of which the producer does not know.
    pub unknown: u64,
    /// How often a node was killed.
    pub kills: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Records in the partitions in the end.
    pub read: u64,
    /// Records that are there more than once.
    pub duplicates: u64,
    /// Acknowledged records that are not there, or elsewhere than was said.
    pub missing: u64,
    /// Records nobody sent.
    pub foreign: u64,
}

impl Retries {
    /// Whether each record is there once, where it is said to be, and as many retries were made as were asked for.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.duplicates > 0 || self.missing > 0 || self.foreign > 0 {
            Outcome::Violated
        } else if self.acknowledged == 0 || self.recognised < self.asked {
            Outcome::Inconclusive
        } else {
            Outcome::Passed
        }
    }
}

impl Display for Retries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, recognised, acknowledged, unknown, kills, seconds, .. } = self;
        writeln!(
            formatter,
            "retries of what was appended already: {recognised} of {asked}, over {kills} kills, in {seconds:.0} s"
        )?;
        writeln!(formatter, "  records     {acknowledged} acknowledged, {unknown} unknown, {} read back", self.read)?;
        let Self { duplicates, missing, foreign, .. } = self;
        write!(formatter, "  duplicates  {duplicates}; missing or elsewhere {missing}; never sent {foreign}")
    }
}

/// What producers know.
#[derive(Debug, Default)]
struct Known {
    /// By partition: offsets and values.
    acknowledged: BTreeMap<PartitionIndex, Vec<(u64, Value)>>,
    unknown: u64,
}

/// Forces so many retries, or as many as come within a time, on a cluster of its own whose files are below `directory`.
///
/// # Errors
/// If the cluster does not come up, or what it holds cannot be read.
pub async fn retries(asked: u64, within: Duration, directory: &Path) -> Result<Retries, String> {
    let shape = Shape {
        kind: NodeKind::PowerLoss,
        network: Network::Proxies,
        segment_bytes: SEGMENT_BYTES,
        settings: Vec::new(),
    };
    let mut cluster = ChaosCluster::start(NODES, shape, directory).await?;
    let servers = cluster.servers();
    let topic: TopicName = TOPIC.parse().map_err(|error| format!("{TOPIC}: {error}"))?;
    let client = connect(&servers, TIMEOUT).await?;
    cluster.create_topic(&client, &topic, PARTITIONS).await?;

    let (stop, stopped) = watch::channel(false);
    let recognised = Arc::new(AtomicU64::new(0));
    let mut producers = JoinSet::new();
    for process in 0..PRODUCERS {
        let client = connect(&servers, TIMEOUT).await?;
        let builder = client.producer(&topic).batch_bytes(1).linger(Duration::ZERO);
        let producer = builder.delivery_timeout(DELIVERY_TIMEOUT).build().await.map_err(|error| error.to_string())?;
        producers.spawn(produce(process, producer, stopped.clone(), Arc::clone(&recognised)));
    }
    let began = Instant::now();
    let kills = break_off(&mut cluster, began + within, || recognised.load(Relaxed) >= asked).await?;
    stop.send_replace(true);
    let mut known = Known::default();
    while let Some(ended) = producers.join_next().await {
        let of_producer = ended.map_err(|error| format!("a producer broke: {error}"))?;
        known.unknown += of_producer.unknown;
        for (partition, records) in of_producer.acknowledged {
            known.acknowledged.entry(partition).or_default().extend(records);
        }
    }
    let measured = Retries {
        asked,
        recognised: recognised.load(Relaxed),
        unknown: known.unknown,
        kills,
        seconds: began.elapsed().as_secs_f64(),
        ..Retries::default()
    };
    let found = read_back(&client, &topic).await?;
    for node in &mut cluster.nodes {
        node.try_stop().await?;
    }
    Ok(judge(measured, &known, &found))
}

/// Loses answers and kills nodes, one after the other, until it is enough or time is up; returns how many it has killed.
async fn break_off(cluster: &mut ChaosCluster, deadline: Instant, is_enough: impl Fn() -> bool) -> Result<u64, String> {
    let answers: Vec<(Link, Rule)> =
        (1..=u64::from(NODES)).map(|node| (Link { from: node, to: CLIENTS }, Rule::Drop)).collect();
    let (mut kills, mut killed_at, mut down): (u64, Instant, Option<usize>) = (0, Instant::now(), None);
    while !is_enough() && Instant::now() < deadline {
        cluster.break_links(1, answers.clone())?;
        tokio::time::sleep(MUTE_FOR).await;
        cluster.heal(1)?;
        tokio::time::sleep(HEARD_FOR).await;
        match down {
            Some(at) if killed_at.elapsed() >= DOWN_FOR => {
                cluster.nodes[at].start();
                down = None;
            }
            None if killed_at.elapsed() >= KILL_EVERY => {
                let at = (kills % u64::from(NODES)) as usize;
                cluster.nodes[at].kill_9();
                (kills, killed_at, down) = (kills + 1, Instant::now(), Some(at));
            }
            _ => {}
        }
    }
    if let Some(at) = down {
        cluster.nodes[at].start();
    }
    Ok(kills)
}

/// Sends one record after the other until it is told to stop, and waits for the end of each.
async fn produce(
    process: u32,
    producer: Producer,
    stopped: watch::Receiver<bool>,
    recognised: Arc<AtomicU64>,
) -> Known {
    let (sender, mut deliveries) = mpsc::channel::<(Value, Delivery)>(DELIVERIES_MAX);
    let send = async move {
        let mut unsent = 0;
        for number in 0.. {
            if *stopped.borrow() {
                break;
            }
            let value = Value { process, number };
            let record = Record::new(value.encode_short(), 0);
            let partition = Some((number % u64::from(PARTITIONS)) as PartitionIndex);
            match producer.send(ProducerRecord { partition, record }).await {
                Ok(delivery) => {
                    if sender.send((value, delivery)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    unsent += 1;
                    if !error.is_retryable() {
                        tracing::warn!(%error, "a producer gives up");
                        break;
                    }
                }
            }
        }
        drop(sender);
        // The end of each is told by its delivery.
        let _ = producer.close().await;
        unsent
    };
    let receive = async {
        let mut known = Known::default();
        while let Some((value, delivery)) = deliveries.recv().await {
            match delivery.await {
                Ok(metadata) => {
                    recognised.fetch_add(u64::from(metadata.duplicate), Relaxed);
                    known.acknowledged.entry(metadata.partition).or_default().push((metadata.offset, value));
                }
                Err(_) => known.unknown += 1,
            }
        }
        known
    };
    let (unsent, known) = tokio::join!(send, receive);
    Known { unknown: known.unknown + unsent, ..known }
}

/// All records, by partition, in the order of their offsets, which begin at 0.
async fn read_back(client: &Client, topic: &TopicName) -> Result<BTreeMap<PartitionIndex, Vec<Option<Value>>>, String> {
    let mut consumer = client.consumer(topic).from(Position::First).build().await.map_err(|error| error.to_string())?;
    let ask = async || consumer.end_offsets().await.map_err(|error| error.to_string());
    let (ends, _) = eventually("all end offsets are told", STALLED_MAX, ask).await?;
    let mut found: BTreeMap<PartitionIndex, Vec<Option<Value>>> = BTreeMap::new();
    let mut progressed = Instant::now();
    while ends.iter().any(|(partition, end)| consumer.position(*partition).is_none_or(|position| position < *end)) {
        if progressed.elapsed() > STALLED_MAX {
            return Err(format!("{topic} was not read up to {ends:?} in time"));
        }
        match consumer.poll(POLL_WAIT).await {
            Ok(records) => {
                for record in records {
                    progressed = Instant::now();
                    let value = record.record.value.as_deref().and_then(Value::decode_short);
                    found.entry(record.partition).or_default().push(value);
                }
            }
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(found)
}

fn judge(measured: Retries, known: &Known, found: &BTreeMap<PartitionIndex, Vec<Option<Value>>>) -> Retries {
    let mut judged = measured;
    let mut seen = HashSet::new();
    for value in found.values().flatten() {
        judged.read += 1;
        match value {
            Some(value) if value.process < PRODUCERS => judged.duplicates += u64::from(!seen.insert(*value)),
            _ => judged.foreign += 1,
        }
    }
    for (partition, records) in &known.acknowledged {
        judged.acknowledged += records.len() as u64;
        let at = |offset: u64| found.get(partition)?.get(usize::try_from(offset).ok()?).copied().flatten();
        judged.missing += records.iter().filter(|(offset, value)| at(*offset) != Some(*value)).count() as u64;
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u64) -> Value {
        Value { process: 1, number }
    }

    fn judged(acknowledged: &[(u64, Value)], found: &[Option<Value>]) -> Retries {
        let known = Known { acknowledged: [(0, acknowledged.to_vec())].into(), unknown: 0 };
        judge(Retries::default(), &known, &[(0, found.to_vec())].into())
    }

    #[test]
    fn each_record_has_to_be_there_once_and_where_it_is_said_to_be() {
        let all = [Some(value(1)), Some(value(2)), Some(value(3))];
        // The third is unknown to its producer.
        assert_eq!(judged(&[(0, value(1)), (1, value(2))], &all).outcome(), Outcome::Passed);
        assert_eq!(judged(&[(0, value(1)), (2, value(2))], &all).missing, 1);
        assert_eq!(judged(&[(0, value(1)), (3, value(4))], &all).missing, 1);
        assert_eq!(judged(&[(0, value(1))], &[Some(value(1)), Some(value(2)), Some(value(1))]).duplicates, 1);
        assert_eq!(judged(&[(0, value(1))], &[Some(value(1)), None]).foreign, 1);
        assert_eq!(judged(&[(0, value(1))], &[Some(value(1)), None]).outcome(), Outcome::Violated);
        assert_eq!(judged(&[], &[]).outcome(), Outcome::Inconclusive, "nothing was done");
    }

    #[test]
    fn a_value_comes_back_from_its_short_form() {
        assert_eq!(Value::decode_short(&value(7).encode_short()), Some(value(7)));
        assert_eq!(Value::decode_short(b"1 x"), None);
    }
}
