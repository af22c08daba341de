//! Walking the frames of a segment at recovery, checking everything on the way.

use std::io;

use bytes::{Bytes, BytesMut};
use quorate_record::BatchHeader;

use crate::{
    FRAME_HEADER_SIZE, FrameError, FrameHeader, FrameKind, SEGMENT_HEADER_SIZE, VfsFile, Vote,
    frame_header::{ALIGNMENT, BATCH_FRAME_SIZE_MIN},
    sparse::{IndexPoint, SparseIndex},
    state::TermStart,
    vfs::read_exact_at,
};

/// Bytes read at once.
const CHUNK: u64 = 256 << 10;

/// An entry met by the recovery, in log order.
#[derive(Debug)]
pub struct RecoveredEntry<'a> {
    /// Its frame header.
    pub header: &'a FrameHeader,
    /// The batch header, for a batch.
    pub batch: Option<&'a BatchHeader>,
    /// The payload, for all kinds but a batch.
    pub payload: Bytes,
}

/// What the scan of the chain has found so far.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) next_index: u64,
    pub(crate) end_offset: u64,
    pub(crate) terms: Vec<TermStart>,
    pub(crate) vote: Option<Vote>,
}

/// How the scan of one segment ended.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    /// The byte position behind the last sound frame.
    pub(crate) end: u64,
    /// The checksum of its header.
    pub(crate) chain: u32,
    pub(crate) index: SparseIndex,
    /// The greatest durable position any frame named.
    pub(crate) durable_position: u64,
    /// Why it ended before the limit.
    pub(crate) stopped: Option<FrameError>,
}

/// A window of a file that moves forward.
pub(crate) struct Window<'a> {
    file: &'a dyn VfsFile,
    limit: u64,
    start: u64,
    buffer: Bytes,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn VfsFile, limit: u64) -> Self {
        Self { file, limit, start: 0, buffer: Bytes::new() }
    }

    /// The bytes at `position`, `size` of them or as many as there are before the limit.
    pub(crate) fn get(&mut self, position: u64, size: u64) -> io::Result<Bytes> {
        let size = size.min(self.limit.saturating_sub(position));
        let held = self.start..self.start + self.buffer.len() as u64;
        if !(held.contains(&position) && position + size <= held.end) {
            let mut buffer = BytesMut::zeroed(size.max(CHUNK).min(self.limit.saturating_sub(position)) as usize);
            read_exact_at(self.file, &mut buffer, position)?;
            self.start = position;
            self.buffer = buffer.freeze();
        }
        let at = (position - self.start) as usize;
        Ok(self.buffer.slice(at..at + size as usize))
    }
}

/// How to scan one segment.
pub(crate) struct SegmentScanner<'a> {
    pub(crate) file: &'a dyn VfsFile,
    /// The segment's first frame names this as its predecessor's checksum.
    pub(crate) chain: u32,
    /// The byte position at which the segment must end, or the file's size for the newest.
    pub(crate) limit: u64,
    /// Whether to read and check the records of batches too; their headers always are.
    pub(crate) verify_batches: bool,
    pub(crate) payload_bytes_max: u64,
}

impl SegmentScanner<'_> {
    pub(crate) fn run(self, scan: &mut Scan, visit: &mut dyn FnMut(RecoveredEntry<'_>)) -> io::Result<SegmentScan> {
        let mut found = SegmentScan {
            end: SEGMENT_HEADER_SIZE as u64,
            chain: self.chain,
            index: SparseIndex::default(),
            durable_position: 0,
            stopped: None,
        };
        let mut window = Window::new(self.file, self.limit);
        while found.end < self.limit {
            match self.frame(&mut window, &found, scan)? {
                Ok((header, batch, payload)) => {
                    if header.kind.is_entry() {
                        found.index.observe(IndexPoint {
                            index: header.index,
                            offset: scan.end_offset,
                            position: found.end,
                        });
                        visit(RecoveredEntry { header: &header, batch: batch.as_ref(), payload: payload.clone() });
                        scan.next_index = header.index + 1;
                        if scan.terms.last().is_none_or(|start| start.term != header.term) {
                            scan.terms.push(TermStart { term: header.term, index: header.index });
                        }
                    } else if let Ok(vote) = Vote::decode(&payload) {
                        scan.vote = Some(vote);
                    }
                    if let Some(batch) = batch.filter(|_| !header.rejected) {
                        scan.end_offset = batch.next_offset().cast_unsigned();
                    }
                    found.durable_position = found.durable_position.max(header.durable_position);
                    found.chain = header.checksum;
                    found.end += header.disk_size();
                }
                Err(error) => {
                    found.stopped = Some(error);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// The frame at the end of what was found so far, fully checked.
    #[expect(clippy::type_complexity, reason = "an I/O error ends the recovery, a frame error ends the log")]
    fn frame(
        &self,
        window: &mut Window<'_>,
        found: &SegmentScan,
        scan: &Scan,
    ) -> io::Result<Result<(FrameHeader, Option<BatchHeader>, Bytes), FrameError>> {
        let position = found.end;
        let bytes = window.get(position, BATCH_FRAME_SIZE_MIN as u64)?;
        let header = match FrameHeader::decode(&bytes, self.payload_bytes_max) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let left = self.limit - position;
        Ok(if header.disk_size() > left {
            Err(FrameError::Short { expected: header.disk_size(), found: left })
        } else if header.previous_checksum != found.chain {
            Err(FrameError::Chain)
        } else if header.index != scan.next_index {
            Err(FrameError::Index { expected: scan.next_index, found: header.index })
        } else if scan.terms.last().is_some_and(|start| start.term > header.term && header.kind.is_entry()) {
            Err(FrameError::Payload(header.kind))
        } else if header.kind == FrameKind::Batch && !self.verify_batches {
            BatchHeader::parse(&bytes[FRAME_HEADER_SIZE..])
                .map(|batch| (header, Some(batch), Bytes::new()))
                .map_err(|_| FrameError::Payload(header.kind))
        } else {
            let frame = window.get(position, header.disk_size())?;
            let payload = frame.slice(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + header.payload_bytes as usize);
            header.verify_payload(&payload).and_then(|()| match header.kind {
                FrameKind::Batch => BatchHeader::parse(&payload)
                    .map(|batch| (header, Some(batch), Bytes::new()))
                    .map_err(|_| FrameError::Payload(header.kind)),
                FrameKind::Vote => Vote::decode(&payload).map(|_| (header, None, payload)),
                _ => Ok((header, None, payload)),
            })
        })
    }
}

/// Whether any sound frame header behind `position` says that the bytes up to beyond `position` had been on stable
/// storage: then what is wrong at `position` is damage and not a torn tail.
///
/// Stale frames cannot mislead here, since a log never writes over its own bytes.
pub(crate) fn was_durable(file: &dyn VfsFile, size: u64, position: u64) -> io::Result<bool> {
    let mut window = Window::new(file, size);
    let mut at = position + ALIGNMENT;
    while at + FRAME_HEADER_SIZE as u64 <= size {
        let bytes = window.get(at, BATCH_FRAME_SIZE_MIN as u64)?;
        let names = |header: FrameHeader| header.durable_position > position && header.durable_position <= at;
        if FrameHeader::decode(&bytes, u64::MAX).is_ok_and(names) {
            return Ok(true);
        }
        at += ALIGNMENT;
    }
    Ok(false)
}
