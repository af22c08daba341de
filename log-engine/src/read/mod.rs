//! Reading entries back: the newest from memory, the rest from the disk off the threads that must not block.

mod cold;
mod open_segments;
mod tail;
mod walk;

pub use cold::ColdRead;
pub(crate) use cold::{Stretch, point_is_before};
pub(crate) use open_segments::{OpenSegments, open_segment_file};
pub(crate) use tail::{FrameEnd, Tail, TailCache};
pub(crate) use walk::{Found, Walk};
