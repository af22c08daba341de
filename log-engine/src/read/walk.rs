//! Walking the frames of a part of one segment whose end is known, checking everything on the way.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use quorate_record::BatchHeader;

use crate::{
    FRAME_HEADER_SIZE, Frame, FrameError, FrameHeader, FrameKind, IndexPoint, LogStart, ReadError, SEGMENT_HEADER_SIZE,
    SegmentExtent, Stamp, VfsFile,
    format::{ALIGNMENT, BATCH_FRAME_SIZE_MIN},
    vfs::read_at_least,
};

/// An entry the walk has come by, or a local frame.
pub(crate) struct Found {
    pub(crate) header: FrameHeader,
    /// The batch header, for a batch.
    pub(crate) batch: Option<BatchHeader>,
    /// The byte position of its frame.
    pub(crate) position: u64,
    /// The partition's end offset before it and after it.
    pub(crate) offset: u64,
    pub(crate) next_offset: u64,
    /// The greatest leader time up to it and with it.
    pub(crate) time_ms: i64,
}

/// Walks the entries of a segment, passing over local frames; or all frames.
pub(crate) struct Walk<'a> {
    file: &'a dyn VfsFile,
    path: &'a Path,
    extent: &'a SegmentExtent,
    /// Where the next frame starts.
    pub(crate) position: u64,
    /// The log index of the next entry.
    pub(crate) index: u64,
    /// No entry from this log index on is looked at: it may not be written yet.
    end_index: u64,
    /// Where the log starts: what is damaged before is passed over, if this is given.
    log_start: Option<LogStart>,
    /// The partition's end offset before the next entry.
    pub(crate) offset: u64,
    /// Whether that is right: behind what was passed over, the next batch tells.
    pub(crate) offset_is_known: bool,
    /// The greatest leader time before the next entry.
    time_ms: i64,
    /// The checksum of the last frame header, if one was seen.
    checksum: Option<u32>,
    /// Bytes read ahead, from `position` on. Those beyond what the caller knows to be written may be anything.
    buffer: Bytes,
    payload_bytes_max: u64,
    /// Bytes read at once.
    pub(crate) chunk: u64,
    /// The size of all buffers read into so far, which the payloads taken share.
    pub(crate) bytes_read: usize,
}

impl<'a> Walk<'a> {
    /// A walk from `point`, or from the segment's beginning, up to the entry before `end_index`. Reads `chunk` bytes at a
    /// time.
    pub(crate) fn new(
        (file, path): (&'a dyn VfsFile, &'a Path),
        extent: &'a SegmentExtent,
        point: Option<IndexPoint>,
        end_index: u64,
        payload_bytes_max: u64,
        chunk: u64,
    ) -> Self {
        let start = IndexPoint {
            index: extent.base_index,
            offset: extent.base_offset,
            time_ms: extent.base_time_ms,
            position: SEGMENT_HEADER_SIZE as u64,
        };
        let IndexPoint { index, offset, time_ms, position } = point.unwrap_or(start);
        // A point's time is that with its own entry, which the walk is about to meet.
        let checksum = point.is_none().then_some(extent.head_checksum);
        let buffer = Bytes::new();
        Self {
            file,
            path,
            extent,
            position,
            index,
            end_index,
            log_start: None,
            offset,
            offset_is_known: true,
            time_ms,
            checksum,
            buffer,
            payload_bytes_max,
            chunk,
            bytes_read: 0,
        }
    }

    /// Passes over what has no sound header before the start of the log, as long as what the log starts with has one.
    pub(crate) fn needed_from(self, log_start: LogStart) -> Self {
        Self { log_start: Some(log_start), ..self }
    }

    /// The next entry, its payload unread. To be followed by [`Walk::take`] or [`Walk::skip`].
    pub(crate) fn find(&mut self) -> Result<Option<Found>, ReadError> {
        while let Some(found) = self.find_frame()? {
            if found.header.kind.is_entry() {
                return Ok(Some(found));
            }
            self.skip(&found);
        }
        Ok(None)
    }

    /// The next frame, its payload unread. To be followed by [`Walk::skip`].
    pub(crate) fn find_frame(&mut self) -> Result<Option<Found>, ReadError> {
        loop {
            let start = self.log_start.unwrap_or_default();
            if self.log_start.is_some() && self.index == start.index {
                (self.offset, self.offset_is_known) = (start.offset, true);
            }
            let error = match self.frame() {
                Err(error @ ReadError::Damaged { .. }) if self.index < start.index => error,
                other => return other,
            };
            let (position, index, checksum) = (self.position, self.index, self.checksum);
            if !self.resynchronise()? || self.index > start.index {
                (self.position, self.index, self.checksum) = (position, index, checksum);
                self.forget();
                return Err(error);
            }
            self.offset_is_known = false;
        }
    }

    /// The frame at the current position.
    fn frame(&mut self) -> Result<Option<Found>, ReadError> {
        if self.index >= self.end_index || self.position >= self.extent.end {
            return Ok(None);
        }
        let least = BATCH_FRAME_SIZE_MIN as u64;
        self.fill(least.min(self.left()), FRAME_HEADER_SIZE as u64)?;
        let header = FrameHeader::decode(&self.buffer, self.extent.head_checksum, self.payload_bytes_max)
            .map_err(|e| self.damaged(e))?;
        if header.disk_size() > self.left() {
            return Err(self.damaged(FrameError::Short { expected: header.disk_size(), found: self.left() }));
        }
        if header.index != self.index {
            return Err(self.damaged(FrameError::Index { expected: self.index, found: header.index }));
        }
        if self.checksum.is_some_and(|checksum| checksum != header.previous_checksum) {
            return Err(self.damaged(FrameError::Chain));
        }
        let mut found = Found {
            header,
            batch: None,
            position: self.position,
            offset: self.offset,
            next_offset: self.offset,
            time_ms: self.time_ms.max(header.leader_time_ms),
        };
        if header.kind == FrameKind::Batch {
            let batch = BatchHeader::parse(&self.buffer[FRAME_HEADER_SIZE..])
                .map_err(|_| self.damaged(FrameError::Payload(header.kind)))?;
            if !header.rejected {
                found.next_offset = batch.next_offset().cast_unsigned();
            }
            found.batch = Some(batch);
        }
        Ok(Some(found))
    }

