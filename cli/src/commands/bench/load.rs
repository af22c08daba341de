//! Producers, and what they do at full speed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use clap::Args;
use futures::future::try_join_all;
use quorate::{Client, Compression, Producer, ProducerRecord, Record, TopicInfo};
use quorate_cluster_config::limits::RECORD_BYTES_MAX;
use tokio::task::JoinSet;

use super::acks::{Measured, Outbox, acks};
use super::payload::Payload;
use super::report::Latencies;
use crate::args;
use crate::context::Context;
use crate::error::Failure;

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
    /// How long a batch waits for more records
    #[arg(long, value_name = "DURATION", value_parser = args::duration, default_value = "5ms")]
    linger: Duration,
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

/// When producers have sent enough.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// After that many messages in all.
    Messages(u64),
    /// After that time.
    Time(Duration),
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Produced {
    pub(super) messages: u64,
    /// Bytes of all values.
    pub(super) bytes: u64,
    /// From the first send to the last acknowledgement.
    pub(super) took: Duration,
    /// From each send to its acknowledgement.
    pub(super) latencies: Latencies,
}

/// One producer's part.
pub(super) struct Share {
    /// Its number, from 0, of that many.
    pub(super) task: u32,
    pub(super) tasks: u32,
    producer: Producer,
    partitions: Vec<u32>,
    payload: Payload,
    began: Instant,
    began_ms: i64,
}

impl Load {
    /// One record goes at once and alone.
    pub(super) fn one_at_a_time(&self) -> Self {
        Self { linger: Duration::ZERO, producers: Some(1), in_flight: 1, ..self.clone() }
    }

    /// Sets up the producers.
    pub(super) async fn shares(
        &self,
        context: &Context,
        client: &Client,
        info: &TopicInfo,
    ) -> Result<Vec<Share>, Failure> {
        let size = self.size.as_u64();
        if size >= RECORD_BYTES_MAX as u64 {
            return Err(Failure::Usage(format!(
                "--size {size} is too large, a record has at most {RECORD_BYTES_MAX} bytes"
            )));
        }
        let payload = Payload::new(size as usize);
        let tasks = self.producers.unwrap_or(info.config.partitions);
        let shares = (0..tasks).map(|task| {
            let payload = payload.clone();
            async move {
                let partitions = partitions_of(task, tasks, info.config.partitions);
                let producer = self.build(context, client, info, partitions.len()).await?;
                Ok(Share { task, tasks, producer, partitions, payload, began: Instant::now(), began_ms: now_ms() })
            }
        });
        try_join_all(shares).await
    }

    async fn build(
        &self,
        context: &Context,
        client: &Client,
        info: &TopicInfo,
        partitions: usize,
    ) -> Result<Producer, Failure> {
        let batch_bytes = usize::try_from(self.batch_size.as_u64()).unwrap_or(usize::MAX);
        let in_flight = self.in_flight as usize;
        let buffer = batch_bytes.saturating_mul(in_flight + 1).saturating_mul(partitions);
        let building = client
            .producer(&info.name)
            .batch_bytes(batch_bytes)
            .linger(self.linger)
            .in_flight(in_flight)
            .buffer_bytes(buffer.clamp(BUFFER_BYTES_MIN, u32::MAX as usize))
            .compression(self.compression)
            .delivery_timeout(context.timeout())
            .build();
        context.within("setting up a producer", building).await
    }

    /// What was measured, with the bytes it stands for.
    pub(super) fn produced(&self, measured: Measured, from: Instant) -> Produced {
        let messages = measured.latencies.len();
        let bytes = messages.saturating_mul(self.size.as_u64());
        Produced { messages, bytes, took: measured.took(from), latencies: measured.latencies }
    }
}

impl Share {
    /// How many partitions it serves.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Sends the record with that number of its own, from 0, whose latency counts from `due`. False if nobody measures
    /// any more.
    pub(super) async fn send(
        &mut self,
        number: u64,
        now: Instant,
        due: Instant,
        outbox: &Outbox,
    ) -> Result<bool, Failure> {
        let (place, record) = self.next(number, now);
        let delivery = self.producer.send(record).await?;
        Ok(outbox.note(place, delivery, due).await)
    }

    /// Sends a record and awaits its acknowledgement.
    pub(super) async fn send_and_wait(&mut self, number: u64, now: Instant) -> Result<(), Failure> {
        let (_, record) = self.next(number, now);
        self.producer.send(record).await?.await?;
        Ok(())
    }

    /// Sends what lingers; errors are told by the deliveries.
    pub(super) async fn close(&self) {
        let _ = self.producer.close().await;
    }

    fn next(&mut self, number: u64, now: Instant) -> (usize, ProducerRecord) {
        // The list is never empty, and never longer than 32 bits count.
        let place = (number % self.partitions.len().max(1) as u64) as usize;
        // One clock read a record is enough: this one follows from the first.
        let elapsed = now.saturating_duration_since(self.began).as_millis();
        let timestamp = self.began_ms.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX));
        let record = Record::new(self.payload.next(), timestamp);
        (place, ProducerRecord { partition: self.partitions.get(place).copied(), record })
    }
}

/// Produces as fast as acknowledgements allow, spread evenly over producers and partitions.
pub(super) async fn produce(
    context: &Context,
    client: &Client,
    info: &TopicInfo,
    until: Until,
    load: &Load,
) -> Result<Produced, Failure> {
    let shares = load.shares(context, client, info).await?;
    let began = Instant::now();
    let mut running = JoinSet::new();
    for share in shares {
        running.spawn(run(share, until, began));
    }
    Ok(load.produced(Measured::gather(running).await?, began))
}

async fn run(mut share: Share, until: Until, began: Instant) -> Result<Measured, Failure> {
    let (outbox, acks) = acks(share.partitions(), began);
    let (messages, end) = match until {
        Until::Messages(messages) => (messages_of(share.task, share.tasks, messages), None),
        Until::Time(time) => (u64::MAX, began.checked_add(time)),
    };
    let sending = async move {
        for number in 0..messages {
            let now = Instant::now();
            let over = end.is_some_and(|end| now >= end);
            if over || !share.send(number, now, now, &outbox).await? {
                break;
            }
        }
        drop(outbox);
        share.close().await;
        Ok(())
    };
    let ((), measured) = tokio::try_join!(sending, acks.measure())?;
    Ok(measured)
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
