//! What can go wrong with a log on disk.

use std::{io, path::PathBuf, sync::Arc};

use crate::FrameError;

/// Why a log was not opened. In doubt it is refused: nothing is cut, renamed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The replica had a log, and it is gone.
    #[error("{path}: the log of this replica is missing although it was created: it is damaged, not new; put its directory back, or leave it to the other replicas", path = path.display())]
    Lost {
        /// The directory.
        path: PathBuf,
    },
    /// A segment header is damaged although the segment holds more.
    #[error("{path}: damaged segment header: {reason}", path = path.display())]
    SegmentHeader {
        /// The segment file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A segment that a later one names as its predecessor is missing.
    #[error("{path}: segment {missing} is missing", path = path.display())]
    SegmentMissing {
        /// The log's directory.
        path: PathBuf,
        /// The number of the missing segment.
        missing: u64,
    },
    /// Bytes that had been on stable storage are damaged.
    #[error("{path}: damaged at byte {position} (log index {log_index}), which had been on stable storage: {reason}", path = path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// The byte position of the damaged frame.
        position: u64,
        /// The log index expected there.
        log_index: u64,
        /// What is wrong.
        reason: String,
    },
    /// The log ends before an entry known to have been on stable storage.
    #[error("{path}: the log ends at log index {found:?} although it was on stable storage through {expected}", path = path.display())]
    TooShort {
        /// The log's directory.
        path: PathBuf,
        /// The last log index that must be there.
        expected: u64,
        /// The last log index found.
        found: Option<u64>,
    },
    /// Entries were trimmed away, and the checkpoint that stands for them is missing or damaged.
    #[error("{path}: no checkpoint stands for the entries before log index {index}, which were trimmed away; leave it to the other replicas", path = path.display())]
    NoCheckpoint {
        /// The log's directory.
        path: PathBuf,
        /// The first log index there is.
        index: u64,
    },
    /// What the log holds contradicts itself, as its caller says.
    #[error("{path}: {reason}", path = path.display())]
    Contradiction {
        /// The log's directory.
        path: PathBuf,
        /// What the caller says.
        reason: String,
    },
    /// Written by a build that this one does not understand.
    #[error("{path}: disk format {found} is not supported (this build: {supported}); use the build that wrote it", path = path.display())]
    Format {
        /// The segment file.
        path: PathBuf,
        /// The format found.
        found: u8,
        /// The format of this build.
        supported: u8,
    },
}

/// A write or an fsync failed: the log is poisoned and takes no further writes.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "a write failed, and the log takes no further ones: {reason}; mend the disk or make room, then restart the node"
)]
pub struct LogFailure {
    /// What failed, and how.
    pub reason: Arc<str>,
    /// Whether it was for want of room: then the log may be opened again once there is some.
    pub storage_full: bool,
}

impl From<LogFailure> for io::Error {
    fn from(failure: LogFailure) -> Self {
        Self::other(failure)
    }
}

/// Why entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The segment file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// A frame that should be there is damaged.
    #[error("{path}: damaged frame at byte {position} (log index {index}): {source}", path = path.display())]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// The position of the frame.
        position: u64,
        /// The log index expected there.
        index: u64,
        /// What is wrong with it.
        source: FrameError,
    },
    /// Since the read was planned, the segment was trimmed or truncated away, or its file was replaced by a repair. Not
    /// damage: the read is to be planned again.
    #[error("{path}: the segment was removed or replaced while it was to be read", path = path.display())]
    Outdated {
        /// The segment file.
        path: PathBuf,
    },
    /// A segment's file is not what it was.
    #[error("{path}: {reason}", path = path.display())]
    Segment {
        /// The segment file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ReadError {
    /// Whether the log has changed since the read was planned: what is still wanted is to be planned again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        matches!(self, Self::Outdated { .. })
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        Self::other(error)
    }
}
