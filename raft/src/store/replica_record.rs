//! Creation records: which replicas a node holds. They tell a replica that is new from one that has lost its log.
//!
//! ```text
//! key    'r'  replica id u64 big-endian
//! value  bincode of ReplicaRecord
//! ```

use std::sync::Arc;

use quorate_cluster_config::{GroupId, ReplicaId};
use serde::{Deserialize, Serialize};

use super::{KvBatch, KvError, KvStore, family};
use crate::types::Members;

/// How far the creation of a replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaPhase {
    /// Decided; there may be a log or not.
    Creating,
    /// The log exists on stable storage. Without one the replica is damaged, never new.
    Created,
    /// The replica is no part of its group any more, and its files were left as they are: nothing reads them.
    SetAside,
}

/// A replica on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRecord {
    /// The replica.
    pub replica: ReplicaId,
    /// What it was when its log was made: its directory has that name. Another one only where the group went on from this
    /// replica alone.
    pub log: ReplicaId,
    /// Its group.
    pub group: GroupId,
    /// How far its creation has come.
    pub phase: ReplicaPhase,
    /// The group's first replicas: the group may be initialized with exactly these.
    pub first_members: Members,
    /// Bytes of a segment of its log.
    pub segment_bytes: u64,
}

/// The creation records of a node.
#[derive(Clone, Debug)]
pub struct ReplicaRecords(Arc<dyn KvStore>);

fn key(replica: ReplicaId) -> Vec<u8> {
    [&[family::REPLICA][..], &replica.0.to_be_bytes()].concat()
}

impl ReplicaRecords {
    /// The records in a store.
    #[must_use]
    pub fn new(store: Arc<dyn KvStore>) -> Self {
        Self(store)
    }

    /// The record of a replica.
    ///
    /// # Errors
    /// When the store fails or the record is malformed.
    pub fn get(&self, replica: ReplicaId) -> Result<Option<ReplicaRecord>, KvError> {
        self.0.get(&key(replica))?.map(|value| decode(&value)).transpose()
    }

    /// All records, by replica id.
    ///
    /// # Errors
    /// As [`ReplicaRecords::get`].
    pub fn all(&self) -> Result<Vec<ReplicaRecord>, KvError> {
        self.0.scan(&[family::REPLICA])?.iter().map(|(_, value)| decode(value)).collect()
    }

    /// Writes a record down durably.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put(&self, record: &ReplicaRecord) -> Result<(), KvError> {
        let value = bincode::serialize(record).map_err(|error| KvError(error.to_string()))?;
        self.0.write(KvBatch::default().put(key(record.replica), value))?;
        self.0.flush()
    }

    /// Has a replica be another one from now on, durably and in one step.
    ///
    /// # Errors
    /// When the store fails.
    pub fn rename(&self, known: &ReplicaRecord, new: ReplicaId) -> Result<ReplicaRecord, KvError> {
        let record = ReplicaRecord { replica: new, first_members: Members::new(), ..known.clone() };
        let value = bincode::serialize(&record).map_err(|error| KvError(error.to_string()))?;
        let marks = super::CommittedMarks(self.0.clone());
        let batch = KvBatch::default().put(key(new), value).delete(key(known.replica));
        self.0.write(marks.renamed(batch, known.replica, new)?)?;
        self.0.flush()?;
        Ok(record)
    }

    /// Forgets a replica durably, once its tombstone is committed and its files are gone.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove(&self, replica: ReplicaId) -> Result<(), KvError> {
        super::CommittedMarks(self.0.clone()).forget(replica)?;
        self.0.write(KvBatch::default().delete(key(replica)))?;
        self.0.flush()
    }
}

fn decode(value: &[u8]) -> Result<ReplicaRecord, KvError> {
    bincode::deserialize(value).map_err(|error| KvError(format!("a creation record is malformed: {error}")))
}
