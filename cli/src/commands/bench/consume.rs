//! `quorate bench consume`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use quorate::{Client, Consumer, Position, TopicInfo};
use quorate_cluster_config::TopicName;

use super::load::{self, Load, Until};
use super::report::{Report, Workload};
use super::topic::{FreshTopic, with_topic};
use crate::context::Context;
use crate::error::Failure;

const MESSAGES_DEFAULT: u64 = 400_000;
/// How long one poll waits; a longer wait is several polls.
const POLL_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "\
Reads all partitions with one consumer. A fresh topic is filled first, as `bench produce` would; that is not \
timed. The time runs from the first poll to the last record. Sizes are those of the values; with --raw, of \
the batches as the disk holds them.

Examples:
  quorate bench consume
  quorate bench consume --topic orders --raw --output json")]
pub(crate) struct ConsumeArgs {
    /// Read this existing topic [default: a fresh one, filled first and deleted at the end]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["fresh", "load"])]
    topic: Option<TopicName>,
    #[command(flatten)]
    fresh: FreshTopic,
    /// How many messages to read in all [default: 400000; with --topic: all there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Receive and verify batches, but do not take them apart into records
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    load: Load,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    messages: u64,
    bytes: u64,
}

pub(crate) async fn run(context: &Context, args: ConsumeArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let report = with_topic(context, &client, args.topic.as_ref(), &args.fresh, async |info| {
        if args.topic.is_none() {
            let until = Until::Messages(args.messages.unwrap_or(MESSAGES_DEFAULT));
            load::produce(context, &client, info, until, &args.load).await?;
        }
        measure(&context.renewed(), &client, info, args.messages, args.raw).await
    });
    context.show(&report.await?)
}

async fn measure(
    context: &Context,
    client: &Client,
    info: &TopicInfo,
    wanted: Option<u64>,
    raw: bool,
) -> Result<Report, Failure> {
    let building = client.consumer(&info.name).from(Position::First).build();
    let mut consumer = context.within("setting up the consumer", building).await?;
    let available = available(context, &consumer).await?;
    let wanted = wanted.unwrap_or(available);
    if available == 0 || wanted > available {
        return Err(Failure::message(format!(
            "topic {} holds {available} records, fewer than to be read, fill it with `quorate bench produce --topic {}`",
            info.name, info.name
        )));
    }
    let partitions = 0..info.config.partitions;
    let mut positions = partitions.filter_map(|partition| Some((partition, consumer.position(partition)?))).collect();
    let began = Instant::now();
    let mut progress = began;
    let mut read = Read::default();
    while read.messages < wanted {
        let more = if raw { poll_raw(&mut consumer, &mut positions).await? } else { poll(&mut consumer).await? };
        if more.messages > 0 {
            progress = Instant::now();
        } else if progress.elapsed() >= context.timeout() {
            let timeout = humantime::format_duration(context.timeout());
            return Err(Failure::message(format!("no records for {timeout}, look at `quorate cluster health`")));
        }
        read = Read { messages: read.messages + more.messages, bytes: read.bytes + more.bytes };
    }
    let workload = Workload {
        name: "consume",
        messages: read.messages,
        bytes: read.bytes,
        partitions: info.config.partitions,
        replicas: info.config.replication_factor,
    };
    Ok(Report::new(workload, began.elapsed(), None))
}

/// The records between the consumer's positions and the ends.
async fn available(context: &Context, consumer: &Consumer) -> Result<u64, Failure> {
    let ends = context.within("asking for the offsets", consumer.end_offsets()).await?;
    let unread = |(partition, end): (u32, u64)| end.saturating_sub(consumer.position(partition).unwrap_or(end));
    Ok(ends.into_iter().map(unread).sum())
}

async fn poll(consumer: &mut Consumer) -> Result<Read, Failure> {
    let records = consumer.poll(POLL_WAIT).await?;
    let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len) as u64;
    let bytes = records.iter().map(|consumed| size(&consumed.record.key) + size(&consumed.record.value)).sum();
    Ok(Read { messages: records.len() as u64, bytes })
}

async fn poll_raw(consumer: &mut Consumer, positions: &mut BTreeMap<u32, u64>) -> Result<Read, Failure> {
    let mut read = Read::default();
    for polled in consumer.poll_raw(POLL_WAIT).await? {
        // Offsets are dense, so their distance is the number of records.
        let position = positions.entry(polled.partition).or_insert(polled.next_offset);
        read.messages += polled.next_offset.saturating_sub(*position);
        read.bytes += polled.batches.len() as u64;
        *position = polled.next_offset;
    }
    Ok(read)
}
