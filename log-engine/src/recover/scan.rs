//! Walking the frames of a segment at recovery, checking everything on the way.

use std::io;

use bytes::{Bytes, BytesMut};
use quorate_record::BatchHeader;

use crate::{
    FRAME_HEADER_SIZE, FrameError, FrameHeader, FrameKind, IndexPoint, LogStart, SEGMENT_HEADER_SIZE, SparseIndex,
    TermStart, VfsFile, Vote,
    format::{ALIGNMENT, BATCH_FRAME_SIZE_MIN},
    vfs::read_exact_at,
};

/// Bytes read at once.
const CHUNK: u64 = 256 << 10;
/// Bytes read at once where only headers are wanted and they lie further apart.
const CHUNK_FOR_HEADERS: u64 = 4 << 10;

/// Told at the recovery what the log holds, so that the caller's state can be built.
pub trait Recovery {
    /// The state given with the checkpoint the recovery begins at: that before the entry of log index `next_index`. Not
    /// called if the recovery begins at the beginning of the log.
    ///
    /// # Errors
    /// What is wrong with the state; the log is then not opened.
    fn restore(&mut self, next_index: u64, state: Bytes) -> Result<(), String>;

    /// The next entry, in log order.
    ///
    /// # Errors
    /// What the entry contradicts; the log is then not opened.
    fn entry(&mut self, entry: RecoveredEntry<'_>) -> Result<(), String>;
}

/// An entry met by the recovery.
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    pub(crate) next_index: u64,
    pub(crate) end_offset: u64,
    pub(crate) time_ms: i64,
    pub(crate) terms: Vec<TermStart>,
    pub(crate) vote: Option<Vote>,
    pub(crate) start: LogStart,
}

/// How the scan of one segment ended.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    /// The byte position behind the last sound frame.
    pub(crate) end: u64,
    /// The checksum of its header.
    pub(crate) end_checksum: u32,
    pub(crate) index: SparseIndex,
    /// The greatest durable position any frame named.
    pub(crate) durable_position: u64,
    /// Why it ended before the limit.
    pub(crate) stopped: Option<FrameError>,
    /// What the caller said against it.
    pub(crate) contradiction: Option<String>,
}

