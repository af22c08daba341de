//! Writing a damaged segment anew: what is sound of it as it is, and in each gap the entries that were lost.

use std::{io, ops::Range, path::Path};

use bytes::{Bytes, BytesMut};
use quorate_record::BatchHeader;

use super::{RepairError, RepairReport, Target, error::at, gap::Gap, remains::Remains, sink::Sink};
use crate::{
    FRAME_HEADER_SIZE, Frame, FrameHeader, FrameKind, SEGMENT_HEADER_SIZE, SegmentHeader, VfsFile,
    format::{DurableMark, LOCAL_FRAME_SIZE, Place, encode_local},
    read::Walk,
    shared::Shared,
    vfs::read_exact_at,
};

/// Bytes read and copied at once.
const CHUNK: u64 = 1 << 20;

/// Gets entries from peers: see [`crate::Log::repair`].
pub(super) type Fetch<'a> = dyn FnMut(Range<u64>) -> io::Result<Vec<Frame>> + 'a;

/// See the module.
pub(super) struct Rebuild<'a, 'b> {
    pub(super) log: &'a Shared,
    pub(super) target: &'a Target,
    pub(super) source: &'a Remains,
    /// The file that is written, if anything has to be.
    pub(super) path: &'a Path,
    pub(super) fetch: &'a mut Fetch<'b>,
    pub(super) sink: Option<Sink>,
    pub(super) report: RepairReport,
}

