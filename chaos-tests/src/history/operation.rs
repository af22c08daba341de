//! One operation of one process.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::Value;

/// A partition of one of the run's topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct PartitionKey {
    /// The topic's number, from 0.
    pub topic: u32,
    /// The partition's index.
    pub index: u32,
}

impl From<(u32, u32)> for PartitionKey {
    fn from((topic, index): (u32, u32)) -> Self {
        Self { topic, index }
    }
}

impl From<PartitionKey> for (u32, u32) {
    fn from(key: PartitionKey) -> Self {
        (key.topic, key.index)
    }
}

impl Display for PartitionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "topic {} partition {}", self.topic, self.index)
    }
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome<T> {
    /// It was done, with this result.
    Ok(T),
    /// It was provably not done.
    Fail(String),
    /// Nobody knows.
    Info(String),
}

impl<T> Outcome<T> {
    /// The result, if it was done.
    pub fn ok(&self) -> Option<&T> {
        match self {
            Self::Ok(result) => Some(result),
            Self::Fail(_) | Self::Info(_) => None,
        }
    }
}

/// A record as read: its offset, and its value unless nobody can have written such bytes.
pub type Read = (u64, Option<Value>);

/// An operation with its times: nanoseconds since the run began, by one monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who did it. A process does one operation after the other, except that a producer's sends overlap.
    pub process: u32,
    /// The partition it was about.
    pub partition: PartitionKey,
    /// Before anything was done.
    pub invoked_ns: u64,
    /// After its end was known.
    pub completed_ns: u64,
    /// What it was.
    #[serde(flatten)]
    pub call: Call,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    /// A record was sent; its offset.
    Send {
        /// Its number among the process's records.
        number: u64,
        /// Its offset.
        outcome: Outcome<u64>,
    },
    /// A record was sent to be appended at one offset or not at all; its offset.
    Append {
        /// Its number among the process's records.
        number: u64,
        /// The offset it was to get.
        expected: u64,
        /// Its offset.
        outcome: Outcome<u64>,
    },
    /// A consumer went on reading.
    Poll {
        /// What came, in order.
        outcome: Outcome<Vec<Read>>,
    },
    /// The consumer got other offsets than those that follow, and its client noticed.
    BrokenPoll {
        /// The offset that had to come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// A consumer was told to go on from here.
    Seek {
        /// The next offset it reads.
        offset: u64,
    },
    /// A member of a group was given the partition: it reads from where the group has come to.
    Assigned {
        /// The group.
        group: u32,
    },
    /// A member of a group committed how far it has come.
    Commit {
        /// The group.
        group: u32,
        /// The next offset that the group reads.
        offset: u64,
        /// Whether it was done.
        outcome: Outcome<()>,
    },
    /// A linearizable read of what a group has committed.
    Committed {
        /// The group.
        group: u32,
        /// The next offset that the group reads, if it has committed one.
        outcome: Outcome<Option<u64>>,
    },
    /// A linearizable read of the end offset.
    EndOffset {
        /// The first offset not yet committed.
        outcome: Outcome<u64>,
    },
    /// The records before an offset were to be deleted; the first offset that is left.
    Trim {
        /// Before which.
        before: u64,
        /// The first offset that is left.
        outcome: Outcome<u64>,
    },
    /// A consumer was told that what it was to read next is deleted.
    Deleted {
        /// What it was to read next.
        offset: u64,
        /// The first offset that is said to be left.
        log_start: u64,
    },
    /// After all faults and all sends, the partition was read from its first to its end offset by a fresh client.
    Drain {
        /// All of its records.
        outcome: Outcome<Vec<Read>>,
    },
    /// After that, the same was read from the replica on one node.
    DrainOfNode {
        /// The node.
        node: u64,
        /// All of its records, in short.
        outcome: Outcome<Digest>,
    },
    /// After all nodes had stopped, a replica's log was read from its files.
    Replica {
        /// The node it is on.
        node: u64,
        /// What it holds, by log index; unknown where its files were altered on purpose and cannot be read.
        outcome: Outcome<ReplicaLog>,
    },
}

impl Call {
    /// The offset of a write that was acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Self::Send { outcome, .. } | Self::Append { outcome, .. } => outcome.ok().copied(),
            _ => None,
        }
    }
}

/// What was read, in short: the same records at the same offsets in the same order have the same digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many records.
    pub records: u64,
    /// A hash of their offsets and values.
    pub hash: u64,
}

impl Digest {
    /// Of no record.
    pub const EMPTY: Self = Self { records: 0, hash: FNV_OFFSET };

    /// With one more record.
    #[must_use]
    pub fn with(self, (offset, value): &Read) -> Self {
        let (process, number) = value.map_or((u32::MAX, u64::MAX), Into::into);
        let parts = [&offset.to_le_bytes()[..], &process.to_le_bytes(), &number.to_le_bytes()];
        Self { records: self.records + 1, hash: parts.into_iter().fold(self.hash, fnv1a) }
    }

    /// Of these records.
    #[must_use]
    pub fn of(reads: &[Read]) -> Self {
        reads.iter().fold(Self::EMPTY, Self::with)
    }
}

/// What a hash begins with.
pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on with a hash of Fowler, Noll and Vo, 64 bits: it has to be the same in every build, and nobody attacks it.
pub(crate) fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The entries of a replica's log, by log index, ascending.
pub type ReplicaLog = Vec<LogEntry>;

/// An entry of a replica's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64, u64)", into = "(u64, u64, u64, u64)")]
pub struct LogEntry {
    /// Its log index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The partition's end offset after it.
    pub end_offset: u64,
    /// A hash of all it holds that replicas have in common.
    pub hash: u64,
}

impl From<(u64, u64, u64, u64)> for LogEntry {
    fn from((index, term, end_offset, hash): (u64, u64, u64, u64)) -> Self {
        Self { index, term, end_offset, hash }
    }
}

impl From<LogEntry> for (u64, u64, u64, u64) {
    fn from(entry: LogEntry) -> Self {
        (entry.index, entry.term, entry.end_offset, entry.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_its_authors() {
        assert_eq!(fnv1a(FNV_OFFSET, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
    }
}
