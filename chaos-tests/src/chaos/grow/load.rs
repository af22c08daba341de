//! Producers: at full speed before anything is measured, and at a fixed rate while it is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use quorate::{Delivery, ProduceError, Producer, ProducerRecord, Record, TopicName};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    CALL_TIMEOUT,
    ledger::{Ledger, RecordId, VALUE_BYTES},
};
use crate::chaos::cluster::connect;

/// Producers that fill the topic; those at a fixed rate are numbered behind them.
const PRELOADERS: u32 = 8;
const PACED: u32 = 4;
const PRELOAD_MAX: Duration = Duration::from_secs(600);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Producers that are told to stop do so within their delivery timeout.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Deliveries of a producer on their way, besides the bound of its buffer.
const DELIVERIES_MAX: usize = 65_536;
/// Any time will do.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;

/// What all producers write their acknowledgements to.
pub(super) type SharedLedger = Arc<Mutex<Ledger>>;

pub(super) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The topic that is produced to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Client addresses of nodes, separated by commas.
    pub(super) servers: String,
    /// The topic.
    pub(super) topic: TopicName,
    /// How many it has.
    pub(super) partitions: u32,
}

/// What became of the records that were sent at a fixed rate.
#[derive(Debug, Default)]
pub(super) struct Produced {
    /// For each acknowledged record: when it was due, and how long from then to its acknowledgement.
    pub(super) latencies: Vec<(Instant, Duration)>,
    /// Records that failed.
    pub(super) failed: u64,
    /// Why the first of them did.
    pub(super) failure: Option<ProduceError>,
}

/// Producers that send at a fixed rate whatever becomes of the records before.
#[derive(Debug)]
pub(super) struct PacedLoad {
    stop: watch::Sender<bool>,
    producers: JoinSet<Produced>,
}

/// A record that was sent or not, and when it was due.
struct Sent {
    id: RecordId,
    due: Instant,
    delivery: Result<Delivery, ProduceError>,
}

impl Target {
    async fn producer(&self) -> Result<Producer, String> {
        let client = connect(&self.servers, CALL_TIMEOUT).await?;
        let builder = client.producer(&self.topic).delivery_timeout(DELIVERY_TIMEOUT);
        builder.build().await.map_err(|error| error.to_string())
    }
}

fn record(id: RecordId) -> ProducerRecord {
    ProducerRecord { partition: Some(id.partition), record: Record::new(id.value(), TIMESTAMP_MS) }
}

/// Fills all partitions alike, with that many bytes of values over all of them, rounded up to whole records.
///
/// # Errors
/// If a record is not acknowledged or it takes too long.
pub(super) async fn preload(target: &Target, bytes: u64, ledger: &SharedLedger) -> Result<(), String> {
    let of_partition = bytes.div_ceil(u64::from(target.partitions) * VALUE_BYTES as u64);
    let mut producers = JoinSet::new();
    for writer in 0..PRELOADERS.min(target.partitions) {
        let partitions: Vec<u32> = (writer..target.partitions).step_by(PRELOADERS as usize).collect();
        let (sender, receiver) = mpsc::channel(DELIVERIES_MAX);
        producers.spawn(fill(target.producer().await?, writer, partitions, of_partition, sender));
        producers.spawn(note(receiver, Arc::clone(ledger)));
    }
    let all = async {
        while let Some(ended) = producers.join_next().await {
            ended.map_err(|error| format!("a producer stopped: {error}"))??;
        }
        Ok(())
    };
    let done = timeout(PRELOAD_MAX, all).await;
    done.unwrap_or_else(|_| Err(format!("{bytes} bytes were not preloaded within {PRELOAD_MAX:?}")))
}

async fn fill(
    producer: Producer,
    writer: u32,
    partitions: Vec<u32>,
    of_partition: u64,
    deliveries: mpsc::Sender<(RecordId, Delivery)>,
) -> Result<(), String> {
    let turns = (0..of_partition).flat_map(|_| partitions.iter());
    for (number, partition) in (0..).zip(turns) {
        let id = RecordId { partition: *partition, writer, number };
        let delivery = producer.send(record(id)).await.map_err(|error| format!("preloading: {error}"))?;
        deliveries.send((id, delivery)).await.map_err(|_| "preloading: a record failed".to_owned())?;
    }
    producer.close().await.map_err(|error| format!("preloading: {error}"))
}

async fn note(mut deliveries: mpsc::Receiver<(RecordId, Delivery)>, ledger: SharedLedger) -> Result<(), String> {
    while let Some((id, delivery)) = deliveries.recv().await {
        let metadata = delivery.await.map_err(|error| format!("preloading: {error}"))?;
        lock(&ledger).note(id, metadata.offset);
    }
    Ok(())
}