impl<'a> Rebuild<'a, '_> {
    /// Writes the whole segment, if anything of it is lost.
    pub(super) fn run(&mut self) -> Result<(), RepairError> {
        let Target { file, extent, .. } = self.target;
        self.head()?;
        let source = (self.source as &dyn VfsFile, &*file.path);
        let mut walk =
            Walk::new(source, extent, None, u64::MAX, self.log.payload_bytes_max, CHUNK).needed_from(self.target.first);
        while let Some(gap) = Gap::find(&mut walk, self.target)? {
            self.copy_to(gap.positions.start)?;
            self.report.bytes += gap.positions.end - gap.positions.start;
            let offset = match &gap.kept {
                // The walk is behind the gap, and knows by the header where the entry ends.
                Some((header, Some(batch))) if !header.rejected => batch.base_offset.cast_unsigned(),
                _ => walk.offset,
            };
            walk.offset = self.fill(&gap, offset)?;
        }
        // A file that was cut within the last padding has lost nothing, and is too short all the same.
        if self.sink.is_some() || !self.source.is_whole().map_err(at(&file.path))? {
            self.copy_to(extent.end)?;
        }
        Ok(())
    }

    /// The segment's header.
    fn head(&mut self) -> Result<(), RepairError> {
        let Target { file, extent, .. } = self.target;
        let mut head = [0; SEGMENT_HEADER_SIZE];
        read_exact_at(self.source, &mut head, 0).map_err(at(&file.path))?;
        if SegmentHeader::decode(&head).is_ok_and(|(_, checksum)| checksum == extent.head_checksum) {
            return Ok(());
        }
        self.report.bytes += SEGMENT_HEADER_SIZE as u64;
        let header = self.target.header();
        self.push(header)
    }

    fn sink(&mut self) -> Result<&mut Sink, RepairError> {
        match self.sink {
            Some(ref mut sink) => Ok(sink),
            None => Ok(self.sink.insert(Sink::create(&*self.log.vfs, self.path).map_err(at(self.path))?)),
        }
    }

    fn push(&mut self, part: Bytes) -> Result<(), RepairError> {
        let path = self.path;
        self.sink()?.push(part).map_err(at(path))
    }

    /// Copies what is there, up to this position.
    fn copy_to(&mut self, end: u64) -> Result<(), RepairError> {
        loop {
            let position = self.sink()?.position();
            if position >= end {
                return Ok(());
            }
            let mut bytes = BytesMut::zeroed((end - position).min(CHUNK) as usize);
            read_exact_at(self.source, &mut bytes, position).map_err(at(&self.target.file.path))?;
            self.push(bytes.freeze())?;
        }
    }

    /// Fills a gap; `offset` is the end offset before its first entry that is needed. Returns that behind it.
    fn fill(&mut self, gap: &Gap, mut offset: u64) -> Result<u64, RepairError> {
        let mut next = gap.indexes.start;
        if next < self.target.first.index && !gap.indexes.is_empty() {
            (next, offset) = (self.target.first.index, self.target.first.offset);
            self.push_lost_front(gap, next, offset)?;
        }
        let mut checksum = gap.previous_checksum;
        let mut heads = BytesMut::new();
        while next < gap.indexes.end {
            for frame in self.fetch(next..gap.indexes.end)? {
                offset = self.check(&frame, next..gap.indexes.end, offset)?;
                next += 1;
                let left = self.left(gap)?;
                let Some(left) = left.checked_sub(frame.disk_size()) else {
                    return Err(self.misfit(gap, format!("that of log index {} has no room", frame.index)));
                };
                let is_last = next == gap.indexes.end && left == 0;
                let place = self.place(gap, checksum, is_last);
                let mut parts = Vec::new();
                checksum = frame.encode_for_disk(place, &mut heads, &mut parts);
                if let Some(kept) = &gap.kept
                    && !is_as_kept(&parts, kept, place.salt)
                {
                    return Err(refused(frame.index, "its header is not the one that is left of it"));
                }
                parts.into_iter().try_for_each(|part| self.push(part))?;
                self.report.entries += 1;
            }
        }
        self.fill_up(gap, checksum)?;
        Ok(offset)
    }

    /// What lies in a gap before the start of the log stays lost: zeros take its place, as much as the entries behind
    /// leave, which are fetched once more for that.
    fn push_lost_front(&mut self, gap: &Gap, first: u64, mut offset: u64) -> Result<(), RepairError> {
        let (mut next, mut size) = (first, 0);
        while next < gap.indexes.end {
            for frame in self.fetch(next..gap.indexes.end)? {
                offset = self.check(&frame, next..gap.indexes.end, offset)?;
                size += frame.disk_size();
                next += 1;
            }
        }
        let least = (first - gap.indexes.start) * FRAME_HEADER_SIZE as u64;
        let left = self.left(gap)?;
        let front = left.checked_sub(size).filter(|front| *front >= least);
        let Some(front) = front else {
            return Err(self.misfit(gap, format!("from log index {first} on they have {size} bytes")));
        };
        let (end, path) = (gap.positions.start + front, self.path);
        self.sink()?.push_zeros_to(end).map_err(at(path))
    }

    /// What remains of a gap behind its entries was local frames. Log starts take their place: the newest of them that
    /// counts is repeated by the header of each later segment, so that these say nothing.
    fn fill_up(&mut self, gap: &Gap, mut checksum: u32) -> Result<(), RepairError> {
        let left = self.left(gap)?;
        if !left.is_multiple_of(LOCAL_FRAME_SIZE) {
            return Err(self.misfit(gap, format!("{left} bytes are left, no whole frames of {LOCAL_FRAME_SIZE}")));
        }
        for count in (0..left / LOCAL_FRAME_SIZE).rev() {
            let place = self.place(gap, checksum, count == 0);
            let payload = crate::LogStart::default().payload();
            let (bytes, own) = encode_local(FrameKind::Start, payload, gap.indexes.end, place);
            checksum = own;
            self.push(bytes)?;
        }
        Ok(())
    }

    fn left(&mut self, gap: &Gap) -> Result<u64, RepairError> {
        Ok(gap.positions.end.saturating_sub(self.sink()?.position()))
    }

    /// What was on stable storage when a frame was written is not known any more, unless its header is left.
    fn place(&self, gap: &Gap, previous_checksum: u32, is_last: bool) -> Place {
        let kept = |(header, _): &(FrameHeader, _)| DurableMark {
            through: header.durable_through,
            position: header.durable_position,
        };
        Place {
            salt: self.target.extent.head_checksum,
            previous_checksum,
            mark: gap.kept.as_ref().map(kept).unwrap_or_default(),
            checksum: is_last.then_some(gap.end_checksum),
        }
    }

    fn fetch(&mut self, indexes: Range<u64>) -> Result<Vec<Frame>, RepairError> {
        let frames =
            (self.fetch)(indexes.clone()).map_err(|source| RepairError::Fetch { indexes: indexes.clone(), source })?;
        if frames.is_empty() {
            return Err(refused(indexes.start, "nothing was fetched"));
        }
        Ok(frames)
    }

    /// Checks an entry that was asked for; returns the end offset behind it.
    fn check(&self, frame: &Frame, asked: Range<u64>, offset: u64) -> Result<u64, RepairError> {
        let index = asked.start;
        if asked.is_empty() {
            return Err(refused(index, "it was not asked for"));
        }
        if frame.index != index || !frame.kind.is_entry() {
            return Err(refused(index, &format!("it is a {:?} of log index {}", frame.kind, frame.index)));
        }
        let state = self.log.lock();
        if index < state.start.index {
            return Err(self.target.outdated());
        }
        let term = state.term_of(index);
        drop(state);
        if term != Some(frame.term) {
            return Err(refused(index, &format!("its term is {}, and the log has {term:?} there", frame.term)));
        }
        if frame.payload.len() as u64 > self.log.payload_bytes_max {
            return Err(refused(index, &format!("it has {} bytes", frame.payload.len())));
        }
        if frame.kind != FrameKind::Batch {
            return Ok(offset);
        }
        let batch = BatchHeader::parse(&frame.payload).map_err(|error| refused(index, &error.to_string()))?;
        if batch.total_size() != frame.payload.len() || quorate_record::verify_crc(&frame.payload).is_err() {
            return Err(refused(index, "its payload does not match its checksum"));
        }
        let Some(stamp) = frame.stamp else { return Ok(offset) };
        if stamp.base_offset != offset {
            return Err(refused(index, &format!("it begins at offset {}, expected {offset}", stamp.base_offset)));
        }
        Ok(offset + u64::from(batch.record_count.cast_unsigned()))
    }

    fn misfit(&self, gap: &Gap, reason: String) -> RepairError {
        let (positions, indexes) = (gap.positions.clone(), gap.indexes.clone());
        RepairError::Misfit { path: self.target.file.path.clone(), positions, indexes, reason }
    }
}

fn refused(index: u64, reason: &str) -> RepairError {
    RepairError::Refused { index, reason: reason.to_owned() }
}

/// Whether the first bytes of a frame say what its header said that is left.
fn is_as_kept(parts: &[Bytes], (header, batch): &(FrameHeader, Option<BatchHeader>), salt: u32) -> bool {
    let Some(head) = parts.first() else { return false };
    let same_batch = || batch.is_none_or(|batch| BatchHeader::parse(&head[FRAME_HEADER_SIZE..]) == Ok(batch));
    FrameHeader::decode(head, salt, u64::MAX).is_ok_and(|found| found == *header) && same_batch()
}
