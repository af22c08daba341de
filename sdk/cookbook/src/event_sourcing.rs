//! Event sourcing: accounts whose balances are what their events say.
//!
//! Whoever decides has read all events of the partition, and appends what follows from them under the condition that the
//! partition still ends where it has read to. Of two that decide at the same time one succeeds; the other reads on and
//! decides again. No lock, no database, and the history explains every balance.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use quorate::{Client, Consumer, ErrorCode, PartitionIndex, Position, Producer, Record, TopicName};
use serde::{Deserialize, Serialize};

use crate::{Error, unix_time_ms};

/// How long the rest of the events may take to read.
const READ_WAIT: Duration = Duration::from_secs(10);
/// How often it is decided anew because others were quicker.
const TRIES_MAX: usize = 100;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Money came.
    Deposited {
        /// To this account.
        account: String,
        /// In cents.
        cents: u64,
    },
    /// Money went.
    Withdrawn {
        /// From this account.
        account: String,
        /// In cents.
        cents: u64,
    },
}

/// An event as it is written down: whoever does not know whether it was appended looks for its id.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    id: String,
    #[serde(flatten)]
    event: Event,
}

/// Why nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The account has less.
    #[error("account {account} has {cents} cents only")]
    Overdrawn {
        /// The account.
        account: String,
        /// What it has.
        cents: u64,
    },
    /// Others were always quicker.
    #[error("gave up after {TRIES_MAX} tries: others were always quicker")]
    Busy,
    /// The log failed us.
    #[error(transparent)]
    Log(#[from] Error),
}

/// The accounts of one partition, as far as their events are read.
#[derive(Debug)]
pub struct Accounts {
    consumer: Consumer,
    producer: Producer,
    partition: PartitionIndex,
    balances: BTreeMap<String, u64>,
    /// The id that is about to be appended, until it is read.
    awaited: Option<String>,
}

impl Accounts {
    /// Rebuilds the accounts from their events.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn open(client: &Client, topic: &TopicName, partition: PartitionIndex) -> Result<Self, Error> {
        let consumer = client.consumer(topic).partitions(vec![partition]).from(Position::First).build().await?;
        let producer = client.producer(topic).build().await?;
        let mut accounts = Self { consumer, producer, partition, balances: BTreeMap::new(), awaited: None };
        accounts.catch_up().await?;
        Ok(accounts)
    }

    /// What an account has, in cents.
    #[must_use]
    pub fn balance(&self, account: &str) -> u64 {
        self.balances.get(account).copied().unwrap_or(0)
    }

    /// Withdraws, if there is enough.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn withdraw(&mut self, account: &str, cents: u64) -> Result<(), Refused> {
        self.decide(|accounts| match accounts.balance(account) {
            has if has < cents => Err(Refused::Overdrawn { account: account.to_owned(), cents: has }),
            _ => Ok(Event::Withdrawn { account: account.to_owned(), cents }),
        })
        .await
    }

    /// Deposits.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn deposit(&mut self, account: &str, cents: u64) -> Result<(), Refused> {
        self.decide(|_| Ok(Event::Deposited { account: account.to_owned(), cents })).await
    }

    /// Reads all there is, decides, and appends where nothing came in between.
    async fn decide(&mut self, decide: impl Fn(&Self) -> Result<Event, Refused>) -> Result<(), Refused> {
        let id = format!("{}-{:016x}", unix_time_ms(), RandomState::new().hash_one(self.partition));
        self.awaited = Some(id.clone());
        for _ in 0..TRIES_MAX {
            let end = self.catch_up().await?;
            // An earlier try whose answer was lost has done it.
            if self.awaited.is_none() {
                return Ok(());
            }
            let event = decide(self)?;
            let value = serde_json::to_vec(&Entry { id: id.clone(), event }).map_err(Error::from)?;
            let record = Record::new(value, unix_time_ms());
            match self.producer.send_batch_at(self.partition, end, &[record]).await {
                // It is read with the next events, at the latest before the next decision.
                Ok(_) => {
                    drop(self.catch_up().await);
                    return Ok(());
                }
                Err(error) if error.code() == Some(ErrorCode::EndOffsetMismatch) => {}
                Err(error) => return Err(Refused::Log(error.into())),
            }
        }
        Err(Refused::Busy)
    }

    /// Reads events up to the end, which it returns.
    async fn catch_up(&mut self) -> Result<u64, Error> {
        let ends = self.consumer.end_offsets().await?;
        let end = ends.get(&self.partition).copied().unwrap_or(0);
        while self.consumer.position(self.partition).is_some_and(|position| position < end) {
            for record in self.consumer.poll(READ_WAIT).await? {
                match serde_json::from_slice(&record.record.value.unwrap_or_default()) {
                    Ok(entry) => self.apply(entry),
                    Err(error) => {
                        // What is behind it is not skipped.
                        self.consumer.seek(self.partition, Position::Offset(record.offset)).await?;
                        return Err(format!("the record at offset {} is no event: {error}", record.offset).into());
                    }
                }
            }
        }
        Ok(self.consumer.position(self.partition).unwrap_or(end))
    }

    fn apply(&mut self, entry: Entry) {
        self.awaited.take_if(|awaited| *awaited == entry.id);
        match entry.event {
            Event::Deposited { account, cents } => *self.balances.entry(account).or_default() += cents,
            Event::Withdrawn { account, cents } => {
                let balance = self.balances.entry(account).or_default();
                *balance = balance.saturating_sub(cents);
            }
        }
    }
}
