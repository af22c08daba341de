//! Idempotent producers with several batches in flight. Some of them crash again and again.

use std::{sync::Arc, time::Duration};

use quorate::{Delivery, ProduceError, Producer, ProducerRecord, Record, RecordMetadata};
use quorate_faulty_vfs::SplitMix64;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Process, TIMEOUT,
    mortal::{Mortal, Pending},
};
use crate::{
    chaos::{
        cluster::{connect, partitions, topic_name},
        options::TOPICS,
    },
    history::{Call, Outcome, PartitionKey, Value},
};

/// One producer each: one gives up during many a fault, one during none.
pub(super) const DELIVERY_TIMEOUTS: [Duration; 3] =
    [Duration::from_millis(1_500), Duration::from_secs(5), Duration::from_secs(30)];

/// Each producer sends a burst to one partition this often.
const PACE: Duration = Duration::from_millis(8);
/// Records of a burst: 1 to this many.
const BURST_MAX: u64 = 8;
/// Small, for several batches of a partition to be in flight.
const BATCH_BYTES: usize = 600;
const LINGER: Duration = Duration::from_millis(1);
/// What a delivery may take beyond the producer's own timeout.
const GRACE: Duration = Duration::from_secs(10);
/// Any time will do: nothing here depends on it.
pub(super) const TIMESTAMP_MS: i64 = 1_700_000_000_000;
/// A crashing producer lives for this long, in milliseconds.
const LIFE_MS: (u64, u64) = (500, 4_000);

pub(super) async fn start(process: Process, delivery_timeout: Duration) -> Result<JoinHandle<()>, String> {
    let producers = build(&process, delivery_timeout).await?;
    Ok(tokio::spawn(produce(process, producers, delivery_timeout, Arc::default())))
}

/// A producer that is killed and followed by another one, under another number.
pub(super) fn start_crashing(process: Process, delivery_timeout: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
        let mut stopped = process.stopped.clone();
        for number in process.number.. {
            let (process, pending) = (Process { number, ..process.clone() }, Arc::new(Pending::default()));
            let (client, sending) = (process.clone(), Arc::clone(&pending));
            let running = Mortal::run(async move {
                match build(&client, delivery_timeout).await {
                    Ok(producers) => produce(client, producers, delivery_timeout, sending).await,
                    Err(error) => tracing::debug!(error, "a producer could not be built"),
                }
            });
            let life = Duration::from_millis(LIFE_MS.0 + random.below(LIFE_MS.1 - LIFE_MS.0));
            let ended = timeout(life, stopped.changed()).await;
            match running {
                Ok(running) => running.kill().await,
                Err(error) => process.defects.add(format!("a client cannot be started: {error}")),
            }
            for (value, (partition, invoked_ns)) in pending.take() {
                let outcome = Outcome::Info("the client crashed".to_owned());
                process.recorder.record(number, partition, invoked_ns, Call::Send { number: value.number, outcome });
            }
            if ended.is_ok() {
                return;
            }
        }
    })
}

/// One for each topic.
pub(super) async fn build(process: &Process, delivery_timeout: Duration) -> Result<Vec<Producer>, String> {
    let client = connect(&process.servers, TIMEOUT).await?;
    let mut producers = Vec::new();
    for topic in 0..TOPICS.len() as u32 {
        let builder = client.producer(&topic_name(topic)?).linger(LINGER).batch_bytes(BATCH_BYTES);
        let built = builder.delivery_timeout(delivery_timeout).build().await;
        producers.push(built.map_err(|error| error.to_string())?);
    }
    Ok(producers)
}

async fn produce(mut process: Process, producers: Vec<Producer>, delivery_timeout: Duration, pending: Arc<Pending>) {
    let mut random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let partitions: Vec<PartitionKey> = partitions().collect();
    let mut deliveries = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = process.stopped.changed() => break,
        }
        while deliveries.try_join_next().is_some() {}
        let partition = partitions[random.below(partitions.len() as u64) as usize];
        for _ in 0..=random.below(BURST_MAX) {
            let value = Value { process: process.number, number };
            number += 1;
            let record = Record::new(value.encode(), TIMESTAMP_MS);
            let record = ProducerRecord { partition: Some(partition.index), record };
            let invoked_ns = process.recorder.now_ns();
            pending.begin(value, partition, invoked_ns);
            let sent = producers[partition.topic as usize].send(record).await;
            let (process, pending) = (process.clone(), Arc::clone(&pending));
            deliveries.spawn(async move {
                let outcome = observe(&process, value, sent, delivery_timeout + GRACE).await;
                if pending.end(value) {
                    let call = Call::Send { number: value.number, outcome };
                    process.recorder.record(process.number, partition, invoked_ns, call);
                }
            });
        }
    }
    for producer in &producers {
        // Every delivery tells its own end, and is bounded.
        let _ = timeout(delivery_timeout + GRACE, producer.close()).await;
    }
    while let Some(ended) = deliveries.join_next().await {
        if let Err(error) = ended {
            process.defects.add(format!("a delivery of producer {} broke: {error}", process.number));
        }
    }
}

async fn observe(
    process: &Process,
    value: Value,
    sent: Result<Delivery, ProduceError>,
    within: Duration,
) -> Outcome<u64> {
    let ended = match sent {
        Ok(delivery) => timeout(within, delivery).await,
        Err(error) => Ok(Err(error)),
    };
    match ended {
        Ok(ended) => outcome(ended),
        Err(_) => {
            process.defects.add(format!("{value} had no end {within:?} after it was sent, beyond its timeout"));
            Outcome::Info("the producer never told".to_owned())
        }
    }
}

/// How a write ended. A timeout is unknown whatever the client says of it.
pub(super) fn outcome(ended: Result<RecordMetadata, ProduceError>) -> Outcome<u64> {
    match ended {
        Ok(metadata) => Outcome::Ok(metadata.offset),
        Err(error) if error.has_no_side_effects() && !matches!(error, ProduceError::TimedOut { .. }) => {
            Outcome::Fail(error.to_string())
        }
        Err(error) => Outcome::Info(error.to_string()),
    }
}
