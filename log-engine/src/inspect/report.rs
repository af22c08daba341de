//! What an inspection tells. Plain values: how they are shown is the caller's business.

use std::{ops::Range, path::PathBuf};

use quorate_record::BatchHeader;

use crate::{FrameHeader, FrameKind, LogStart, SegmentHeader, TermStart, Vote};

/// How a log is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InspectOptions {
    /// Whether the payloads of the finished segments are read and checked too: all bytes of the log. Without it they are
    /// passed over, and only those of the active segment are checked.
    pub verify: bool,
}

/// A log as its files tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Its directory.
    pub directory: PathBuf,
    /// The replica; `None` if no segment header can be read.
    pub replica: Option<u64>,
    /// Whose replica that is.
    pub owner: Option<u128>,
    /// The last vote.
    pub vote: Option<Vote>,
    /// Where the log starts.
    pub start: LogStart,
    /// One past the last log index.
    pub next_index: u64,
    /// The partition's end offset after the last entry.
    pub end_offset: u64,
    /// The terms' first entries, ascending, as far as the files tell.
    pub terms: Vec<TermStart>,
    /// The greatest log index that a frame calls durable.
    pub durable_through: Option<u64>,
    /// Files of the log.
    pub file_count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The frames of the segments on the chain.
    pub frames: FrameCounts,
    /// The segments by number: those on the chain, and files and gaps besides.
    pub segments: Vec<SegmentInspection>,
    /// Files that are no part of the log: the next open removes them.
    pub leftover: Vec<PathBuf>,
    /// How the log ends.
    pub tail: Tail,
    /// What was found damaged, at most [`Inspection::DAMAGE_MAX`] places.
    pub damage: Vec<Damage>,
    /// Places found damaged beyond those.
    pub damage_left_out: u64,
    /// Whether somebody wrote to the log meanwhile. Then missing files are not called damage.
    pub in_motion: bool,
    /// What the next open would do; `None` if the log is in motion.
    pub next_open: Option<NextOpen>,
}

impl Inspection {
    /// Damaged places that are told one by one.
    pub const DAMAGE_MAX: usize = 1_000;

    /// Whether nothing is damaged and the log would open. A torn tail is the trace of a crash, and no damage.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && !matches!(self.next_open, Some(NextOpen::Refused(_)))
    }
}

/// Frames, counted by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    by_kind: [u64; Self::KINDS.len()],
    /// Batches that were rejected.
    pub rejected: u64,
}

impl FrameCounts {
    const KINDS: [FrameKind; 8] = [
        FrameKind::Batch,
        FrameKind::Membership,
        FrameKind::Blank,
        FrameKind::Trim,
        FrameKind::ProducerExpiry,
        FrameKind::Vote,
        FrameKind::Command,
        FrameKind::Start,
    ];

    pub(super) fn count(&mut self, header: &FrameHeader) {
        for (count, kind) in self.by_kind.iter_mut().zip(Self::KINDS) {
            *count += u64::from(kind == header.kind);
        }
        self.rejected += u64::from(header.rejected);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.by_kind.iter_mut().zip(other.by_kind) {
            *count += more;
        }
        self.rejected += other.rejected;
    }

    /// Each kind and how many frames there are of it.
    pub fn iter(&self) -> impl Iterator<Item = (FrameKind, u64)> {
        Self::KINDS.into_iter().zip(self.by_kind)
    }

    /// Frames of one kind.
    #[must_use]
    pub fn of(&self, kind: FrameKind) -> u64 {
        self.iter().filter(|(other, _)| *other == kind).map(|(_, count)| count).sum()
    }

    /// Frames that take a log index.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.iter().filter(|(kind, _)| kind.is_entry()).map(|(_, count)| count).sum()
    }
}

