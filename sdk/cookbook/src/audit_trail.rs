//! Audit trail: entries that nobody can change, leave out or reorder unnoticed.
//!
//! Each entry carries the SHA-256 of its offset and its text together with the hash of the entry before it. Whoever keeps the
//! last hash elsewhere (prints it, mails it, signs it) can later show that everything up to it is as it was ([`Known`]). The log already keeps
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

/// A hash that was kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The entry's offset.
    pub offset: u64,
    /// Its hash.
    pub hash: Hash,
}

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
    /// The chain fits, and it is another one than that which was kept: it was cut or made anew.
    Replaced,
}

/// The hash of an entry behind another one.
#[must_use]
pub fn chain(before: &Hash, offset: u64, entry: &[u8]) -> Hash {
    Sha256::new().chain_update(before).chain_update(offset.to_be_bytes()).chain_update(entry).finalize().into()
}

/// Appends an entry; returns its offset and its hash.
///
/// # Errors
/// If the trail cannot be read or written, or is broken at its end.
pub async fn append(client: &Client, topic: &TopicName, entry: &str) -> Result<(u64, Hash), Error> {
    let producer = client.producer(topic).build().await?;
    for _ in 0..TRIES_MAX {
        let end = client.offset(topic, PARTITION, OffsetQuery::Last).await?;
        let hash = chain(&last_hash(client, topic, end).await?, end, entry.as_bytes());
        let mut record = Record::new(entry.to_owned(), unix_time_ms());
        record.headers.push(Header { key: CHAIN.to_owned(), value: Some(hash.to_vec().into()) });
        match producer.send_batch_at(PARTITION, end, &[record]).await {
            Ok(at) => return Ok((at.offset, hash)),
            // Somebody else has appended in between: the chain goes on behind that. Unless it was us, by a try whose answer
            // was lost.
            Err(error) if error.code() == Some(ErrorCode::EndOffsetMismatch) => {
                if !error.has_no_side_effects() && last_hash(client, topic, end + 1).await? == hash {
                    return Ok((end, hash));
                }
            }
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

/// Reads the whole trail, follows the chain, and looks whether it holds what was kept elsewhere.
///
/// # Errors
/// If the trail cannot be read.
pub async fn verify(client: &Client, topic: &TopicName, known: Option<Known>) -> Result<Verified, Error> {
    let consumer = client.consumer(topic).partitions(vec![PARTITION]).until(Position::Last);
    let mut entries = consumer.build().await?;
    let (mut last, mut count, mut holds) = ([0; 32], 0, known.is_none());
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let hash = chain(&last, entry.offset, entry.record.value.as_deref().unwrap_or_default());
        if hash_of(&entry.record) != Some(hash) {
            return Ok(Verified::Broken { offset: entry.offset });
        }
        holds |= known == Some(Known { offset: entry.offset, hash });
        (last, count) = (hash, count + 1);
    }
    if !holds {
        return Ok(Verified::Replaced);
    }
    Ok(Verified::Intact { entries: count, last })
}

/// What [`hex`] has written.
///
/// # Errors
/// If it is no hash.
pub fn unhex(text: &str) -> Result<Hash, Error> {
    let digits = |at: usize| text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..32).map(digits).collect();
    let hash = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
    hash.ok_or_else(|| format!("{text} is no hash: it has 64 hexadecimal digits").into())
}

/// As people write it.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
