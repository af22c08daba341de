//! Audit trail: entries that nobody can change, leave out or reorder unnoticed.
//!
//! Each entry carries the SHA-256 of its text together with the hash of the entry before it. Whoever keeps the last hash
//! elsewhere (prints it, mails it, signs it) can later show that everything up to it is as it was. The log already keeps
//! what was acknowledged; the chain shows what somebody with access to the disks has done.

use std::time::Duration;

use futures::StreamExt;
use quorate::{Client, ErrorCode, Header, OffsetQuery, Position, Record, TopicName};
use sha2::{Digest, Sha256};

use crate::{Error, unix_time_ms};

/// The header that holds the hash.
pub const CHAIN: &str = "chain-sha256";
/// The trail is one sequence.
const PARTITION: u32 = 0;
const TRIES_MAX: usize = 100;
const READ_WAIT: Duration = Duration::from_secs(10);

/// A SHA-256.
pub type Hash = [u8; 32];

/// What a verification has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// So many entries, and the hash of the last one.
    Intact {
        /// How many.
        entries: u64,
        /// Of the last one; zeros if there is none.
        last: Hash,
    },
    /// The first entry that does not fit what was before it.
    Broken {
        /// Its offset.
        offset: u64,
    },
}

/// The hash of an entry behind another one.
#[must_use]
pub fn chain(before: &Hash, entry: &[u8]) -> Hash {
    Sha256::new().chain_update(before).chain_update(entry).finalize().into()
}

/// Appends an entry; returns its offset and its hash.
///
/// # Errors
/// If the trail cannot be read or written, or is broken at its end.
pub async fn append(client: &Client, topic: &TopicName, entry: &str) -> Result<(u64, Hash), Error> {
    let producer = client.producer(topic).build().await?;
    for _ in 0..TRIES_MAX {
        let end = client.offset(topic, PARTITION, OffsetQuery::Last).await?;
        let hash = chain(&last_hash(client, topic, end).await?, entry.as_bytes());
        let mut record = Record::new(entry.to_owned(), unix_time_ms());
        record.headers.push(Header { key: CHAIN.to_owned(), value: Some(hash.to_vec().into()) });
        match producer.send_batch_at(PARTITION, end, &[record]).await {
            Ok(at) => return Ok((at.offset, hash)),
            // Somebody else has appended in between: the chain goes on behind that.
            Err(error) if error.code() == Some(ErrorCode::EndOffsetMismatch) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(format!("gave up after {TRIES_MAX} tries: others were always quicker").into())
}

async fn last_hash(client: &Client, topic: &TopicName, end: u64) -> Result<Hash, Error> {
    let Some(last) = end.checked_sub(1) else { return Ok([0; 32]) };
    let mut consumer = client.consumer(topic).partitions(vec![PARTITION]).from(Position::Offset(last)).build().await?;
    let polled = consumer.poll(READ_WAIT).await?;
    let record = polled.iter().find(|record| record.offset == last).ok_or("the last entry could not be read")?;
    hash_of(&record.record).ok_or_else(|| format!("the entry at offset {last} has no hash").into())
}

fn hash_of(record: &Record) -> Option<Hash> {
    let header = record.headers.iter().find(|header| header.key == CHAIN)?;
    header.value.as_deref()?.try_into().ok()
}

/// Reads the whole trail and follows the chain.
///
/// # Errors
/// If the trail cannot be read.
pub async fn verify(client: &Client, topic: &TopicName) -> Result<Verified, Error> {
    let consumer = client.consumer(topic).partitions(vec![PARTITION]).until(Position::Last);
    let mut entries = consumer.build().await?;
    let (mut last, mut count) = ([0; 32], 0);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let hash = chain(&last, entry.record.value.as_deref().unwrap_or_default());
        if hash_of(&entry.record) != Some(hash) {
            return Ok(Verified::Broken { offset: entry.offset });
        }
        (last, count) = (hash, count + 1);
    }
    Ok(Verified::Intact { entries: count, last })
}

/// As people write it.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
