//! RocksDB as the keyed store.

use std::path::Path;

use rocksdb::{DB, DBRecoveryMode, IteratorMode, Options, WriteBatch};

use super::{KvBatch, KvError, KvStore};

/// Open files of RocksDB at most.
const OPEN_FILES_MAX: i32 = 64;
/// Bytes of one memtable.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// RocksDB's own log files kept.
const INFO_LOGS_MAX: usize = 2;

/// [`KvStore`] on disk.
///
/// The write-ahead log is flushed by hand: what was not flushed is lost by a kill exactly as by a power cut, so that
/// killing a process tests the same promise.
#[derive(Debug)]
pub struct RocksStore(DB);

impl From<rocksdb::Error> for KvError {
    fn from(error: rocksdb::Error) -> Self {
        Self(error.into_string())
    }
}

impl RocksStore {
    /// Opens or creates the store in `directory`.
    ///
    /// # Errors
    /// When the directory is in use by another process, damaged or not writable.
    pub fn open(directory: &Path) -> Result<Self, KvError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_manual_wal_flush(true);
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_keep_log_file_num(INFO_LOGS_MAX);
        options.set_max_background_jobs(2);
        Ok(Self(DB::open(&options, directory)?))
    }
}

impl KvStore for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.get(key)?)
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, KvError> {
        let mut rows = Vec::new();
        for row in self.0.iterator(IteratorMode::From(prefix, rocksdb::Direction::Forward)) {
            let (key, value) = row?;
            if !key.starts_with(prefix) {
                break;
            }
            rows.push((key.into_vec(), value.into_vec()));
        }
        Ok(rows)
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        let mut writes = WriteBatch::default();
        batch.puts.iter().for_each(|(key, value)| writes.put(key, value));
        batch.deletes.iter().for_each(|key| writes.delete(key));
        Ok(self.0.write(writes)?)
    }

    fn flush(&self) -> Result<(), KvError> {
        Ok(self.0.flush_wal(true)?)
    }
}

impl Drop for RocksStore {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::error!(%error, "the keyed store was not flushed at the end");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn batches_are_read_back_in_key_order_and_survive_a_reopen() {
        let directory = tempfile::tempdir().unwrap();
        let store = RocksStore::open(directory.path()).unwrap();
        let batch = KvBatch::default().put(b"a2".into(), b"two".into()).put(b"a1".into(), b"one".into());
        store.write(batch.put(b"b".into(), b"other".into())).unwrap();
        store.write(KvBatch::default().delete(b"a2".into())).unwrap();
        store.flush().unwrap();
        drop(store);
        let store = RocksStore::open(directory.path()).unwrap();
        assert_eq!(store.scan(b"a").unwrap(), [(b"a1".to_vec(), b"one".to_vec())]);
        assert_eq!(store.get(b"b").unwrap(), Some(b"other".to_vec()));
    }

    #[test]
    fn a_store_in_use_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _store = RocksStore::open(directory.path()).unwrap();
        assert!(RocksStore::open(directory.path()).is_err());
    }
}
