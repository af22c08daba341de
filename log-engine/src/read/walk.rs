//! Walking the frames of a part of one segment whose end is known, checking everything on the way.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use quorate_record::BatchHeader;

use crate::{
    FRAME_HEADER_SIZE, Frame, FrameError, FrameHeader, FrameKind, ReadError, SEGMENT_HEADER_SIZE,
    frame_header::BATCH_FRAME_SIZE_MIN,
    sparse::IndexPoint,
    state::{Segment, SegmentFile, stamp_of},
    vfs::read_at_least,
};

/// A stretch of one segment to walk.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) file: Arc<SegmentFile>,
    bytes: Range<u64>,
    /// The log index of its first entry.
    index: u64,
    /// The partition's end offset before its first entry.
    offset: u64,
}

impl Stretch {
    /// The segment from `point` on, or all of it.
    pub(crate) fn new(segment: &Segment, point: Option<IndexPoint>) -> Self {
        let (start, index, offset) = match point {
            Some(point) => (point.position, point.index, point.offset),
            None => (SEGMENT_HEADER_SIZE as u64, segment.base_index, segment.base_offset),
        };
        Self { file: segment.file.clone(), bytes: start..segment.end, index, offset }
    }
}

/// Walks the entries of a stretch; votes are passed over.
pub(crate) struct Walk<'a> {
    stretch: &'a Stretch,
    /// Where the next frame starts.
    pub(crate) position: u64,
    /// The log index of the next entry.
    index: u64,
    /// The partition's end offset before the next entry.
    pub(crate) offset: u64,
    /// Bytes read ahead, from `position` on. Those beyond what the caller knows to be written may be anything.
    buffer: Bytes,
    payload_bytes_max: u64,
    chunk: u64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(stretch: &'a Stretch, payload_bytes_max: u64, chunk: u64) -> Self {
        let (position, index, offset) = (stretch.bytes.start, stretch.index, stretch.offset);
        Self { stretch, position, index, offset, buffer: Bytes::new(), payload_bytes_max, chunk }
    }

    /// The next entry and the checksum of its header. Looks at no byte behind it.
    pub(crate) fn next(&mut self) -> Result<Option<(Frame, u32)>, ReadError> {
        while self.position < self.stretch.bytes.end {
            let least = BATCH_FRAME_SIZE_MIN as u64;
            self.fill(least.min(self.left()), FRAME_HEADER_SIZE as u64)?;
            let header = FrameHeader::decode(&self.buffer, self.payload_bytes_max).map_err(|e| self.damaged(e))?;
            let size = header.disk_size();
            if size > self.left() {
                return Err(self.damaged(FrameError::Short { expected: size, found: self.left() }));
            }
            if header.index != self.index {
                return Err(self.damaged(FrameError::Index { expected: self.index, found: header.index }));
            }
            self.fill(size, size)?;
            let payload = self.buffer.slice(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + header.payload_bytes as usize);
            header.verify_payload(&payload).map_err(|error| self.damaged(error))?;
            let mut stamp = None;
            if header.kind == FrameKind::Batch && !header.rejected {
                let batch = BatchHeader::parse(&payload).map_err(|_| self.damaged(FrameError::Payload(header.kind)))?;
                self.offset = batch.next_offset().cast_unsigned();
                stamp = Some(stamp_of(&batch));
            }
            self.buffer = self.buffer.slice(size as usize..);
            self.position += size;
            if header.kind.is_entry() {
                self.index += 1;
                return Ok(Some((Frame::from_parts(&header, payload, stamp, self.offset), header.checksum)));
            }
        }
        Ok(None)
    }

    fn left(&self) -> u64 {
        self.stretch.bytes.end - self.position
    }

    /// Makes the buffer hold `size` bytes, or at least `least` where the file does not go on yet.
    fn fill(&mut self, size: u64, least: u64) -> Result<(), ReadError> {
        if self.buffer.len() as u64 >= size {
            return Ok(());
        }
        let mut buffer = BytesMut::zeroed(size.max(self.chunk).min(self.left()) as usize);
        let file = &self.stretch.file;
        let count = file
            .handle()
            .and_then(|handle| read_at_least(&**handle, &mut buffer, self.position, least as usize))
            .map_err(|source| ReadError::Io { path: file.path.clone(), source })?;
        buffer.truncate(count);
        self.buffer = buffer.freeze();
        Ok(())
    }

    fn damaged(&self, source: FrameError) -> ReadError {
        ReadError::Damaged { path: self.stretch.file.path.clone(), position: self.position, source }
    }
}
