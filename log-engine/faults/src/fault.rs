//! What goes wrong.

use std::{io, time::Duration};

use crate::filter::{Kinds, OperationKind};

/// The longest delay of one operation by one fault.
pub const DELAY_MAX: Duration = Duration::from_secs(10);

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error, as EIO is, and no effect. After it a file's unsynced pages look clean and are not on the disk: later
    /// syncs say nothing of them, and the next power cut loses them. What a directory has unsynced waits for the next
    /// sync.
    Broken,
    /// An error of the kind `StorageFull`; otherwise as [`Fault::Broken`]. For a disk that fills up and has room again
    /// see [`Disk::set_capacity`](crate::Disk::set_capacity).
    Full,
    /// Of a write: some of its first bytes are written, possibly none and never all, then it fails as
    /// [`Fault::Broken`] does.
    PartialWrite,
    /// Of a read: it returns fewer bytes than there are, and at least one.
    ShortRead,
    /// Of a read: one bit of what it returns is flipped. The disk is sound: the next read is right.
    FlipInRead,
    /// Of a read: one bit of what it returns is flipped, on the disk and for ever.
    FlipOnDisk,
    /// Of a sync: it returns success and makes nothing durable.
    IgnoredSync,
    /// It takes longer, by a time between these two, of at most [`DELAY_MAX`]; then it goes on to the next fault that
    /// strikes, or to success. The thread really sleeps.
    Slow {
        /// The shortest delay.
        min: Duration,
        /// The longest delay.
        max: Duration,
    },
}

impl Fault {
    /// The operations that can go wrong so.
    pub(crate) fn kinds(self) -> Kinds {
        match self {
            Self::Broken | Self::Full | Self::Slow { .. } => Kinds::of(&OperationKind::ALL),
            Self::PartialWrite => Kinds::of(&[OperationKind::Write]),
            Self::ShortRead | Self::FlipInRead | Self::FlipOnDisk => Kinds::of(&[OperationKind::Read]),
            Self::IgnoredSync => Kinds::of(&[OperationKind::SyncFile, OperationKind::SyncDirectory]),
        }
    }

    /// The error the operation fails with, if it does.
    pub(crate) fn error(self) -> Option<io::Error> {
        match self {
            Self::Broken | Self::PartialWrite => Some(io::Error::other("the disk is broken")),
            Self::Full => Some(full()),
            Self::ShortRead | Self::FlipInRead | Self::FlipOnDisk | Self::IgnoredSync | Self::Slow { .. } => None,
        }
    }
}

pub(crate) fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the disk is full")
}
