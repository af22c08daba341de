//! The producer table: what a partition remembers of each producer to tell a retry from a new batch.
//!
//! The rules are those of Kafka's idempotent producer (KIP-98), except that the table never evicts: it changes only
//! by entries of the log.

use std::collections::HashMap;

use quorate_cluster_config::limits::{BATCHES_IN_FLIGHT_MAX, PRODUCERS_PER_PARTITION_MAX};

/// A batch that a producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The sequence of its first record.
    pub first_sequence: i32,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The offset of its first record.
    pub base_offset: u64,
    /// Its log index.
    pub index: u64,
}

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its newest epoch.
    pub epoch: i16,
    /// The leader's clock at its last batch, milliseconds since 1970.
    pub last_time_ms: i64,
    /// Its last batches in that epoch, oldest first: as many as it may have in flight.
    written: [Option<Written>; BATCHES_IN_FLIGHT_MAX],
}

impl ProducerEntry {
    /// A producer that has written nothing in this epoch.
    #[must_use]
    pub fn new(epoch: i16) -> Self {
        Self { epoch, last_time_ms: 0, written: [None; BATCHES_IN_FLIGHT_MAX] }
    }

    /// The batch of exactly these sequences, if it is among the last.
    #[must_use]
    pub fn find(&self, first_sequence: i32, last_sequence: i32) -> Option<Written> {
        let same =
            |written: &Written| (written.first_sequence, written.last_sequence) == (first_sequence, last_sequence);
        self.written().find(|written| same(written)).copied()
    }

    /// The last batches, oldest first.
    pub fn written(&self) -> impl Iterator<Item = &Written> {
        self.written.iter().flatten()
    }

    /// The last batch.
    #[must_use]
    pub fn last(&self) -> Option<&Written> {
        self.written.last().and_then(Option::as_ref)
    }

    /// The sequence the next batch must begin with. Sequences wrap around to 0.
    #[must_use]
    pub fn next_sequence(&self) -> i32 {
        self.last().map_or(0, |last| last.last_sequence.checked_add(1).unwrap_or(0))
    }

    /// Remembers one more batch, with the leader's clock then, and forgets the oldest.
    #[must_use]
    pub fn with(mut self, written: Written, leader_time_ms: i64) -> Self {
        self.last_time_ms = leader_time_ms;
        self.written.rotate_left(1);
        if let Some(last) = self.written.last_mut() {
            *last = Some(written);
        }
        self
    }
}

/// All producers of a partition, by producer id; at most `PRODUCERS_PER_PARTITION_MAX`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable(HashMap<i64, ProducerEntry>);

impl ProducerTable {
    /// What is known of a producer.
    #[must_use]
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.0.get(&producer_id)
    }

    /// All producers with their ids, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.0.iter().map(|(id, producer)| (*id, producer))
    }

    /// Whether no further producer can be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= PRODUCERS_PER_PARTITION_MAX
    }

    /// Sets or (with `None`) removes what is known of a producer, and returns what was known before.
    pub fn set(&mut self, producer_id: i64, entry: Option<ProducerEntry>) -> Option<ProducerEntry> {
        match entry {
            Some(entry) => self.0.insert(producer_id, entry),
            None => self.0.remove(&producer_id),
        }
    }
}
