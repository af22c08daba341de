//! The segment log of one replica on one disk: durable, self-checking, synchronous.
//!
//! A [`Log`] is a chain of segment files. Each segment is a header and then frames; each frame holds one log entry
//! or one vote and the checksum of the frame before it. Appends return at once and are written, synced and answered
//! by a small fixed set of threads ([`LogWriters`]) that serve all logs of a node, so that whatever queued up during
//! one `fdatasync` shares the next.
//!
//! *Architecture invariant:* bytes of a log are never overwritten. A truncation starts a new segment that names the
//! position where its predecessor ends, so stale frames stay behind where no recovery looks.
//!
//! Not here: Raft, networks, async. What an entry means (offsets, producers, membership) is the caller's business.

mod cache;
mod chain;
mod cold;
mod error;
mod frame;
mod frame_error;
mod frame_header;
mod log;
mod open;
mod real_vfs;
mod scan;
mod segment;
mod sparse;
mod state;
mod vfs;
mod vote;
mod walk;
mod writer;

pub use cache::TailCache;
pub use cold::ColdRead;
pub use error::{LogFailure, OpenError, ReadError};
pub use frame::{Frame, Stamp};
pub use frame_error::FrameError;
pub use frame_header::{FRAME_HEADER_SIZE, FrameHeader, FrameKind};
pub use log::{Log, LogOptions, ReadPlan, ReadStart};
pub use open::Opened;
pub use real_vfs::RealVfs;
pub use scan::RecoveredEntry;
pub use segment::{PreviousSegment, SEGMENT_HEADER_SIZE, SegmentHeader};
pub use vfs::{Vfs, VfsFile};
pub use vote::Vote;
pub use writer::{Completion, LogWriters, WriterStats};
