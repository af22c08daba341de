//! Somebody who creates a topic, writes to it, reads it back, deletes it, and begins again under the same name.
//!
//! These topics are not in the history, which is of those that stay: what is wrong with them is a defect of the run.

use std::time::Duration;

use quorate::{Client, Error, ErrorCode, Position, Record, TopicConfig, TopicName};
use quorate_faulty_vfs::SplitMix64;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{Process, producers::TIMESTAMP_MS};
use crate::{chaos::cluster::connect, history::Value};

const NAME: &str = "shop/passing";
const RECORDS_MAX: u64 = 200;
/// For each step, its retries included.
const STEP_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// What must not be. What faults explain is not.
struct Wrong(String);

/// Who does it.
struct Owner {
    process: Process,
    client: Client,
    name: TopicName,
    random: SplitMix64,
    /// Of the last record sent.
    number: u64,
}

pub(super) async fn start(process: Process) -> Result<JoinHandle<()>, String> {
    let client = connect(&process.servers, STEP_MAX).await?;
    let name = TopicName::parse(NAME).map_err(|error| error.to_string())?;
    let random = SplitMix64::stream(process.seed, u64::from(process.number) + 1);
    let mut owner = Owner { process, client, name, random, number: 0 };
    Ok(tokio::spawn(async move {
        while !*owner.process.stopped.borrow() {
            if let Err(Wrong(why)) = owner.round().await {
                owner.process.defects.add(format!("topic {}: {why}", owner.name));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }))
}

/// Whether an error is one that faults explain.
fn passing(what: &str, error: &Error) -> Result<(), Wrong> {
    match error.is_retryable() {
        true => Ok(()),
        false => Err(Wrong(format!("it could not be {what}: {error}"))),
    }
}

impl Owner {
    async fn round(&mut self) -> Result<(), Wrong> {
        let partitions = 1 + self.random.below(3) as u32;
        let config = TopicConfig { partitions, replication_factor: 3, ..TopicConfig::default() };
        match self.client.create_topic(&self.name, config).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(ErrorCode::TopicExists) => return self.delete().await,
            Err(error) => return passing("created", &error),
        }
        let before = self.number;
        let acknowledged = self.write().await.unwrap_or_else(|why| {
            tracing::debug!(why, "a passing topic was not written to");
            Vec::new()
        });
        if let Some(mut read) = self.read_back().await? {
            let lost: Vec<&Value> = acknowledged.iter().filter(|value| !read.contains(value)).collect();
            if let Some(first) = lost.first() {
                return Err(Wrong(format!("{} acknowledged records are not there, as {first}", lost.len())));
            }
            if let Some(old) = read.iter().find(|value| value.number <= before) {
                return Err(Wrong(format!("{old} of an earlier topic of that name is in it")));
            }
            let count = read.len();
            read.sort_unstable();
            read.dedup();
            if read.len() != count {
                return Err(Wrong(format!("{} records were read twice", count - read.len())));
            }
        }
        self.delete().await
    }

    /// Returns the values that were acknowledged.
    async fn write(&mut self) -> Result<Vec<Value>, String> {
        let builder = self.client.producer(&self.name).delivery_timeout(STEP_MAX);
        let producer = builder.build().await.map_err(|error| error.to_string())?;
        let mut sent = Vec::new();
        for _ in 0..1 + self.random.below(RECORDS_MAX) {
            self.number += 1;
            let value = Value { process: self.process.number, number: self.number };
            let record = Record::new(value.encode(), TIMESTAMP_MS).with_key(self.number.to_string());
            sent.push((value, producer.send(record.into()).await.map_err(|error| error.to_string())?));
        }
        let mut acknowledged = Vec::new();
        for (value, delivery) in sent {
            if delivery.await.is_ok() {
                acknowledged.push(value);
            }
        }
        Ok(acknowledged)
    }

    /// All records up to the linearizable end; nothing if that takes too long.
    async fn read_back(&self) -> Result<Option<Vec<Value>>, Wrong> {
        let deadline = Instant::now() + STEP_MAX;
        let reading = async {
            let Ok(mut consumer) = self.client.consumer(&self.name).until(Position::Last).build().await else {
                return Ok(None);
            };
            let mut read = Vec::new();
            while !consumer.is_done() {
                match consumer.poll(PAUSE).await {
                    Ok(polled) => {
                        read.extend(polled.iter().filter_map(|record| Value::decode(record.record.value.as_deref()?)));
                    }
                    Err(error @ (Error::Corrupt { .. } | Error::OffsetsNotDense { .. })) => {
                        return Err(Wrong(error.to_string()));
                    }
                    // It goes on where it was.
                    Err(error) => tracing::debug!(%error, "a passing topic is not read just now"),
                }
            }
            Ok(Some(read))
        };
        timeout_at(deadline, reading).await.unwrap_or(Ok(None))
    }

    async fn delete(&self) -> Result<(), Wrong> {
        while !*self.process.stopped.borrow() {
            match self.client.delete_topic(&self.name).await {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.code(), Some(ErrorCode::UnknownTopic | ErrorCode::TopicDeleted)) => {
                    return Ok(());
                }
                Err(error) => passing("deleted", &error)?,
            }
        }
        Ok(())
    }
}
