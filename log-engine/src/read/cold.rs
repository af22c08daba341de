//! Reading frames back from the disk, off the threads that must not block.

use crate::{
    Frame, ReadError,
    walk::{Stretch, Walk},
};

/// Bytes read ahead at least, to find small frames with few reads.
const CHUNK_MIN: u64 = 64 << 10;
/// Bytes read ahead at most.
const CHUNK_MAX: u64 = 1 << 20;

/// A read that must go to the disk. [`ColdRead::run`] blocks.
///
/// Invariant: all entries below `end_index` are on stable storage; what lies behind them may not be written yet.
#[derive(Clone, Debug)]
pub struct ColdRead {
    pub(crate) stretches: Vec<Stretch>,
    /// The first log index wanted, or 0.
    pub(crate) from_index: u64,
    /// Only frames that end behind this offset are wanted.
    pub(crate) behind_offset: Option<u64>,
    /// One past the last log index wanted.
    pub(crate) end_index: u64,
    pub(crate) bytes_max: usize,
    pub(crate) payload_bytes_max: u64,
}

impl ColdRead {
    /// Reads the frames wanted, at least one if there is one, at most `bytes_max` bytes beyond the first.
    ///
    /// # Errors
    /// See [`ReadError`]; every frame returned has passed all of its checksums.
    pub fn run(&self) -> Result<Vec<Frame>, ReadError> {
        let mut frames = Vec::new();
        let mut bytes = 0;
        let chunk = (self.bytes_max as u64).clamp(CHUNK_MIN, CHUNK_MAX);
        for stretch in &self.stretches {
            let mut walk = Walk::new(stretch, self.payload_bytes_max, chunk);
            while let Some((frame, _)) = walk.next()? {
                // The walk to an offset may begin at or behind the end: what is there may not be committed.
                if frame.index >= self.end_index {
                    return Ok(frames);
                }
                let last = frame.index + 1 == self.end_index;
                let wanted = frame.index >= self.from_index
                    && self.behind_offset.is_none_or(|offset| frame.next_offset > offset);
                if wanted {
                    bytes += frame.wire_size();
                    if bytes > self.bytes_max && !frames.is_empty() {
                        return Ok(frames);
                    }
                    frames.push(frame);
                }
                // What follows may not be written yet: stop without a look behind the last frame wanted.
                if last {
                    return Ok(frames);
                }
            }
        }
        Ok(frames)
    }
}
