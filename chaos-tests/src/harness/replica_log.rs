//! What a replica's log holds, read from the files of a stopped node.

use std::{path::Path, sync::Arc};

use quorate_log_engine::{Log, LogOptions, LogWriters, RealVfs, RecoveredEntry, TailCache};

/// An entry, comparable between replicas: what is stamped locally is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEntry {
    /// Log index and term.
    pub id: (u64, u64),
    /// Its kind and what it holds, but of a batch its header alone, CRC included.
    pub content: String,
    /// Whether it is a record batch.
    pub is_batch: bool,
}

/// All entries of the replica of this id in its directory.
///
/// # Panics
/// If the log does not open.
#[must_use]
pub fn read_replica(directory: &Path, replica: u64) -> Vec<LoggedEntry> {
    let options = LogOptions {
        replica,
        segment_bytes: 1 << 30,
        payload_bytes_max: 64 << 20,
        must_exist: true,
        durable_through: None,
    };
    let mut entries = Vec::new();
    let mut visit = |entry: RecoveredEntry<'_>| {
        let content = format!("{:?} {:?} {:?}", entry.header.kind, entry.batch, entry.payload);
        let id = (entry.header.index, entry.header.term);
        entries.push(LoggedEntry { id, content, is_batch: entry.batch.is_some() });
    };
    let writers = LogWriters::start(1).unwrap_or_else(|error| panic!("{error}"));
    let cache = TailCache::new(0);
    let opened = Log::open(Arc::new(RealVfs), directory, &options, &writers, &cache, &mut visit);
    drop(opened.unwrap_or_else(|error| panic!("{error}")));
    entries
}
