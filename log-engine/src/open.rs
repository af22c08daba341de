//! Opening a log: finding the chain of segments, checking it, and deciding what a bad end means.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Log, LogOptions, LogWriters, OpenError, SEGMENT_HEADER_SIZE, TailCache, Vfs, VfsFile,
    frame::{ALIGNMENT, FORMAT, FRAME_HEADER_SIZE},
    scan::{RecoveredEntry, Scan, SegmentScan, SegmentScanner, was_durable},
    segment::{self, SegmentHeader, SegmentHeaderError},
    sparse::SparseIndex,
    state::{Durable, Segment, SegmentFile, Shared, State},
    vfs::read_exact_at,
};

/// A segment that holds no more than its header and the vote at its head was never used: its creation may have been
/// cut short.
const UNUSED_SIZE: u64 = (SEGMENT_HEADER_SIZE + FRAME_HEADER_SIZE + 24) as u64;
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

struct Found {
    number: u64,
    header: SegmentHeader,
    checksum: u32,
    handle: Arc<dyn VfsFile>,
    size: u64,
}

impl std::fmt::Debug for RecoveredLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RecoveredLog").field("state", &self.state).finish_non_exhaustive()
    }
}

struct RecoveredLog {
    state: State,
    torn_bytes: u64,
    rewritten_bytes: u64,
}

pub(crate) fn open(
    vfs: Arc<dyn Vfs>,
    directory: &Path,
    options: &LogOptions,
    writers: &Arc<LogWriters>,
    cache: &TailCache,
    visit: &mut dyn FnMut(RecoveredEntry<'_>),
) -> Result<Opened, OpenError> {
    let chain = find_chain(&*vfs, directory, options)?;
    let recovered = match chain {
        Some(chain) => recover(&*vfs, directory, options, cache, chain, visit)?,
        None if options.must_exist => return Err(OpenError::Lost { path: directory.to_owned() }),
        None => create(&*vfs, directory, options, cache)?,
    };
    if let Some(expected) = options.durable_through.filter(|through| *through >= recovered.state.next_index) {
        let found = recovered.state.next_index.checked_sub(1);
        return Err(OpenError::TooShort { path: directory.to_owned(), expected, found });
    }
    recovered.state.check();
    let shared = Shared::new(vfs, options.segment_bytes, options.payload_bytes_max, recovered.state);
    Ok(Opened {
        log: Log::new(Arc::new(shared), writers.assign()),
        torn_bytes: recovered.torn_bytes,
        rewritten_bytes: recovered.rewritten_bytes,
    })
}

fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.into();
    move |source| OpenError::Io { path, source }
}

/// The segments of the chain, oldest first; `None` if there is no segment. Unfinished and truncated segments are
/// removed once the chain is known to be whole.
fn find_chain(vfs: &dyn Vfs, directory: &Path, options: &LogOptions) -> Result<Option<Vec<Found>>, OpenError> {
    if !vfs.directory_exists(directory) {
        return Ok(None);
    }
    let mut found = BTreeMap::new();
    let mut unused = Vec::new();
    for number in vfs.list(directory).map_err(at(directory))?.iter().filter_map(|name| segment::number_of(name)) {
        let path = segment::path(directory, number);
        let handle = vfs.open(&path).map_err(at(&path))?;
        let size = handle.size().map_err(at(&path))?;
        let mut head = vec![0; size.min(SEGMENT_HEADER_SIZE as u64) as usize];
        read_exact_at(&*handle, &mut head, 0).map_err(at(&path))?;
        match SegmentHeader::decode(&head) {
            Ok((header, _)) if header.number != number || header.replica != options.replica => {
                let reason = format!(
                    "it is segment {} of replica {}, expected segment {number} of replica {}",
                    header.number, header.replica, options.replica
                );
                return Err(OpenError::SegmentHeader { path, reason });
            }
            Ok((header, checksum)) => {
                found.insert(number, Found { number, header, checksum, handle, size });
            }
            Err(SegmentHeaderError::Format(found)) => {
                return Err(OpenError::Format { path, found, supported: FORMAT });
            }
            Err(SegmentHeaderError::Damaged(_)) if size <= UNUSED_SIZE => unused.push(number),
            Err(error) => return Err(OpenError::SegmentHeader { path, reason: error.to_string() }),
        }
    }
    let mut chain = Vec::new();
    let mut next = found.last_key_value().map(|(number, _)| *number);
    // Only the newest segment can be unfinished: nothing is written before its creation has succeeded.
    if let Some(number) = unused.iter().find(|number| next.is_some_and(|newest| **number < newest)) {
        let (path, reason) = (segment::path(directory, *number), "cut short, though later segments exist".to_owned());
        return Err(OpenError::SegmentHeader { path, reason });
    }
    while let Some(number) = next {
        let segment = found.remove(&number).ok_or(OpenError::SegmentMissing { path: directory.into(), missing: number })?;
        next = segment.header.previous.map(|previous| previous.number);
        chain.push(segment);
    }
    chain.reverse();
    if chain.first().is_some_and(|first| first.header.base_index != 0) {
        return Err(OpenError::SegmentMissing { path: directory.into(), missing: 0 });
    }
    let off_chain: Vec<u64> = found.into_keys().chain(unused).collect();
    for number in &off_chain {
        let path = segment::path(directory, *number);
        vfs.remove_file(&path).map_err(at(&path))?;
    }
    if !off_chain.is_empty() {
        vfs.sync_directory(directory).map_err(at(directory))?;
    }
    Ok((!chain.is_empty()).then_some(chain))
}

