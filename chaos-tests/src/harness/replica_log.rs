//! What a replica's log holds, read from the files of a stopped node.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use quorate_cluster_config::ClusterId;
use quorate_log_engine::{EngineOptions, Log, LogEngine, LogOptions, RealVfs, RecoveredEntry, Recovery};

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

/// All entries met.
struct Entries(Vec<LoggedEntry>);

impl Recovery for Entries {
    fn restore(&mut self, next_index: u64, _: Bytes) -> Result<(), String> {
        Err(format!("the entries before log index {next_index} are gone"))
    }

    fn entry(&mut self, entry: RecoveredEntry<'_>) -> Result<(), String> {
        let content = format!("{:?} {:?} {:?}", entry.header.kind, entry.batch, entry.payload);
        let id = (entry.header.index, entry.header.term);
        self.0.push(LoggedEntry { id, content, is_batch: entry.batch.is_some() });
        Ok(())
    }
}

/// All entries of the replica of this id in its directory.
///
/// # Panics
/// If the log does not open.
#[must_use]
pub fn read_replica(directory: &Path, cluster: ClusterId, replica: u64) -> Vec<LoggedEntry> {
    let options = LogOptions {
        replica,
        owner: cluster.0,
        segment_bytes: 1 << 30,
        payload_bytes_max: 64 << 20,
        must_exist: true,
        // Nothing is known to be settled: the log is read from its beginning.
        settled_through: None,
    };
    let mut entries = Entries(Vec::new());
    let engine = LogEngine::start(EngineOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let opened = Log::open(&engine, Arc::new(RealVfs), directory, &options, &mut entries);
    drop(opened.unwrap_or_else(|error| panic!("{error}")));
    entries.0
}
