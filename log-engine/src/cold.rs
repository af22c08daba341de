//! Reading frames back from the disk, off the threads that must not block.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{
    FRAME_HEADER_SIZE, Frame, FrameError, FrameHeader, FrameKind, ReadError,
    state::{SegmentFile, stamp_of},
    vfs::read_exact_at,
};

/// Bytes read ahead at least, to find small frames with few reads.
const CHUNK_MIN: u64 = 64 << 10;

/// A stretch of one segment to walk.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) bytes: Range<u64>,
    /// The partition's end offset before the first frame of the stretch.
    pub(crate) offset: u64,
}

/// A read that must go to the disk. [`ColdRead::run`] blocks.
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
        for stretch in &self.stretches {
            let mut walk = Walk::new(stretch, self.payload_bytes_max, self.bytes_max as u64);
            while let Some(frame) = walk.next()? {
                // What follows may not be written yet: stop at the last frame wanted without looking behind it.
                let last = frame.index + 1 >= self.end_index;
                if frame.index < self.from_index || self.behind_offset.is_some_and(|offset| frame.next_offset <= offset)
                {
                    if last {
                        return Ok(frames);
                    }
                    continue;
                }
                bytes += frame.wire_size();
                if bytes > self.bytes_max && !frames.is_empty() {
                    return Ok(frames);
                }
                frames.push(frame);
                if last {
                    return Ok(frames);
                }
            }
        }
        Ok(frames)
    }
}

/// Walks the frames of a stretch; votes are passed over.
struct Walk<'a> {
    stretch: &'a Stretch,
    position: u64,
    offset: u64,
    /// Bytes read ahead, from `position` on.
    buffer: Bytes,
    payload_bytes_max: u64,
    chunk: u64,
}

impl<'a> Walk<'a> {
    fn new(stretch: &'a Stretch, payload_bytes_max: u64, bytes_wanted: u64) -> Self {
        let chunk = bytes_wanted.clamp(CHUNK_MIN, 1 << 20);
        let (position, offset) = (stretch.bytes.start, stretch.offset);
        Self { stretch, position, offset, buffer: Bytes::new(), payload_bytes_max, chunk }
    }

    fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        while self.position < self.stretch.bytes.end {
            let least = (FRAME_HEADER_SIZE + quorate_record::HEADER_SIZE) as u64;
            self.fill(least.min(self.stretch.bytes.end - self.position))?;
            let header = FrameHeader::decode(&self.buffer, self.payload_bytes_max).map_err(|e| self.damaged(e))?;
            let size = header.disk_size();
            if size > self.stretch.bytes.end - self.position {
                let found = self.stretch.bytes.end - self.position;
                return Err(self.damaged(FrameError::Short { expected: size, found }));
            }
            self.fill(size)?;
            let payload = self.buffer.slice(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + header.payload_bytes as usize);
            header.verify_payload(&payload).map_err(|error| self.damaged(error))?;
            let mut stamp = None;
            if header.kind == FrameKind::Batch && !header.rejected {
                let batch = quorate_record::BatchHeader::parse(&payload)
                    .map_err(|_| self.damaged(FrameError::Payload(header.kind)))?;
                self.offset = batch.next_offset().cast_unsigned();
                stamp = Some(stamp_of(&batch));
            }
            self.buffer = self.buffer.slice(size as usize..);
            self.position += size;
            if header.kind.is_entry() {
                return Ok(Some(Frame::from_parts(&header, payload, stamp, self.offset)));
            }
        }
        Ok(None)
    }

    /// Makes the buffer hold at least `size` bytes.
    fn fill(&mut self, size: u64) -> Result<(), ReadError> {
        if self.buffer.len() as u64 >= size {
            return Ok(());
        }
        let left = self.stretch.bytes.end - self.position;
        let mut buffer = BytesMut::zeroed(size.max(self.chunk).min(left) as usize);
        let file = &self.stretch.file;
        let result = file.handle().and_then(|handle| read_exact_at(&**handle, &mut buffer, self.position));
        self.buffer = buffer.freeze();
        result.map_err(|source| ReadError::Io { path: file.path.clone(), source })
    }

    fn damaged(&self, source: FrameError) -> ReadError {
        ReadError::Damaged { path: self.stretch.file.path.clone(), position: self.position, source }
    }
}
