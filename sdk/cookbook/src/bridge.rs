//! A bridge between two topics, exactly once: between clusters, or to reshape what another team writes.
//!
//! Each record is copied to the partition of the same number, with the offset it came from in a header. A bridge that starts
//! reads the last record of the destination to learn how far its predecessor has come, and appends only where the destination
//! ends as it knows: two bridges at the same time do not copy anything twice.

use std::time::Duration;

use quorate::{Client, ConsumedRecord, ErrorCode, Header, OffsetQuery, PartitionIndex, Position, Record, TopicName};

use crate::Error;

/// The header that holds the offset in the source, eight bytes, big-endian.
pub const SOURCE_OFFSET: &str = "source-offset";
const READ_WAIT: Duration = Duration::from_secs(10);
/// Records appended at once, and bytes of their values, unless one record has more.
const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

/// From where to where.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Where it reads.
    pub source: (Client, TopicName),
    /// Where it writes: a topic that nobody else writes to, with as many partitions.
    pub destination: (Client, TopicName),
}

impl Bridge {
    /// Copies what one partition holds and is not copied yet; returns how many records that were.
    ///
    /// # Errors
    /// If one of the topics cannot be read or written. What was copied until then stays, and is not copied again.
    pub async fn copy(&self, partition: PartitionIndex) -> Result<u64, Error> {
        let (to, to_topic) = &self.destination;
        let producer = to.producer(to_topic).build().await?;
        let mut copied = 0;
        'anew: loop {
            let mut end = to.offset(to_topic, partition, OffsetQuery::Last).await?;
            let next = self.next_source_offset(partition, end).await?;
            let (from, from_topic) = &self.source;
            let consumer = from.consumer(from_topic).partitions(vec![partition]);
            let mut consumer = consumer.from(next).until(Position::Last).build().await?;
            while !consumer.is_done() {
                let polled = consumer.poll(READ_WAIT).await?;
                let mut polled = polled.into_iter().peekable();
                while polled.peek().is_some() {
                    let (mut records, mut bytes) = (Vec::new(), 0);
                    while records.len() < BATCH_RECORDS
                        && let Some(record) =
                            polled.next_if(|record| records.is_empty() || bytes + size(record) <= BATCH_BYTES)
                    {
                        bytes += size(&record);
                        records.push(marked(record.record, record.offset));
                    }
                    match producer.send_batch_at(partition, end, &records).await {
                        Ok(_) => {
                            end += records.len() as u64;
                            copied += records.len() as u64;
                        }
                        // Another bridge was quicker: look again how far they have come.
                        Err(error) if error.code() == Some(ErrorCode::EndOffsetMismatch) => continue 'anew,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            return Ok(copied);
        }
    }

    /// Where the source goes on behind what the destination holds up to `end`.
    async fn next_source_offset(&self, partition: PartitionIndex, end: u64) -> Result<Position, Error> {
        let Some(last) = end.checked_sub(1) else { return Ok(Position::First) };
        let (to, topic) = &self.destination;
        let consumer = to.consumer(topic).partitions(vec![partition]).from(Position::Offset(last));
        let polled = consumer.build().await?.poll(READ_WAIT).await?;
        let record = polled.iter().find(|record| record.offset == last).ok_or("the last copy could not be read")?;
        // The last one is ours: the source may be the destination of another bridge.
        let header = record.record.headers.iter().rfind(|header| header.key == SOURCE_OFFSET);
        let offset = header.and_then(|header| header.value.as_deref()?.try_into().ok().map(u64::from_be_bytes));
        let offset = offset.ok_or_else(|| format!("the record at offset {last} is none of a bridge"))?;
        Ok(Position::Offset(offset + 1))
    }
}

fn size(record: &ConsumedRecord) -> usize {
    let Record { key, value, .. } = &record.record;
    key.as_ref().map_or(0, |key| key.len()) + value.as_ref().map_or(0, |value| value.len())
}

fn marked(mut record: Record, offset: u64) -> Record {
    let value = Some(offset.to_be_bytes().to_vec().into());
    record.headers.push(Header { key: SOURCE_OFFSET.to_owned(), value });
    record
}