fn create(
    vfs: &dyn Vfs,
    directory: &Path,
    options: &LogOptions,
    cache: &TailCache,
) -> Result<RecoveredLog, OpenError> {
    vfs.create_directory(directory).map_err(at(directory))?;
    let header = SegmentHeader { number: 0, base_index: 0, replica: options.replica, base_offset: 0, previous: None };
    let (bytes, checksum) = header.encode();
    let path = segment::path(directory, 0);
    let write = || -> io::Result<Arc<dyn VfsFile>> {
        let handle = vfs.create(&path)?;
        handle.write_all_at(&[IoSlice::new(&bytes)], 0)?;
        handle.sync_data()?;
        vfs.sync_directory(directory)?;
        Ok(handle)
    };
    let handle = write().map_err(at(&path))?;
    let end = bytes.len() as u64;
    let segment = Segment {
        file: SegmentFile::opened(directory, 0, handle),
        base_index: 0,
        base_offset: 0,
        head_chain: checksum,
        end,
        chain: checksum,
        index: SparseIndex::default(),
    };
    let state = State {
        replica: options.replica,
        directory: directory.to_owned(),
        segments: vec![segment],
        next_number: 1,
        next_index: 0,
        end_offset: 0,
        terms: Vec::new(),
        vote: None,
        tail: cache.tail(),
        durable: Durable { through: None, segment: 0, position: end },
        generation: 0,
        unmarked: false,
    };
    Ok(RecoveredLog { state, torn_bytes: 0, rewritten_bytes: 0 })
}

fn recover(
    vfs: &dyn Vfs,
    directory: &Path,
    options: &LogOptions,
    cache: &TailCache,
    chain: Vec<Found>,
    visit: &mut dyn FnMut(RecoveredEntry<'_>),
) -> Result<RecoveredLog, OpenError> {
    let mut scan = Scan { next_index: 0, end_offset: 0, terms: Vec::new(), vote: None };
    let mut segments = Vec::with_capacity(chain.len());
    let (mut torn_bytes, mut rewritten_bytes) = (0, 0);
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
        let scanned = SegmentScanner {
            file: &*found.handle,
            chain: found.checksum,
            limit,
            verify_batches: sealed.is_none(),
            payload_bytes_max: options.payload_bytes_max,
        }
        .run(&mut scan, visit)
        .map_err(at(&path))?;
        match (&scanned.stopped, sealed) {
            (Some(error), Some(_)) => return Err(corrupt(scanned.end, scan.next_index, error.to_string())),
            (None, Some(previous)) if previous.checksum != scanned.chain => {
                return Err(corrupt(scanned.end, scan.next_index, "its last frame is not the sealed one".into()));
            }
            (Some(error), None) if was_durable(&*found.handle, found.size, scanned.end).map_err(at(&path))? => {
                return Err(corrupt(scanned.end, scan.next_index, error.to_string()));
            }
            (Some(_), None) => torn_bytes = found.size - scanned.end,
            (None, _) => {}
        }
        if sealed.is_none() {
            if options.durable_through.is_none_or(|through| through < scan.next_index) {
                rewritten_bytes = settle(&*found.handle, found.size, &scanned).map_err(at(&path))?;
                vfs.sync_directory(directory).map_err(at(directory))?;
            }
        }
        segments.push(Segment {
            file: SegmentFile::opened(directory, found.number, found.handle.clone()),
            base_index: found.header.base_index,
            base_offset: found.header.base_offset,
            head_chain: found.checksum,
            end: scanned.end,
            chain: scanned.chain,
            index: scanned.index,
        });
    }
    let newest = &segments[segments.len() - 1];
    let durable = Durable {
        through: scan.next_index.checked_sub(1),
        segment: newest.file.number,
        position: newest.end,
    };
    let state = State {
        replica: options.replica,
        directory: directory.to_owned(),
        next_number: newest.file.number + 1,
        segments,
        next_index: scan.next_index,
        end_offset: scan.end_offset,
        terms: scan.terms,
        vote: scan.vote,
        tail: cache.tail(),
        durable,
        generation: 0,
        unmarked: true,
    };
    Ok(RecoveredLog { state, torn_bytes, rewritten_bytes })
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
