//! Why a segment was not repaired.

use std::{io, ops::Range, path::PathBuf};

use crate::{LogFailure, ReadError};

/// Why a segment was not repaired. Whatever the error, the segment is as it was, unless [`RepairError::Io`] says of the
/// log's directory that it could not be synced: then either file may be there after a crash.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The segment is not on the chain, is the active one or is not on stable storage as a whole. The active one can be
    /// repaired after [`crate::Log::seal`].
    #[error("segment {segment} is not a finished segment of the log")]
    NotFinished {
        /// Its number.
        segment: u64,
    },
    /// The segment was trimmed or truncated, as a whole or in part, or the log was closed, while it was being repaired.
    #[error("segment {segment} is not the same part of the log any more")]
    Outdated {
        /// Its number.
        segment: u64,
    },
    /// The caller could not get the entries.
    #[error("log indexes {indexes:?} could not be fetched: {source}")]
    Fetch {
        /// What was asked for.
        indexes: Range<u64>,
        /// What the caller said.
        source: io::Error,
    },
    /// An entry that was fetched is not the one that was lost.
    #[error("the entry fetched for log index {index} is refused: {reason}")]
    Refused {
        /// The log index asked for.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The entries fetched do not fill their place exactly, with whole local frames between.
    #[error("{path}: log indexes {indexes:?} do not fit into bytes {positions:?}: {reason}", path = path.display())]
    Misfit {
        /// The segment file.
        path: PathBuf,
        /// The bytes that are lost.
        positions: Range<u64>,
        /// The log indexes that are lost with them.
        indexes: Range<u64>,
        /// What does not fit.
        reason: String,
    },
    /// What is sound of the segment, or the repaired file when it was read again as a whole, is not what the rest of the
    /// log says that it is.
    #[error("{path}: the segment does not fit into the log: {reason}", path = path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The log is poisoned.
    #[error(transparent)]
    Failed(LogFailure),
    /// The file system failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RepairError {
    let path = path.into();
    move |source| RepairError::Io { path, source }
}

/// An error of a read that no lost bytes explain.
pub(super) fn unread(path: &std::path::Path, error: ReadError) -> RepairError {
    match error {
        ReadError::Io { path, source } => RepairError::Io { path, source },
        error => RepairError::Unfit { path: path.to_owned(), reason: error.to_string() },
    }
}
