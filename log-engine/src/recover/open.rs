//! Opening a log: checking the chain of segments, deciding what a bad end means, and only then changing anything.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Log, LogOptions, LogWriters, OpenError, TailCache, Vfs, VfsFile,
    chain::{Chain, Found},
    frame_header::ALIGNMENT,
    scan::{RecoveredEntry, Scan, SegmentScan, SegmentScanner, was_durable},
    segment::{self, SegmentHeader},
    sparse::SparseIndex,
    state::{Durable, Segment, SegmentFile, Shared, State},
    vfs::read_exact_at,
};

/// Bytes rewritten at once.
const REWRITE_CHUNK: u64 = 1 << 20;

/// A log that was opened, and what was done to it.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Log,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
    /// Bytes that were not proven to be on stable storage and were written again.
    pub rewritten_bytes: u64,
}

pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.into();
    move |source| OpenError::Io { path, source }
}

pub(crate) fn open(
    vfs: Arc<dyn Vfs>,
    directory: &Path,
    options: &LogOptions,
    writers: &Arc<LogWriters>,
    cache: &TailCache,
    visit: &mut dyn FnMut(RecoveredEntry<'_>),
) -> Result<Opened, OpenError> {
    let Chain { segments: chain, leftover } = Chain::find(&*vfs, directory, options)?;
    if chain.is_empty() && options.must_exist {
        return Err(OpenError::Lost { path: directory.to_owned() });
    }
    let mut scan = Scan { next_index: 0, end_offset: 0, terms: Vec::new(), vote: None };
    let scans = check(directory, options, &chain, &mut scan, visit)?;
    if let Some(expected) = options.durable_through.filter(|through| *through >= scan.next_index) {
        let found = scan.next_index.checked_sub(1);
        return Err(OpenError::TooShort { path: directory.to_owned(), expected, found });
    }
    // From here on nothing refuses the log but the file system.
    let (mut torn_bytes, mut rewritten_bytes) = (0, 0);
    if let (Some(newest), Some(scanned)) = (chain.last(), scans.last()) {
        torn_bytes = newest.size - scanned.end;
        rewritten_bytes =
            settle(&*newest.handle, newest.size, scanned).map_err(at(segment::path(directory, newest.number)))?;
        vfs.sync_directory(directory).map_err(at(directory))?;
    }
    // After the sync: until then, what was truncated away may still be the log. A removal may be lost, and is repeated.
    for number in leftover {
        let path = segment::path(directory, number);
        vfs.remove_file(&path).map_err(at(&path))?;
    }
    let mut segments: Vec<Segment> =
        chain.into_iter().zip(scans).map(|(found, scanned)| segment_of(directory, found, scanned)).collect();
    if segments.is_empty() {
        segments.push(create(&*vfs, directory, options)?);
    }
    let newest = &segments[segments.len() - 1];
    let state = State {
        replica: options.replica,
        directory: directory.to_owned(),
        next_number: newest.file.number + 1,
        durable: Durable { through: scan.next_index.checked_sub(1), segment: newest.file.number, position: newest.end },
        segments,
        next_index: scan.next_index,
        end_offset: scan.end_offset,
        terms: scan.terms,
        vote: scan.vote,
        tail: cache.tail(),
        generation: 0,
        unmarked: true,
    };
    state.check();
    let shared = Shared::new(vfs, options.segment_bytes, options.payload_bytes_max, state);
    Ok(Opened { log: Log::new(Arc::new(shared), writers.assign()), torn_bytes, rewritten_bytes })
}

/// Scans the chain. Changes nothing.
fn check(
    directory: &Path,
    options: &LogOptions,
    chain: &[Found],
    scan: &mut Scan,
    visit: &mut dyn FnMut(RecoveredEntry<'_>),
) -> Result<Vec<SegmentScan>, OpenError> {
    let mut scans = Vec::with_capacity(chain.len());
    for (at_segment, found) in chain.iter().enumerate() {
        let path = segment::path(directory, found.number);
        let corrupt = |position, log_index, reason: String| OpenError::Corrupt {
            path: path.clone(),
            position,
            log_index,
            reason,
        };
        if found.header.base_index != scan.next_index || found.header.base_offset != scan.end_offset {
            let reason = format!("the segment begins at log index {}", found.header.base_index);
            return Err(corrupt(0, scan.next_index, reason));
        }
        let sealed = chain.get(at_segment + 1).and_then(|next| next.header.previous);
        let limit = sealed.map_or(found.size, |previous| previous.end);
        if limit > found.size {
            return Err(corrupt(found.size, scan.next_index, format!("the file is shorter than {limit} bytes")));
        }
        scan.vote = found.header.vote.or(scan.vote);
        let scanner = SegmentScanner {
            file: &*found.handle,
            chain: found.checksum,
            limit,
            verify_batches: sealed.is_none(),
            payload_bytes_max: options.payload_bytes_max,
        };
        let scanned = scanner.run(scan, visit).map_err(at(&path))?;
        match (&scanned.stopped, sealed) {
            (Some(error), Some(_)) => return Err(corrupt(scanned.end, scan.next_index, error.to_string())),
            (None, Some(previous)) if previous.checksum != scanned.chain => {
                return Err(corrupt(scanned.end, scan.next_index, "its last frame is not the sealed one".into()));
            }
            (Some(error), None) if was_durable(&*found.handle, found.size, scanned.end).map_err(at(&path))? => {
                return Err(corrupt(scanned.end, scan.next_index, error.to_string()));
            }
            _ => scans.push(scanned),
        }
    }
    Ok(scans)
}

fn segment_of(directory: &Path, found: Found, scanned: SegmentScan) -> Segment {
    Segment {
        file: SegmentFile::opened(directory, found.number, found.handle),
        base_index: found.header.base_index,
        base_offset: found.header.base_offset,
        head_chain: found.checksum,
        end: scanned.end,
        chain: scanned.chain,
        index: scanned.index,
    }
}

/// Creates the first segment of a new log.
fn create(vfs: &dyn Vfs, directory: &Path, options: &LogOptions) -> Result<Segment, OpenError> {
    vfs.create_directory(directory).map_err(at(directory))?;
    let replica = options.replica;
    let header = SegmentHeader { number: 0, base_index: 0, replica, base_offset: 0, previous: None, vote: None };
    let (bytes, checksum) = header.encode();
    let path = segment::path(directory, 0);
    let write = || -> io::Result<Arc<dyn VfsFile>> {
        let handle = vfs.create(&path)?;
        handle.write_all_at(&[IoSlice::new(&bytes)], 0)?;
        handle.sync_data()?;
        vfs.sync_directory(directory)?;
        Ok(handle)
    };
    Ok(Segment {
        file: SegmentFile::opened(directory, 0, write().map_err(at(&path))?),
        base_index: 0,
        base_offset: 0,
        head_chain: checksum,
        end: bytes.len() as u64,
        chain: checksum,
        index: SparseIndex::default(),
    })
}

/// Cuts a torn tail off and writes all bytes after the last durable mark once more: after a failed `fsync` the page
/// cache may hold bytes, marked clean, that the disk never got. Returns how many bytes were rewritten.
fn settle(file: &dyn VfsFile, size: u64, scanned: &SegmentScan) -> io::Result<u64> {
    if size > scanned.end {
        file.truncate(scanned.end)?;
    }
    let from = scanned.durable_position.min(scanned.end) / ALIGNMENT * ALIGNMENT;
    let mut position = from;
    while position < scanned.end {
        let mut buffer = vec![0; REWRITE_CHUNK.min(scanned.end - position) as usize];
        read_exact_at(file, &mut buffer, position)?;
        file.write_all_at(&[IoSlice::new(&buffer)], position)?;
        position += buffer.len() as u64;
    }
    file.sync_data()?;
    Ok(scanned.end - from)
}
