//! Producers at full speed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use clap::Args;
use futures::future::try_join_all;
use quorate::{Client, Compression, Delivery, Producer, ProducerRecord, Record, TopicInfo};
use quorate_cluster_config::limits::RECORD_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::payload::Payload;
use super::report::{Latencies, latencies};
use crate::args;
use crate::context::Context;
use crate::error::Failure;

/// Records sent by one task and not yet acknowledged, at most; the buffer bounds their bytes.
const UNACKNOWLEDGED_MAX: usize = 1 << 16;
/// The least buffer a producer takes.
const BUFFER_BYTES_MIN: usize = 2 * RECORD_BYTES_MAX;

/// How records are produced.
#[derive(Clone, Debug, Args)]
#[group(id = "load")]
pub(super) struct Load {
    /// The size of a value
    #[arg(long, value_name = "SIZE", value_parser = args::size, default_value = "1024")]
    size: ByteSize,
    /// The size of a full batch, before compression
    #[arg(long, value_name = "SIZE", value_parser = args::size, default_value = "256KiB")]
    batch_size: ByteSize,
    /// Batches of a partition on their way at once, 1 to 5; a producer's buffer holds one more
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=5))]
    in_flight: u32,
    /// Producers that send side by side [default: one a partition]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    producers: Option<u32>,
    /// Compress batches with none, lz4 or zstd; the values are random, so none gets smaller
    #[arg(long, value_name = "CODEC", default_value_t = Compression::None)]
    compression: Compression,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Produced {
    /// From the first send to the last acknowledgement.
    pub(super) took: Duration,
    /// From each send to its acknowledgement.
    pub(super) latencies: Latencies,
    /// Bytes of all values.
    pub(super) bytes: u64,
}

/// One producer's part.
struct Share {
    producer: Producer,
    partitions: Vec<u32>,
    messages: u64,
    payload: Payload,
}

/// Produces that many messages in all, spread evenly over producers and partitions.
pub(super) async fn produce(
    context: &Context,
    client: &Client,
    info: &TopicInfo,
    messages: u64,
    load: &Load,
) -> Result<Produced, Failure> {
    let size = load.size.as_u64();
    if size >= RECORD_BYTES_MAX as u64 {
        return Err(Failure::Usage(format!(
            "--size {size} is too large, a record has at most {RECORD_BYTES_MAX} bytes"
        )));
    }
    let payload = Payload::new(size as usize);
    let tasks = load.producers.unwrap_or(info.config.partitions);
    let shares = (0..tasks).map(|task| async move {
        let partitions = partitions_of(task, tasks, info.config.partitions);
        let producer = build(context, client, info, partitions.len(), load).await?;
        Ok::<_, Failure>((producer, partitions, messages_of(task, tasks, messages)))
    });
    let shares = try_join_all(shares).await?;

    let began = Instant::now();
    let mut running = JoinSet::new();
    for (producer, partitions, messages) in shares {
        running.spawn(run(Share { producer, partitions, messages, payload: payload.clone() }));
    }
    let mut all = latencies()?;
    // Dropping the set, by a failure or by Ctrl-C, ends the other tasks.
    while let Some(ended) = running.join_next().await {
        let share = ended.map_err(|error| Failure::message(format!("a producer stopped, {error}")))??;
        all.add(share).map_err(|error| Failure::message(format!("cannot add up latencies, {error}")))?;
    }
    Ok(Produced { took: began.elapsed(), latencies: all, bytes: messages * size })
}

async fn build(
    context: &Context,
    client: &Client,
    info: &TopicInfo,
    partitions: usize,
    load: &Load,
) -> Result<Producer, Failure> {
    let (batch_bytes, in_flight) =
        (usize::try_from(load.batch_size.as_u64()).unwrap_or(usize::MAX), load.in_flight as usize);
    let buffer = batch_bytes.saturating_mul(in_flight + 1).saturating_mul(partitions);
    let building = client
        .producer(&info.name)
        .batch_bytes(batch_bytes)
        .in_flight(in_flight)
        .buffer_bytes(buffer.clamp(BUFFER_BYTES_MIN, u32::MAX as usize))
        .compression(load.compression)
        .delivery_timeout(context.timeout())
        .build();
    context.within("setting up a producer", building).await
}

async fn run(share: Share) -> Result<Latencies, Failure> {
    let Share { producer, partitions, messages, mut payload } = share;
    let (sent, acknowledged) = mpsc::channel(UNACKNOWLEDGED_MAX);
    let sending = async {
        for (_, &partition) in (0..messages).zip(partitions.iter().cycle()) {
            let record = Record::new(payload.next(), now_ms());
            let began = Instant::now();
            let delivery = producer.send(ProducerRecord { partition: Some(partition), record }).await?;
            if sent.send((delivery, began)).await.is_err() {
                // The other side has met a failure and tells of it.
                return Ok(());
            }
        }
        drop(sent);
        let _ = producer.close().await;
        Ok(())
    };
    let ((), latencies) = tokio::try_join!(sending, measure(acknowledged))?;
    Ok(latencies)
}

async fn measure(mut acknowledged: mpsc::Receiver<(Delivery, Instant)>) -> Result<Latencies, Failure> {
    let mut latencies = latencies()?;
    while let Some((delivery, began)) = acknowledged.recv().await {
        delivery.await?;
        latencies.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}

/// Task `task` of `tasks` serves these partitions: its share of them, or with more tasks than partitions one.
fn partitions_of(task: u32, tasks: u32, partitions: u32) -> Vec<u32> {
    if tasks > partitions {
        return vec![task % partitions];
    }
    (0..partitions).filter(|partition| partition % tasks == task).collect()
}

/// An even share; the first tasks take what is left over.
fn messages_of(task: u32, tasks: u32, messages: u64) -> u64 {
    messages / u64::from(tasks) + u64::from(u64::from(task) < messages % u64::from(tasks))
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_served_and_every_message_sent() {
        for (tasks, partitions) in [(1, 4), (3, 4), (4, 4), (9, 4), (1, 1)] {
            let mut served: Vec<_> = (0..tasks).flat_map(|task| partitions_of(task, tasks, partitions)).collect();
            served.sort_unstable();
            served.dedup();
            assert_eq!(served, (0..partitions).collect::<Vec<_>>(), "{tasks} tasks, {partitions} partitions");
            let sent: u64 = (0..tasks).map(|task| messages_of(task, tasks, 1_001)).sum();
            assert_eq!(sent, 1_001, "{tasks} tasks");
        }
    }
}
