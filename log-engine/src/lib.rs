//! The segment log of one replica on one disk: durable, self-checking, synchronous.
//!
//! A [`Log`] is a chain of segment files. Each segment is a header and then frames; each frame holds one log entry
//! or one vote and the checksum of the frame before it. Appends return at once and are written, synced and answered
//! by a small fixed set of threads of the node's [`LogEngine`], so that whatever queued up during one `fdatasync` shares
//! the next.
//!
//! *Architecture invariant:* bytes of a log are never overwritten. A truncation starts a new segment that names the
//! position where its predecessor ends, so stale frames stay behind where no recovery looks. A repair ([`Log::repair`])
//! writes a damaged segment anew, beside the old one, and puts it in its place when it is proven.
//!
//! Not here: Raft, networks, async. What an entry means (offsets, producers, membership) is the caller's business.

mod engine;
mod error;
mod format;
mod frame;
mod hole;
mod inspect;
mod log;
mod read;
mod recover;
mod repair;
mod scrub;
mod segment_file;
mod shared;
mod state;
mod vfs;
mod write;

pub use engine::{EngineOptions, EngineStats, LogEngine};
pub use error::{LogFailure, OpenError, ReadError};
pub use format::{
    Checkpoint, CheckpointError, FORMAT, FRAME_HEADER_SIZE, FrameError, FrameHeader, FrameKind, IndexFile,
    IndexFileError, IndexPoint, LogStart, PreviousSegment, SEGMENT_HEADER_SIZE, SegmentExtent, SegmentHeader,
    SegmentHeaderError, SparseIndex, TermStart, Vote,
};
pub use frame::{Frame, Stamp};
pub use hole::Hole;
pub use inspect::{
    CheckpointSummary, Damage, FrameCounts, InspectOptions, InspectedFrame, Inspection, NextOpen, SegmentInspection,
    SegmentSpan, SegmentState, SideFile, Tail, inspect,
};
pub use log::{Log, LogOptions, ReadPlan, ReadStart, SegmentInfo};
pub use read::ColdRead;
pub use recover::{Opened, RecoveredEntry, Recovery};
pub use repair::{DamagedSegment, RepairError, RepairReport};
pub use scrub::{ScrubOptions, ScrubReport};
pub use vfs::{RealVfs, Vfs, VfsFile};
pub use write::{Completion, SYNC_TIME_BOUNDS_US, SyncTimes, WriterStats};

use read::TailCache;
use write::LogWriters;
