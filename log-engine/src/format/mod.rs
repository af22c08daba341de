//! The disk format, in one place: version 1.
//!
//! A replica's log is a directory of files named by a segment's number in 20 digits:
//!
//! | file | holds | made |
//! |---|---|---|
//! | `N.log` | a segment: its header ([`SegmentHeader`]), then frames ([`FrameHeader`]), then zeros | at the roll to it |
//! | `N.index` | the sparse index of a finished segment ([`SparseIndex`]) | after the roll away from it |
//! | `N.checkpoint` | the caller's state before the segment's first entry ([`Checkpoint`]) | after the roll to it |
//! | `….new` | a file that was not finished: an index, a checkpoint or a repaired segment | renamed when it is whole |
//!
//! The segments are the log; the rest only saves time and can be made again, except that a checkpoint is all that is
//! left of entries which were trimmed away. All integers are little-endian; the record batch inside a frame is Kafka's
//! and big-endian. Every structure names its format and ends with a CRC-32C.
//!
//! *A segment is sealed* by its successor's header, which names the byte position where it ends and the checksum of its
//! last frame header; that header is durable only after the bytes it vouches for. Bytes behind the end are stale or zero.
//!
//! *Local frames* ([`Vote`], [`LogStart`]) stand between the entries and take no log index. Both are repeated in the
//! header of each segment, so that older segments may go.
//!
//! *Checksums of frame headers are salted* with that of their segment's header: a frame of another segment, or one that
//! a record carries in its value, is no frame here.
//!
//! *A repaired segment* ([`crate::RepairReport`]) is in no way another one to those who read it: the same header
//! checksum, seal and length. To keep the chain of checksums, 4 reserved bytes of a rebuilt frame header, and the vote
//! term of a rebuilt segment header without a vote, hold whatever makes the checksum the old one; log starts fill the
//! place of local frames that are lost.
//!
//! Builds read every released version from 1 on; the fixture of each is in `tests/fixtures/`. Version 0 was never
//! released and is refused.

mod bytes_at;
mod checkpoint;
mod correction;
mod frame_error;
mod frame_header;
mod index_file;
mod local;
mod segment_header;

pub use checkpoint::{Checkpoint, CheckpointError, SegmentExtent, TermStart};
pub use frame_error::FrameError;
pub use frame_header::{FRAME_HEADER_SIZE, FrameHeader, FrameKind};
pub use index_file::{IndexFile, IndexFileError, IndexPoint, SparseIndex};
pub use local::{LogStart, Vote};
pub use segment_header::{PreviousSegment, SEGMENT_HEADER_SIZE, SegmentHeader, SegmentHeaderError};

pub(crate) use frame_header::{BATCH_FRAME_SIZE_MIN, DurableMark, Place};
pub(crate) use local::{LOCAL_FRAME_SIZE, encode_local};

/// The disk and wire format this build writes.
pub const FORMAT: u8 = 1;

/// Frames start at multiples of this many bytes within a segment.
pub(crate) const ALIGNMENT: u64 = 8;

/// No number, index, offset or position comes near this: sums of two cannot overflow.
pub(crate) const VALUE_MAX: u64 = u64::MAX >> 1;

/// Stands for "none" in 64-bit fields.
const NONE: u64 = u64::MAX;

/// The files that belong to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Segment,
    Index,
    Checkpoint,
}

impl FileKind {
    fn extension(self) -> &'static str {
        match self {
            Self::Segment => "log",
            Self::Index => "index",
            Self::Checkpoint => "checkpoint",
        }
    }

    /// The path of the file of this kind of a segment.
    pub(crate) fn path(self, directory: &std::path::Path, number: u64) -> std::path::PathBuf {
        directory.join(format!("{number:020}.{}", self.extension()))
    }

    /// What a file name says: kind and number, or `None` for a name the engine does not give.
    pub(crate) fn of(file_name: &str) -> Option<(Self, u64)> {
        let (digits, extension) = file_name.split_once('.')?;
        let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| is_number)?;
        let kinds = [Self::Segment, Self::Index, Self::Checkpoint];
        kinds.into_iter().find(|kind| kind.extension() == extension).map(|kind| (kind, number))
    }
}

/// The suffix of a file that is not finished.
pub(crate) const UNFINISHED_SUFFIX: &str = ".new";