impl PacedLoad {
    /// Starts to send that many records a second, over all producers, to all partitions in turn.
    ///
    /// # Errors
    /// If a producer cannot be built.
    pub(super) async fn start(target: &Target, rate: u32, ledger: &SharedLedger) -> Result<Self, String> {
        let (stop, stopped) = watch::channel(false);
        let mut built = Vec::new();
        for _ in 0..PACED {
            built.push(target.producer().await?);
        }
        let (mut producers, began) = (JoinSet::new(), Instant::now());
        for (at, producer) in (0..).zip(built) {
            let pace = Pace { began, rate, at, partitions: target.partitions };
            let (stopped, ledger) = (stopped.clone(), Arc::clone(ledger));
            producers.spawn(async move {
                let (sender, receiver) = mpsc::channel(DELIVERIES_MAX);
                let ((), produced) =
                    tokio::join!(keep_rate(producer, pace, sender, stopped), measure(receiver, ledger));
                produced
            });
        }
        Ok(Self { stop, producers })
    }

    /// Stops, and waits until it is known what became of every record.
    ///
    /// # Errors
    /// If a producer panicked or does not end.
    pub(super) async fn stop(mut self) -> Result<Produced, String> {
        self.stop.send_replace(true);
        let all = async {
            let mut all = Produced::default();
            while let Some(ended) = self.producers.join_next().await {
                let produced = ended.map_err(|error| format!("a producer stopped: {error}"))?;
                all.latencies.extend(produced.latencies);
                all.failed += produced.failed;
                all.failure = all.failure.or(produced.failure);
            }
            Ok(all)
        };
        let stopped = timeout(STOP_MAX, all).await;
        stopped.unwrap_or_else(|_| Err(format!("the producers did not stop within {STOP_MAX:?}")))
    }
}

/// When one of the producers at a fixed rate sends what.
#[derive(Clone, Copy, Debug)]
struct Pace {
    began: Instant,
    /// Records a second over all producers.
    rate: u32,
    /// Which of the producers it is, from 0.
    at: u32,
    partitions: u32,
}

impl Pace {
    /// A record of this producer, and when it is due.
    fn record(self, number: u64) -> (RecordId, Instant) {
        let overall = number * u64::from(PACED) + u64::from(self.at);
        let due = self.began + Duration::from_secs_f64(overall as f64 / f64::from(self.rate));
        let partition = u32::try_from(overall % u64::from(self.partitions)).unwrap_or_default();
        (RecordId { partition, writer: PRELOADERS + self.at, number }, due)
    }
}

async fn keep_rate(producer: Producer, pace: Pace, all_sent: mpsc::Sender<Sent>, mut stopped: watch::Receiver<bool>) {
    for number in 0.. {
        let (id, due) = pace.record(number);
        tokio::select! {
            biased;
            // It fails if nobody is left to say so: that is a stop as well.
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = sleep_until(due.into()) => {}
        }
        let delivery = producer.send(record(id)).await;
        if all_sent.send(Sent { id, due, delivery }).await.is_err() {
            break;
        }
    }
    drop(all_sent);
    // Each delivery tells of its own error.
    let _ = producer.close().await;
}

/// Measures until the sender is gone and everything has an outcome. Partitions do not wait for each other.
async fn measure(mut all_sent: mpsc::Receiver<Sent>, ledger: SharedLedger) -> Produced {
    let mut produced = Produced::default();
    let mut waiting = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((id, due, outcome, now)) = waiting.next() => match outcome {
                Ok(offset) => {
                    lock(&ledger).note(id, offset);
                    produced.latencies.push((due, now - due));
                }
                Err(error) => {
                    produced.failed += 1;
                    produced.failure.get_or_insert(error);
                }
            },
            Some(sent) = all_sent.recv() => waiting.push(async move {
                let outcome = match sent.delivery {
                    Ok(delivery) => delivery.await.map(|metadata| metadata.offset),
                    Err(error) => Err(error),
                };
                (sent.id, sent.due, outcome, Instant::now())
            }),
            else => return produced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_keep_the_rate_together_and_serve_all_partitions() {
        let began = Instant::now();
        let pace = |at| Pace { began, rate: 2_000, at, partitions: 6 };
        let mut records: Vec<_> = (0..PACED)
            .flat_map(|at| (0..3).map(move |number| (at, number)))
            .map(|(at, n)| pace(at).record(n))
            .collect();
        records.sort_by_key(|(_, due)| *due);
        let due: Vec<_> = records.iter().map(|(_, due)| (*due - began).as_micros()).collect();
        assert_eq!(due, (0..12).map(|number| number * 500).collect::<Vec<_>>());
        let partitions: Vec<_> = records.iter().map(|(id, _)| id.partition).collect();
        assert_eq!(partitions, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
        assert!(records.iter().all(|(id, _)| id.writer >= PRELOADERS), "none is numbered like one that fills");
    }
}