/// A segment file, or one that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// Its number.
    pub number: u64,
    /// Its path.
    pub path: PathBuf,
    /// What it is to the log.
    pub state: SegmentState,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Its header, if that is sound.
    pub header: Option<SegmentHeader>,
    /// What part of the log it holds, if that can be told.
    pub span: Option<SegmentSpan>,
    /// Its frames with sound headers.
    pub frames: FrameCounts,
    /// Bytes at the end of the file that were written with zeros ahead.
    pub zero_bytes: u64,
    /// Bytes of the active segment behind the last sound frame that are not those zeros.
    pub torn_bytes: u64,
    /// Bytes of another segment behind its end: truncated away.
    pub stale_bytes: u64,
    /// Its sparse index: the number of points.
    pub index: SideFile<usize>,
    /// The checkpoint before its first entry.
    pub checkpoint: SideFile<CheckpointSummary>,
}

/// What a segment file is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// The newest, which is written.
    Active,
    /// On the chain and finished.
    Sealed,
    /// On the chain, but wholly before the start of the log: to be removed.
    Trimmed,
    /// On the chain, and the file is not there.
    Missing,
    /// Not on the chain: truncated away, trimmed away, or cut off by damage to a later header.
    OffChain,
    /// Zeros: made ahead for the next roll, or left by a crash.
    Unfinished,
    /// Not on the chain, and its header cannot be read.
    Unreadable,
}

/// A segment's part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSpan {
    /// The first log index it may hold.
    pub base_index: u64,
    /// One past its last log index.
    pub end_index: u64,
    /// The partition's end offset before its first entry.
    pub base_offset: u64,
    /// The partition's end offset after its last entry.
    pub end_offset: u64,
    /// The greatest leader time before its first entry, milliseconds since 1970; 0 if none.
    pub base_time_ms: i64,
    /// The greatest leader time up to its last entry.
    pub time_ms: i64,
    /// The byte position behind its last frame.
    pub end_position: u64,
}

/// The file of an index or a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideFile<T> {
    /// There is none.
    Absent,
    /// It is whole and belongs to the segment.
    Sound(T),
    /// What is wrong with it.
    Damaged(String),
    /// There is one, but no segment that can be read.
    Unclaimed,
}

/// What a checkpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// Bytes of the caller's state.
    pub state_bytes: usize,
    /// Terms that began before.
    pub terms: usize,
    /// Segments before.
    pub segments: usize,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With its last frame.
    Clean,
    /// With bytes that no frame says were on stable storage: what a crash leaves, and the next open cuts off.
    Torn {
        /// The byte position in the active segment.
        position: u64,
        /// Bytes from there on that are not zero.
        bytes: u64,
        /// What is wrong with them.
        reason: String,
    },
    /// The first damage in the active segment to bytes that were on stable storage: an open is refused.
    Corrupt {
        /// The byte position in the active segment.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// With a frame that was just being written.
    InMotion,
}

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The byte position.
    pub position: u64,
    /// The log indexes that are lost with it; may be empty.
    pub indexes: Range<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What the next open would do, for a replica that knows all that is on stable storage to be settled: it begins at the
/// newest checkpoint, and damage to finished segments before it is met by reads and the scrub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextOpen {
    /// It succeeds.
    Opens {
        /// The first log index that is scanned.
        scanned_from: u64,
        /// Bytes of a torn tail that are cut off.
        torn_bytes: u64,
    },
    /// It is refused, for this reason.
    Refused(String),
}

/// A frame with a sound header.
#[derive(Clone, Debug)]
pub struct InspectedFrame {
    /// The number of its segment.
    pub segment: u64,
    /// Whether that is on the chain.
    pub on_chain: bool,
    /// Its byte position.
    pub position: u64,
    /// Its bytes, padding included.
    pub bytes: u64,
    /// Its header.
    pub header: FrameHeader,
    /// The header of its batch, if it holds one.
    pub batch: Option<BatchHeader>,
    /// The partition's end offset before it and after it. Behind damage, only a batch that was not rejected tells.
    pub offsets: Range<u64>,
}
