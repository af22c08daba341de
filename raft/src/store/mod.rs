//! Small keyed state: the seam, RocksDB behind it, and one module a family of keys.

mod committed;
mod kv;
mod memory;
mod replica_record;
mod rocks;

pub(crate) use committed::CommittedMarks;
pub use kv::{KvBatch, KvError, KvStore};
pub use memory::MemoryStore;
pub use replica_record::{ReplicaPhase, ReplicaRecord, ReplicaRecords};
pub use rocks::RocksStore;

/// Key families, the first byte of every key.
pub(crate) mod family {
    /// See [`super::ReplicaRecords`].
    pub(crate) const REPLICA: u8 = b'r';
    /// See [`super::CommittedMarks`].
    pub(crate) const COMMITTED: u8 = b'c';
    /// See the metadata machine.
    pub(crate) const METADATA: u8 = b'm';
}

/// The family that a node may use for records of its own (its identity).
pub const FAMILY_NODE: u8 = b'n';