/// A window of a file that moves forward.
struct Window<'a> {
    file: &'a dyn VfsFile,
    limit: u64,
    start: u64,
    buffer: Bytes,
    chunk: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn VfsFile, limit: u64) -> Self {
        Self { file, limit, start: 0, buffer: Bytes::new(), chunk: CHUNK }
    }

    /// The bytes at `position`, `size` of them or as many as there are before the limit.
    fn get(&mut self, position: u64, size: u64) -> io::Result<Bytes> {
        let size = size.min(self.limit.saturating_sub(position));
        let held = self.start..self.start + self.buffer.len() as u64;
        if !(held.contains(&position) && position + size <= held.end) {
            let mut buffer = BytesMut::zeroed(size.max(self.chunk).min(self.limit.saturating_sub(position)) as usize);
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
    /// The checksum of the segment's header.
    pub(crate) head_checksum: u32,
    /// The byte position at which the segment must end, or the file's size for the newest.
    pub(crate) limit: u64,
    /// The records of batches are read and checked from this byte position on; their headers always are.
    pub(crate) verify_from: u64,
    pub(crate) payload_bytes_max: u64,
}

impl SegmentScanner<'_> {
    pub(crate) fn run(
        self,
        scan: &mut Scan,
        visit: &mut dyn FnMut(RecoveredEntry<'_>) -> Result<(), String>,
    ) -> io::Result<SegmentScan> {
        let mut found = SegmentScan {
            end: SEGMENT_HEADER_SIZE as u64,
            end_checksum: self.head_checksum,
            index: SparseIndex::default(),
            durable_position: 0,
            stopped: None,
            contradiction: None,
        };
        let mut window = Window::new(self.file, self.limit);
        while found.end < self.limit {
            let (header, batch, payload) = match self.frame(&mut window, &found, scan)? {
                Ok(frame) => frame,
                Err(error) => {
                    found.stopped = Some(error);
                    break;
                }
            };
            match header.kind {
                FrameKind::Vote => scan.vote = Vote::decode(&payload).ok(),
                FrameKind::Start => scan.start = LogStart::decode(&payload).unwrap_or(scan.start),
                _ => {
                    scan.time_ms = scan.time_ms.max(header.leader_time_ms);
                    found.index.observe(IndexPoint {
                        index: header.index,
                        offset: scan.end_offset,
                        time_ms: scan.time_ms,
                        position: found.end,
                    });
                    if let Err(reason) = visit(RecoveredEntry { header: &header, batch: batch.as_ref(), payload }) {
                        found.contradiction = Some(reason);
                        break;
                    }
                    scan.next_index = header.index + 1;
                    if scan.terms.last().is_none_or(|start| start.term != header.term) {
                        scan.terms.push(TermStart { term: header.term, index: header.index });
                    }
                    if let Some(batch) = batch.filter(|_| !header.rejected) {
                        scan.end_offset = batch.next_offset().cast_unsigned();
                    }
                }
            }
            found.durable_position = found.durable_position.max(header.durable_position);
            found.end_checksum = header.checksum;
            found.end += header.disk_size();
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
        let header = match FrameHeader::decode(&bytes, self.head_checksum, self.payload_bytes_max) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let left = self.limit - position;
        if header.disk_size() > left {
            return Ok(Err(FrameError::Short { expected: header.disk_size(), found: left }));
        } else if header.previous_checksum != found.end_checksum {
            return Ok(Err(FrameError::Chain));
        } else if header.index != scan.next_index {
            return Ok(Err(FrameError::Index { expected: scan.next_index, found: header.index }));
        } else if scan.terms.last().is_some_and(|start| start.term > header.term && header.kind.is_entry()) {
            return Ok(Err(FrameError::Payload(header.kind)));
        }
        // The offsets of accepted batches are dense, too.
        let parse = |bytes: &[u8]| match BatchHeader::parse(bytes) {
            Ok(batch) if header.rejected || batch.base_offset.cast_unsigned() == scan.end_offset => Ok(batch),
            _ => Err(FrameError::Payload(header.kind)),
        };
        if header.kind == FrameKind::Batch && position < self.verify_from {
            window.chunk = if header.disk_size() > CHUNK_FOR_HEADERS * 8 { CHUNK_FOR_HEADERS } else { CHUNK };
            return Ok(parse(&bytes[FRAME_HEADER_SIZE..]).map(|batch| (header, Some(batch), Bytes::new())));
        }
        window.chunk = CHUNK;
        let frame = window.get(position, header.disk_size())?;
        let payload = frame.slice(FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + header.payload_bytes as usize);
        Ok(header.verify_payload(&payload).and_then(|()| match header.kind {
            FrameKind::Batch => parse(&payload).map(|batch| (header, Some(batch), Bytes::new())),
            FrameKind::Vote => Vote::decode(&payload).map(|_| (header, None, payload)),
            FrameKind::Start => LogStart::decode(&payload).map(|_| (header, None, payload)),
            _ => Ok((header, None, payload)),
        }))
    }
}

/// Whether any sound frame header behind `position` says that the bytes up to beyond `position` had been on stable
/// storage: then what is wrong at `position` is damage and not a torn tail.
///
/// Stale frames cannot mislead here, since a log never writes over its own bytes; nor can what a record holds, since the
/// headers are salted.
pub(crate) fn was_durable(file: &dyn VfsFile, salt: u32, size: u64, position: u64) -> io::Result<bool> {
    let mut window = Window::new(file, size);
    let mut at = position + ALIGNMENT;
    while at + FRAME_HEADER_SIZE as u64 <= size {
        let bytes = window.get(at, CHUNK)?;
        let last = bytes.len().saturating_sub(FRAME_HEADER_SIZE);
        for offset in (0..=last).step_by(ALIGNMENT as usize) {
            let here = at + offset as u64;
            let names = |header: FrameHeader| header.durable_position > position && header.durable_position <= here;
            if FrameHeader::decode(&bytes[offset..], salt, u64::MAX).is_ok_and(names) {
                return Ok(true);
            }
        }
        // A header may begin within the last bytes looked at.
        at += (bytes.len() as u64).saturating_sub(BATCH_FRAME_SIZE_MIN as u64).max(ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    }
    Ok(false)
}
