//! One thing that happens to the disk.

use std::{fmt, path::Path, sync::Arc};

use crate::{filter::OperationKind, power_cut::PowerCut};

/// A file, whatever its name is now. Never used twice on one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) usize);

/// What a sync did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncEffect {
    /// All that was asked of it.
    Durable,
    /// It returned an error. What a file had unsynced is given up: it is seen until the next power cut and never gets
    /// to the disk, unless it is written again. A directory's changes wait for the next sync.
    Failed,
    /// It returned success and did nothing; see [`Disk::ignore_syncs`](crate::Disk::ignore_syncs).
    Ignored,
}

/// One change of the disk, with all that is needed to do it again. Positions and sizes are bytes; the path of a file is
/// the one it had then.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Operation {
    /// A directory was created durably, and those above it that were missing.
    CreateDirectory { path: Arc<Path> },
    /// A directory without files was removed durably. That of one with files begins with the removal of these.
    RemoveDirectory { path: Arc<Path> },
    /// A file was created.
    Create { path: Arc<Path>, file: FileId },
    /// Bytes were written.
    Write { path: Arc<Path>, file: FileId, position: u64, bytes: Arc<Vec<u8>> },
    /// A file was cut or lengthened to a size.
    Truncate { path: Arc<Path>, file: FileId, size: u64 },
    /// A file's data was synced.
    SyncFile { path: Arc<Path>, file: FileId, effect: SyncEffect },
    /// A directory's names were synced.
    SyncDirectory { path: Arc<Path>, effect: SyncEffect },
    /// A file got another name.
    Rename { from: Arc<Path>, to: Arc<Path> },
    /// A file was removed.
    Remove { path: Arc<Path> },
    /// Bits of one byte were flipped, wherever it is.
    Flip { path: Arc<Path>, file: FileId, position: u64, mask: u8 },
    /// The test put other bytes into a file.
    Damage { path: Arc<Path>, file: FileId, live: Arc<Vec<u8>>, durable: Arc<Vec<u8>> },
    /// The test made a file disappear.
    Lose { path: Arc<Path> },
    /// The power failed.
    PowerCut(PowerCut),
}

impl Operation {
    /// What a process asked for; nothing for what the test did to the disk.
    #[must_use]
    pub fn kind(&self) -> Option<OperationKind> {
        match self {
            Self::CreateDirectory { .. } => Some(OperationKind::CreateDirectory),
            Self::RemoveDirectory { .. } | Self::Remove { .. } => Some(OperationKind::Remove),
            Self::Create { .. } => Some(OperationKind::Create),
            Self::Write { .. } => Some(OperationKind::Write),
            Self::Truncate { .. } => Some(OperationKind::Truncate),
            Self::SyncFile { .. } => Some(OperationKind::SyncFile),
            Self::SyncDirectory { .. } => Some(OperationKind::SyncDirectory),
            Self::Rename { .. } => Some(OperationKind::Rename),
            Self::Flip { .. } | Self::Damage { .. } | Self::Lose { .. } | Self::PowerCut(_) => None,
        }
    }

    /// The file or directory it is about; of a rename the old name. Nothing for a power cut.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::CreateDirectory { path }
            | Self::RemoveDirectory { path }
            | Self::Create { path, .. }
            | Self::Write { path, .. }
            | Self::Truncate { path, .. }
            | Self::SyncFile { path, .. }
            | Self::SyncDirectory { path, .. }
            | Self::Rename { from: path, .. }
            | Self::Remove { path }
            | Self::Flip { path, .. }
            | Self::Damage { path, .. }
            | Self::Lose { path } => Some(path),
            Self::PowerCut(_) => None,
        }
    }
}

/// One line, without the bytes.
impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDirectory { path } => write!(formatter, "create directory {}", path.display()),
            Self::RemoveDirectory { path } => write!(formatter, "remove directory {}", path.display()),
            Self::Create { path, .. } => write!(formatter, "create {}", path.display()),
            Self::Write { path, position, bytes, .. } => {
                write!(formatter, "write {} bytes at {position} of {}", bytes.len(), path.display())
            }
            Self::Truncate { path, size, .. } => write!(formatter, "truncate {} to {size} bytes", path.display()),
            Self::SyncFile { path, effect, .. } => write!(formatter, "sync {}: {effect:?}", path.display()),
            Self::SyncDirectory { path, effect } => {
                write!(formatter, "sync directory {}: {effect:?}", path.display())
            }
            Self::Rename { from, to } => write!(formatter, "rename {} to {}", from.display(), to.display()),
            Self::Remove { path } => write!(formatter, "remove {}", path.display()),
            Self::Flip { path, position, mask, .. } => {
                write!(formatter, "flip {mask:#04x} at {position} of {}", path.display())
            }
            Self::Damage { path, .. } => write!(formatter, "damage {}", path.display()),
            Self::Lose { path } => write!(formatter, "lose {}", path.display()),
            Self::PowerCut(cut) => write!(formatter, "power cut: {cut:?}"),
        }
    }
}