    /// Reads and checks the payload of the frame found.
    pub(crate) fn payload(&mut self, found: &Found) -> Result<Bytes, ReadError> {
        let header = &found.header;
        // What pads the frame is not looked at: of a file cut there the frame is whole.
        let size = FRAME_HEADER_SIZE as u64 + u64::from(header.payload_bytes);
        self.fill(header.disk_size(), size)?;
        let payload = self.buffer.slice(FRAME_HEADER_SIZE..size as usize);
        header.verify_payload(&payload).map_err(|error| self.damaged(error))?;
        Ok(payload)
    }

    /// Reads and checks the payload of the entry found, and moves behind it.
    pub(crate) fn take(&mut self, found: &Found) -> Result<Frame, ReadError> {
        let header = &found.header;
        let payload = self.payload(found)?;
        let stamp = found
            .batch
            .filter(|_| !header.rejected)
            .map(|batch| Stamp { base_offset: batch.base_offset.cast_unsigned(), leader_epoch: batch.leader_epoch });
        self.skip(found);
        Ok(Frame::from_parts(header, payload, stamp, found.next_offset))
    }

    /// Moves behind the frame found without reading it.
    pub(crate) fn skip(&mut self, found: &Found) {
        self.pass(&found.header);
        if found.header.kind.is_entry() {
            self.index += 1;
            (self.offset, self.time_ms) = (found.next_offset, found.time_ms);
            self.offset_is_known |= found.batch.is_some() && !found.header.rejected;
        }
    }

    /// The checksum of the last frame header, if the frames before the current position are sound.
    pub(crate) fn checksum(&self) -> Option<u32> {
        self.checksum
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// Forgets what was read ahead: the file may be another by now.
    pub(crate) fn forget(&mut self) {
        self.buffer = Bytes::new();
    }

    fn pass(&mut self, header: &FrameHeader) {
        let size = header.disk_size();
        let held = (self.buffer.len() as u64).min(size);
        self.buffer = self.buffer.slice(held as usize..);
        self.position += size;
        self.checksum = Some(header.checksum);
    }

    fn left(&self) -> u64 {
        self.extent.end - self.position
    }

    /// Makes the buffer hold `size` bytes, or at least `least` where the file does not go on yet.
    fn fill(&mut self, size: u64, least: u64) -> Result<(), ReadError> {
        if self.buffer.len() as u64 >= size {
            return Ok(());
        }
        let mut buffer = BytesMut::zeroed(size.max(self.chunk).min(self.left()) as usize);
        // What is left of the chunk before is the beginning of a frame.
        let held = self.buffer.len();
        buffer[..held].copy_from_slice(&self.buffer);
        let least = (least as usize).saturating_sub(held);
        let count = read_at_least(self.file, &mut buffer[held..], self.position + held as u64, least)
            .map_err(|source| ReadError::Io { path: self.path.to_owned(), source })?;
        buffer.truncate(held + count);
        self.bytes_read += buffer.capacity();
        self.buffer = buffer.freeze();
        Ok(())
    }

    /// The format of the frame at the current position, if that fits its checksum and says nothing to this build.
    pub(crate) fn foreign(&mut self) -> Result<Option<u8>, ReadError> {
        self.fill((BATCH_FRAME_SIZE_MIN as u64).min(self.left()), 0)?;
        Ok(FrameHeader::foreign(&self.buffer, self.extent.head_checksum))
    }

    /// What is wrong at the current position.
    pub(crate) fn damaged(&self, source: FrameError) -> ReadError {
        ReadError::Damaged { path: self.path.to_owned(), position: self.position, index: self.index, source }
    }

    /// Goes on at the next sound frame header behind the current position, if there is one; returns whether.
    pub(crate) fn resynchronise(&mut self) -> Result<bool, ReadError> {
        let mut position = self.position + ALIGNMENT;
        while position + FRAME_HEADER_SIZE as u64 <= self.extent.end {
            self.position = position;
            self.buffer = Bytes::new();
            self.fill(self.left().min(self.chunk), FRAME_HEADER_SIZE as u64)?;
            let buffer = self.buffer.clone();
            for at in (0..=buffer.len().saturating_sub(FRAME_HEADER_SIZE)).step_by(ALIGNMENT as usize) {
                let header = FrameHeader::decode(&buffer[at..], self.extent.head_checksum, self.payload_bytes_max);
                if let Ok(header) = header
                    && header.index >= self.index
                {
                    self.position = position + at as u64;
                    self.buffer = buffer.slice(at..);
                    (self.index, self.checksum) = (header.index, None);
                    return Ok(true);
                }
            }
            // A header may begin within the last bytes looked at.
            let step = (buffer.len() as u64).saturating_sub(BATCH_FRAME_SIZE_MIN as u64) / ALIGNMENT * ALIGNMENT;
            if step == 0 {
                break;
            }
            position += step;
        }
        self.position = self.extent.end;
        Ok(false)
    }
}
