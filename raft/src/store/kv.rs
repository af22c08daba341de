//! The keyed store as the system uses it: one of the seams at which tests put faults.

use std::fmt::Debug;

/// The keyed store failed; the text is its own.
#[derive(Clone, Debug, thiserror::Error)]
#[error("keyed store: {0}")]
pub struct KvError(pub String);

/// Writes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvBatch {
    /// Keys to set.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys to remove.
    pub deletes: Vec<Vec<u8>>,
}

impl KvBatch {
    /// Sets a key.
    #[must_use]
    pub fn put(mut self, key: Vec<u8>, value: Vec<u8>) -> Self {
        self.puts.push((key, value));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, key: Vec<u8>) -> Self {
        self.deletes.push(key);
        self
    }
}

/// An ordered map of byte strings. Calls block.
pub trait KvStore: Debug + Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// See [`KvError`].
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// All keys with this prefix and their values, ascending.
    ///
    /// # Errors
    /// See [`KvError`].
    #[expect(clippy::type_complexity, reason = "a list of pairs says it best")]
    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, KvError>;

    /// Writes a batch. It can be read at once; a crash may lose it, and every later one with it, until
    /// [`KvStore::flush`] returns.
    ///
    /// # Errors
    /// See [`KvError`].
    fn write(&self, batch: KvBatch) -> Result<(), KvError>;

    /// Brings all batches written so far to stable storage.
    ///
    /// # Errors
    /// See [`KvError`].
    fn flush(&self) -> Result<(), KvError>;
}
