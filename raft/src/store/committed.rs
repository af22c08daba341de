//! How far each replica's log was committed and durable when last written down.
//!
//! ```text
//! key    'c'  replica id u64 big-endian
//! value  term u64  log index u64          (little-endian)
//! ```
//! Written about once a second; an older mark only means that more is applied again at the next start.

use std::sync::Arc;

use quorate_cluster_config::ReplicaId;

use super::{KvBatch, KvError, KvStore, family};
use crate::types::{LogId, log_id};

#[derive(Clone, Debug)]
pub(crate) struct CommittedMarks(pub(crate) Arc<dyn KvStore>);

fn key(replica: ReplicaId) -> Vec<u8> {
    [&[family::COMMITTED][..], &replica.0.to_be_bytes()].concat()
}

impl CommittedMarks {
    pub(crate) fn get(&self, replica: ReplicaId) -> Result<Option<LogId>, KvError> {
        let Some(value) = self.0.get(&key(replica))? else {
            return Ok(None);
        };
        let value: [u8; 16] =
            value.try_into().map_err(|_| KvError(format!("the committed mark of replica {replica} is malformed")))?;
        let value = u128::from_le_bytes(value);
        Ok(Some(log_id(value as u64, (value >> 64) as u64)))
    }

    pub(crate) fn set(&self, replica: ReplicaId, committed: LogId) -> Result<(), KvError> {
        let value = u128::from(committed.leader_id.term) | u128::from(committed.index) << 64;
        self.0.write(KvBatch::default().put(key(replica), value.to_le_bytes().into()))
    }

    /// The batch, with the mark of one replica made that of another one.
    pub(crate) fn renamed(&self, batch: KvBatch, from: ReplicaId, to: ReplicaId) -> Result<KvBatch, KvError> {
        let batch = batch.delete(key(from));
        Ok(match self.0.get(&key(from))? {
            Some(mark) => batch.put(key(to), mark),
            None => batch,
        })
    }

    pub(crate) fn forget(&self, replica: ReplicaId) -> Result<(), KvError> {
        self.0.write(KvBatch::default().delete(key(replica)))
    }
}
