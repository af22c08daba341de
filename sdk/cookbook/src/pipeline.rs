//! A replayable pipeline into a database, exactly once: the offsets are stored in the same transaction as the results.
//!
//! Whenever the process dies, the database says what was done, results and offsets alike. To compute everything anew,
//! delete the database: the records are still there.

use std::{path::Path, time::Duration};

use quorate::{Client, ConsumedRecord, Consumer, PartitionId, Position, TopicName};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::Error;

/// How many records each key has had, in a table of SQLite.
#[derive(Debug)]
pub struct Pipeline {
    consumer: Consumer,
    database: Connection,
}

impl Pipeline {
    /// Goes on where the database says.
    ///
    /// # Errors
    /// If the database or the topic cannot be opened.
    pub async fn open(client: &Client, topic: &TopicName, path: &Path) -> Result<Self, Error> {
        let database = Connection::open(path)?;
        database.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS counts (key TEXT PRIMARY KEY, records INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS offsets (topic INTEGER, partition INTEGER, next INTEGER NOT NULL,
                                                 PRIMARY KEY (topic, partition));",
        )?;
        let mut consumer = client.consumer(topic).from(Position::First).build().await?;
        let topic = client.topic(topic).await?;
        for index in 0..topic.config.partitions {
            if let Some(next) = stored_offset(&database, PartitionId { topic: topic.id, index })? {
                consumer.seek(index, Position::Offset(next)).await?;
            }
        }
        Ok(Self { consumer, database })
    }

    /// Takes in what comes within `wait`; returns how many records that were.
    ///
    /// # Errors
    /// If the topic cannot be read or the database cannot be written: then nothing of it was done, and a pipeline that is
    /// opened anew does it.
    pub async fn step(&mut self, wait: Duration) -> Result<usize, Error> {
        let records = self.consumer.poll(wait).await?;
        let Some((first, last)) = records.first().zip(records.last()) else { return Ok(0) };
        let partition = last.id();
        // SQLite waits for the disk; a service would give it a thread of its own.
        let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(next) = stored_offset(&transaction, partition)?
            && next != first.offset
        {
            let found = first.offset;
            return Err(
                format!("partition {partition} goes on at {next}, not {found}: is another pipeline at work?").into()
            );
        }
        for record in &records {
            transaction.execute(
                "INSERT INTO counts VALUES (?1, 1) ON CONFLICT (key) DO UPDATE SET records = records + 1",
                params![key(record)],
            )?;
        }
        transaction.execute(
            "INSERT INTO offsets VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET next = excluded.next",
            params![i64::try_from(partition.topic.0)?, partition.index, i64::try_from(last.offset + 1)?],
        )?;
        transaction.commit()?;
        Ok(records.len())
    }

    /// How many records a key has had.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn count(&self, key: &str) -> Result<u64, Error> {
        let query = "SELECT records FROM counts WHERE key = ?1";
        let count: Option<i64> = self.database.query_row(query, params![key], |row| row.get(0)).optional()?;
        Ok(u64::try_from(count.unwrap_or(0))?)
    }
}

fn stored_offset(database: &Connection, partition: PartitionId) -> Result<Option<u64>, Error> {
    let query = "SELECT next FROM offsets WHERE topic = ?1 AND partition = ?2";
    let of = params![i64::try_from(partition.topic.0)?, partition.index];
    let next: Option<i64> = database.query_row(query, of, |row| row.get(0)).optional()?;
    Ok(next.map(u64::try_from).transpose()?)
}

fn key(record: &ConsumedRecord) -> String {
    String::from_utf8_lossy(record.record.key.as_deref().unwrap_or_default()).into_owned()
}
