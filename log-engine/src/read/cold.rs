//! Reading entries back from the disk, off the threads that must not block.
//!
//! What was read is given up to the page cache behind each read. Readers of old records seldom meet, and a stream of them
//! would fill the memory of the machine with what nobody reads again; memory that is used again and again is also much
//! cheaper to read into than memory that the system must find first.

use std::sync::Arc;

use bytes::Bytes;

use super::{Found, Walk};
use crate::{
    Frame, IndexPoint, LogStart, ReadError, ReadStart, SegmentExtent, scrub, segment_file::SegmentFile, shared::Shared,
    vfs::VfsFile,
};

/// Bytes read at once at least, to find small frames with few reads.
const CHUNK_MIN: u64 = 64 << 10;
/// Bytes read at once at most.
const CHUNK_MAX: u64 = 1 << 20;
/// So much of what was read last is not given up: the next read begins at an index point before the end of this one.
const KEPT_BEHIND: u64 = 2 << 20;

/// A segment to read from.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) extent: SegmentExtent,
    /// Where to begin, of the active segment: its index is in the log's memory.
    pub(crate) point: Option<IndexPoint>,
    /// Whether another segment follows.
    pub(crate) finished: bool,
}

/// A read that must go to the disk. [`ColdRead::run`] blocks.
///
/// Invariant: all entries below `end_index` are on stable storage; what lies behind them may not be written yet.
#[derive(Clone, Debug)]
pub struct ColdRead {
    pub(crate) log: Arc<Shared>,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) start: ReadStart,
    /// Where the log started when the read was planned: no entry before that is wanted.
    pub(crate) log_start: LogStart,
    /// One past the last log index wanted.
    pub(crate) end_index: u64,
    pub(crate) bytes_max: usize,
    /// What was in memory, to be returned if there is nothing on the disk.
    pub(crate) otherwise: Vec<Frame>,
}

impl ColdRead {
    /// Reads the frames wanted, at least one if there is one, at most `bytes_max` bytes beyond the first. Together they
    /// hold on to at most twice the memory that their payloads take.
    ///
    /// # Errors
    /// See [`ReadError`]; every frame returned has passed all of its checksums. After [`ReadError::Outdated`] the read is
    /// to be planned again.
    pub fn run(&self) -> Result<Vec<Frame>, ReadError> {
        let mut frames = Vec::new();
        let mut bytes = 0;
        for (at, stretch) in self.stretches.iter().enumerate() {
            match self.read(stretch, at == 0, &mut frames, &mut bytes) {
                Ok(true) => {}
                Ok(false) => break,
                // What was read before the damage is sound: the next read will meet it first.
                Err(_) if !frames.is_empty() => break,
                // What goes wrong with a file that is not the log's any more says nothing of the log.
                Err(_) if !self.log.lock().has_file(&stretch.file) => {
                    return Err(ReadError::Outdated { path: stretch.file.path.clone() });
                }
                Err(error) => {
                    scrub::report(&self.log, stretch, &error);
                    return Err(error);
                }
            }
        }
        Ok(if frames.is_empty() { self.otherwise.clone() } else { frames })
    }

    /// Reads from one segment; tells whether to go on with the next.
    fn read(
        &self,
        stretch: &Stretch,
        first: bool,
        frames: &mut Vec<Frame>,
        bytes: &mut usize,
    ) -> Result<bool, ReadError> {
        let Stretch { file, extent, .. } = stretch;
        let (handle, point) = self.open(stretch, first)?;
        let chunk = (self.bytes_max as u64).clamp(CHUNK_MIN, CHUNK_MAX);
        let max = self.log.payload_bytes_max;
        let mut walk =
            Walk::new((&*handle, &file.path), extent, point, self.end_index, max, chunk).needed_from(self.log_start);
        let (began, taken) = (walk.position, frames.len());
        let more = self.take_wanted(&mut walk, frames, bytes);
        handle.will_not_need(began.saturating_sub(KEPT_BEHIND)..walk.position.saturating_sub(KEPT_BEHIND));
        // A few small frames must not hold on to all that was read to find them.
        let taken = &mut frames[taken..];
        if walk.bytes_read > 2 * taken.iter().map(|frame| frame.payload.len()).sum::<usize>() {
            taken.iter_mut().for_each(|frame| frame.payload = Bytes::copy_from_slice(&frame.payload));
        }
        more
    }

    /// Takes the frames wanted off a walk; tells whether to go on with the next segment.
    fn take_wanted(&self, walk: &mut Walk<'_>, frames: &mut Vec<Frame>, bytes: &mut usize) -> Result<bool, ReadError> {
        while let Some(found) = walk.find()? {
            if frames.is_empty() && !self.is_wanted(&found) {
                walk.skip(&found);
                continue;
            }
            *bytes += crate::FRAME_HEADER_SIZE + found.header.payload_bytes as usize;
            if *bytes > self.bytes_max && !frames.is_empty() {
                return Ok(false);
            }
            if frames.is_empty() && self.lies_behind(&found) {
                let reason = format!("what held the offset asked for is gone: the next one is {}", found.next_offset);
                return Err(ReadError::Segment { path: walk.path().to_owned(), reason });
            }
            frames.push(walk.take(&found)?);
        }
        Ok(walk.index < self.end_index)
    }

    /// The segment's handle, and where in it to begin: of the first one as near as its index knows.
    pub(crate) fn open(
        &self,
        stretch: &Stretch,
        first: bool,
    ) -> Result<(Arc<dyn VfsFile>, Option<IndexPoint>), ReadError> {
        // The log may have rolled since the read was planned: then the file is as good as any other finished one.
        if let Some(handle) = stretch.file.writing() {
            return Ok((handle, stretch.point));
        }
        let open = self.log.open_segments.get(&self.log, &stretch.file, &stretch.extent)?;
        if !first || stretch.point.is_some() {
            return Ok((open.handle.clone(), stretch.point));
        }
        let index = open.index(&self.log, &stretch.file, &stretch.extent, self.log_start)?;
        let first_index = self.log_start.index;
        let point = index.last_before(stretch.extent.end, |point| point_is_before(point, self.start, first_index));
        Ok((open.handle.clone(), point))
    }

    /// Whether the first frame found for an offset begins behind it.
    fn lies_behind(&self, found: &Found) -> bool {
        let base_offset = found.batch.filter(|_| !found.header.rejected).map(|batch| batch.base_offset.cast_unsigned());
        matches!((self.start, base_offset), (ReadStart::Offset(offset), Some(base)) if base > offset)
    }

    /// Whether the frames wanted begin with this one.
    fn is_wanted(&self, found: &Found) -> bool {
        let header = &found.header;
        header.index >= self.log_start.index
            && match self.start {
                ReadStart::Index(index) => header.index >= index,
                ReadStart::Offset(offset) => found.next_offset > offset,
                ReadStart::Time(time_ms) => header.leader_time_ms >= time_ms,
            }
    }
}

/// Whether what a read wants cannot lie before this point.
pub(crate) fn point_is_before(point: &IndexPoint, start: ReadStart, first_index: u64) -> bool {
    point.index <= first_index
        || match start {
            ReadStart::Index(index) => point.index <= index,
            ReadStart::Offset(offset) => point.offset <= offset,
            ReadStart::Time(time_ms) => point.time_ms < time_ms,
        }
}
