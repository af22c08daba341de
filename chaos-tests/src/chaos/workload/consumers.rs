//! Consumers that read a topic from its first record on, without pause. Some of them go back now and then.

use std::time::Duration;

use quorate::{ConsumedRecord, Consumer, Error, ErrorCode, PartitionIndex, Position, TopicName};
use quorate_faulty_vfs::SplitMix64;
use tokio::task::JoinHandle;

use super::{Process, TIMEOUT, partitions_of};
use crate::{
    chaos::cluster::{connect, topic_name},
    history::{Call, Outcome, PartitionKey, Read, Value},
};

const POLL_WAIT: Duration = Duration::from_millis(200);
/// After an error; the client has waited already if waiting may help.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// A consumer that goes back does so once in so many polls.
const SEEK_ONCE_IN: u64 = 100;
/// And by at most so many records.
const SEEK_RECORDS_MAX: u64 = 500;

pub(super) async fn start(process: Process, topic: u32, seeks: bool) -> Result<JoinHandle<()>, String> {
    let client = connect(&process.servers, TIMEOUT).await?;
    let builder = client.consumer(&topic_name(topic)?).from(Position::First).max_wait(POLL_WAIT);
    let consumer = builder.build().await.map_err(|error| error.to_string())?;
    Ok(tokio::spawn(consume(process, consumer, topic, seeks)))
}

async fn consume(process: Process, mut consumer: Consumer, topic: u32, seeks: bool) {
    let mut random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
    let partitions: Vec<PartitionKey> = partitions_of(topic).collect();
    for partition in &partitions {
        let offset = consumer.position(partition.index).unwrap_or_default();
        process.recorder.record(process.number, *partition, process.recorder.now_ns(), Call::Seek { offset });
    }
    while !*process.stopped.borrow() {
        if seeks && random.chance(1, SEEK_ONCE_IN) {
            let partition = partitions[random.below(partitions.len() as u64) as usize];
            seek(&process, &mut consumer, partition, random.below(SEEK_RECORDS_MAX)).await;
        }
        let invoked_ns = process.recorder.now_ns();
        match consumer.poll(POLL_WAIT).await {
            Ok(records) => record(&process, topic, invoked_ns, &records),
            Err(error) => {
                if let Some(Overtaken { index, log_start, .. }) = overtaken(&process, topic, invoked_ns, &error) {
                    go_to(&process, &mut consumer, PartitionKey { topic, index }, log_start).await;
                } else {
                    note(&process, topic, invoked_ns, &error);
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }
}

/// A poll brings records of one partition.
fn record(process: &Process, topic: u32, invoked_ns: u64, records: &[ConsumedRecord]) {
    for of_partition in records.chunk_by(|one, other| one.partition == other.partition) {
        let reads: Vec<Read> = of_partition.iter().map(read).collect();
        let partition = PartitionKey { topic, index: of_partition[0].partition };
        process.recorder.record(process.number, partition, invoked_ns, Call::Poll { outcome: Outcome::Ok(reads) });
    }
}

/// A record as history has it.
pub(in crate::chaos) fn read(record: &ConsumedRecord) -> Read {
    (record.offset, record.record.value.as_deref().and_then(Value::decode))
}

async fn seek(process: &Process, consumer: &mut Consumer, partition: PartitionKey, back: u64) {
    let offset = consumer.position(partition.index).unwrap_or_default().saturating_sub(back);
    go_to(process, consumer, partition, offset).await;
}

async fn go_to(process: &Process, consumer: &mut Consumer, partition: PartitionKey, offset: u64) {
    let invoked_ns = process.recorder.now_ns();
    if consumer.seek(partition.index, Position::Offset(offset)).await.is_ok() {
        process.recorder.record(process.number, partition, invoked_ns, Call::Seek { offset });
    }
}

/// What a reader was to read next is deleted.
pub(super) struct Overtaken<'a> {
    pub(super) topic: Option<&'a TopicName>,
    pub(super) index: PartitionIndex,
    /// The first offset that is left.
    pub(super) log_start: u64,
}

/// Whether a poll failed because of that.
pub(super) fn as_overtaken(error: &Error) -> Option<(Overtaken<'_>, u64)> {
    let Error::OffsetOutOfRange { place, offset, log_start_offset, .. } = error else { return None };
    let overtaken = Overtaken {
        topic: place.topic.as_ref(),
        index: place.partition.unwrap_or_default(),
        log_start: *log_start_offset,
    };
    (offset < log_start_offset).then_some((overtaken, *offset))
}

/// Whether a poll failed because of that; if so, history has it.
fn overtaken<'a>(process: &Process, topic: u32, invoked_ns: u64, error: &'a Error) -> Option<Overtaken<'a>> {
    let (overtaken, offset) = as_overtaken(error)?;
    let partition = PartitionKey { topic, index: overtaken.index };
    let call = Call::Deleted { offset, log_start: overtaken.log_start };
    process.recorder.record(process.number, partition, invoked_ns, call);
    Some(overtaken)
}

/// A failed poll of a member of a group. It is told no offsets that it would have to go on from.
pub(super) fn note_of_member(process: &Process, error: &Error) {
    match error {
        Error::OffsetsNotDense { .. } | Error::Corrupt { .. } => {
            process.defects.add(format!("member {}: {error}", process.number));
        }
        _ if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
            process.defects.add(format!("member {} is beyond the end: {error}", process.number));
        }
        _ => tracing::debug!(member = process.number, %error),
    }
}

/// A failed poll has no effects. Some failures must not come about.
fn note(process: &Process, topic: u32, invoked_ns: u64, error: &Error) {
    match error {
        Error::OffsetsNotDense { place, expected, first, .. } => {
            let partition = PartitionKey { topic, index: place.partition.unwrap_or_default() };
            let call = Call::BrokenPoll { expected: *expected, found: *first };
            process.recorder.record(process.number, partition, invoked_ns, call);
        }
        Error::Corrupt { .. } => process.defects.add(format!("consumer {}: {error}", process.number)),
        // What it polled lay below the end.
        _ if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
            process.defects.add(format!("consumer {} is beyond the end: {error}", process.number));
        }
        _ => tracing::debug!(consumer = process.number, %error),
    }
}
