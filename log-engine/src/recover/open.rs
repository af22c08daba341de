//! See the module above.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    chain::{Found, Listing, Segments},
    scan::{Recovery, Scan, SegmentScan, SegmentScanner, was_durable},
    settle::settle,
};
use crate::{
    FrameError, FrameHeader, Hole, Log, LogEngine, LogOptions, LogStart, OpenError, SegmentExtent, SegmentHeader,
    SparseIndex, Vfs,
    format::{BATCH_FRAME_SIZE_MIN, FORMAT, FileKind},
    segment_file::SegmentFile,
    shared::Shared,
    state::{Durable, Segment, State, extent_of},
    vfs::read_at_least,
    write::create_first,
};

#[cfg(feature = "planted-bugs")]
use {super::settle::nonzero_end, quorate_planted_bugs::PlantedBug};

/// A log that was opened, and what was done to it.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Log,
    /// Bytes of a torn tail that were cut off.
    pub torn_bytes: u64,
    /// Bytes that were not proven to be on stable storage and were written again.
    pub rewritten_bytes: u64,
    /// The first log index that was scanned: that of the checkpoint the recovery began at.
    pub scanned_from: u64,
}

pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.into();
    move |source| OpenError::Io { path, source }
}

pub(crate) fn open(
    engine: &Arc<LogEngine>,
    vfs: Arc<dyn Vfs>,
    directory: &Path,
    options: &LogOptions,
    recovery: &mut dyn Recovery,
) -> Result<Opened, OpenError> {
    let listing = match vfs.directory_exists(directory) {
        true => Listing::read(&*vfs, directory).map_err(at(directory))?,
        false => Listing::default(),
    };
    let Examined { chain, before, base_index, mut segments, scans, scan } =
        examine(&*vfs, directory, options, &listing, recovery)?;
    // From here on nothing refuses the log but the file system.
    let (mut torn_bytes, mut rewritten_bytes) = (0, 0);
    if let (Some(newest), Some(scanned)) = (segments.last_mut(), scans.last()) {
        let path = FileKind::Segment.path(directory, newest.header.number);
        (torn_bytes, rewritten_bytes) = settle(&*newest.handle, newest.size, scanned).map_err(at(&path))?;
        if torn_bytes > 0 {
            newest.size = scanned.end;
        }
        vfs.sync_directory(directory).map_err(at(directory))?;
    }
    // After the sync: until then, what was truncated away may still be the log. A removal may be lost, and is repeated.
    let leftover = listing.leftover(directory, &chain);
    remove(&*vfs, directory, &leftover)?;
    let (segments, index) = match segments.is_empty() {
        true => (vec![create(&*vfs, directory, options)?], SparseIndex::default()),
        false => assemble(directory, &listing, before, segments, scans),
    };
    let newest = &segments[segments.len() - 1].extent;
    let mut state = State {
        replica: options.replica,
        owner: options.owner,
        directory: directory.to_owned(),
        next_number: newest.number + 1,
        durable: Durable { through: scan.next_index.checked_sub(1), segment: newest.number, position: newest.end },
        segments,
        index,
        next_index: scan.next_index,
        end_offset: scan.end_offset,
        time_ms: scan.time_ms,
        terms: scan.terms,
        vote: scan.vote,
        start: scan.start,
        durable_start: scan.start.index,
        tail: engine.cache().tail(),
        generation: 0,
        unmarked: true,
        next_prepared: false,
    };
    state.forget_terms();
    state.forget_trimmed(&listing.segments);
    state.check();
    let holes = missing(&state, &listing.segments);
    let shared = Shared::new(vfs, options.segment_bytes, options.payload_bytes_max, engine.common().clone(), state);
    holes.into_iter().for_each(|(file, hole)| shared.report(&file, hole));
    let log = Log::new(Arc::new(shared), engine.clone());
    // What a crash kept from being removed.
    log.remove_trimmed();
    Ok(Opened { log, torn_bytes, rewritten_bytes, scanned_from: base_index })
}

/// What the first half of an open has found.
pub(super) struct Examined {
    /// The numbers of the chain's segments.
    chain: BTreeSet<u64>,
    /// The segments before those scanned.
    before: Vec<SegmentExtent>,
    /// The first log index scanned.
    pub(super) base_index: u64,
    pub(super) segments: Vec<Found>,
    pub(super) scans: Vec<SegmentScan>,
    scan: Scan,
}

/// Finds and checks the log. Changes nothing, so that whatever is refused is left as it is.
pub(super) fn examine(
    vfs: &dyn Vfs,
    directory: &Path,
    options: &LogOptions,
    listing: &Listing,
    recovery: &mut dyn Recovery,
) -> Result<Examined, OpenError> {
    let found = Segments::find(vfs, directory, options, listing)?;
    if found.scanned.is_empty() && options.must_exist {
        return Err(OpenError::Lost { path: directory.to_owned() });
    }
    let chain = found.numbers();
    let Segments { checkpoint, scanned: segments, missing_before } = found;
    let mut scan = Scan::default();
    let mut before = Vec::new();
    let base_index = segments.first().map_or(0, |first| first.header.base_index);
    if let Some(checkpoint) = checkpoint {
        let first = segments[0].header;
        (scan.next_index, scan.end_offset, scan.time_ms) = (first.base_index, first.base_offset, first.base_time_ms);
        (scan.terms, before) = (checkpoint.terms, checkpoint.segments);
        let refused = |reason| OpenError::Contradiction { path: directory.to_owned(), reason };
        recovery.restore(base_index, checkpoint.state).map_err(refused)?;
    }
    let scans = check(directory, options, &segments, &mut scan, recovery)?;
    if let Some(missing) = missing_before.filter(|_| base_index > scan.start.index) {
        return Err(OpenError::SegmentMissing { path: directory.to_owned(), missing });
    }
    let settled_through = options.settled_through;
    #[cfg(feature = "planted-bugs")]
    let settled_through = settled_through.filter(|_| !PlantedBug::CorruptionTakenForTornTail.is_planted());
    if let Some(expected) = settled_through.filter(|through| *through >= scan.next_index) {
        let found = scan.next_index.checked_sub(1);
        return Err(OpenError::TooShort { path: directory.to_owned(), expected, found });
    }
    Ok(Examined { chain, before, base_index, segments, scans, scan })
}

/// Scans the segments. Changes nothing.
fn check(
    directory: &Path,
    options: &LogOptions,
    segments: &[Found],
    scan: &mut Scan,
    recovery: &mut dyn Recovery,
) -> Result<Vec<SegmentScan>, OpenError> {
    let mut scans = Vec::with_capacity(segments.len());
    for (number, found) in segments.iter().enumerate() {
        let path = FileKind::Segment.path(directory, found.header.number);
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
        let sealed = segments.get(number + 1).and_then(|next| next.header.previous);
        let limit = sealed.map_or(found.size, |previous| previous.end);
        if limit > found.size {
            return Err(corrupt(found.size, scan.next_index, format!("the file is shorter than {limit} bytes")));
        }
        scan.vote = found.header.vote.or(scan.vote);
        if found.header.start.index >= scan.start.index {
            scan.start = found.header.start;
        }
        let scanner = |verify_from| SegmentScanner {
            file: &*found.handle,
            head_checksum: found.checksum,
            limit,
            verify_from,
            payload_bytes_max: options.payload_bytes_max,
        };
        // Records below the durable mark were checked when they were written; the scrub looks after them.
        let verify_from = match sealed {
            Some(_) => u64::MAX,
            None => {
                let headers = scanner(u64::MAX).run(&mut scan.clone(), &mut |_| Ok(())).map_err(at(&path))?;
                headers.durable_position
            }
        };
        let scanned = scanner(verify_from).run(scan, &mut |entry| recovery.entry(entry)).map_err(at(&path))?;
        if let Some(reason) = scanned.contradiction {
            return Err(OpenError::Contradiction { path: directory.to_owned(), reason });
        }
        if scan.start.index > scan.next_index {
            let reason = format!("the log is said to start at log index {}, behind its end", scan.start.index);
            return Err(corrupt(scanned.end, scan.next_index, reason));
        }
        let durable = || was_durable(&*found.handle, found.checksum, found.size, scanned.end).map_err(at(&path));
        #[cfg(feature = "planted-bugs")]
        let durable = || {
            let torn = nonzero_end(&*found.handle, scanned.end, found.size).map_err(at(&path))? > scanned.end;
            let refused = PlantedBug::TornTailTakenForCorruption.is_planted() && torn;
            Ok((durable()? || refused) && !PlantedBug::CorruptionTakenForTornTail.is_planted())
        };
        match (&scanned.stopped, sealed) {
            (Some(error), Some(_)) => return Err(corrupt(scanned.end, scan.next_index, error.to_string())),
            (None, Some(previous)) if previous.checksum != scanned.end_checksum => {
                return Err(corrupt(scanned.end, scan.next_index, "its last frame is not the sealed one".into()));
            }
            (Some(error), None) if durable()? => {
                return Err(corrupt(scanned.end, scan.next_index, error.to_string()));
            }
            // No crash makes a header that fits its checksum: this was written, by another build or with other limits.
            (Some(error @ (FrameError::TooLong { .. } | FrameError::Payload(_))), None) => {
                return Err(corrupt(scanned.end, scan.next_index, error.to_string()));
            }
            (Some(FrameError::Format(_) | FrameError::Kind(_)), None) => {
                let mut head = [0; BATCH_FRAME_SIZE_MIN];
                let count = read_at_least(&*found.handle, &mut head, scanned.end, 0).map_err(at(&path))?;
                if let Some(format) = FrameHeader::foreign(&head[..count], found.checksum) {
                    return Err(OpenError::Format { path, found: format, supported: FORMAT });
                }
                scans.push(scanned);
            }
            _ => scans.push(scanned),
        }
    }
    Ok(scans)
}

/// Removes files for good.
fn remove(vfs: &dyn Vfs, directory: &Path, paths: &[PathBuf]) -> Result<(), OpenError> {
    for path in paths {
        match vfs.remove_file(path) {
            // Somebody was quicker.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
            _ => {}
        }
    }
    if paths.is_empty() { Ok(()) } else { vfs.sync_directory(directory).map_err(at(directory)) }
}

/// The chain as the open log keeps it, and the index of its active segment.
fn assemble(
    directory: &Path,
    listing: &Listing,
    before: Vec<SegmentExtent>,
    found: Vec<Found>,
    scans: Vec<SegmentScan>,
) -> (Vec<Segment>, SparseIndex) {
    let segment = |extent: SegmentExtent| Segment {
        file: SegmentFile::planned(directory, extent.number),
        extent,
        checkpointed: listing.checkpoints.contains(&extent.number),
    };
    let mut segments: Vec<Segment> = before.into_iter().map(segment).collect();
    let mut index = SparseIndex::default();
    let mut newest = None;
    for (found, scanned) in found.into_iter().zip(scans) {
        let (end, end_checksum) = (scanned.end, scanned.end_checksum);
        segments.push(segment(SegmentExtent { end, end_checksum, ..extent_of(&found.header, found.checksum) }));
        (index, newest) = (scanned.index, Some((found.handle, found.size)));
    }
    // Only the newest is written; the others are opened again when they are read.
    if let (Some((handle, size)), Some(segment)) = (newest, segments.last()) {
        segment.file.begin(handle, size);
    }
    (segments, index)
}

/// The segments of the chain that are needed and not there.
fn missing(state: &State, there: &BTreeSet<u64>) -> Vec<(Arc<SegmentFile>, Hole)> {
    let pairs = state.segments.windows(2).map(|pair| (&pair[0], pair[1].extent.base_index));
    let gone = pairs.filter(|(segment, end)| *end > state.start.index && !there.contains(&segment.extent.number));
    let hole = |(segment, end): (&Segment, u64)| {
        let indexes = segment.extent.base_index.max(state.start.index)..end;
        let reason = "the file is missing".to_owned();
        (segment.file.clone(), Hole { indexes, path: segment.file.path.clone(), reason })
    };
    gone.map(hole).collect()
}

/// Creates the first segment of a new log.
fn create(vfs: &dyn Vfs, directory: &Path, options: &LogOptions) -> Result<Segment, OpenError> {
    vfs.create_directory(directory).map_err(at(directory))?;
    let header = SegmentHeader {
        number: 0,
        base_index: 0,
        replica: options.replica,
        owner: options.owner,
        base_offset: 0,
        base_time_ms: 0,
        previous: None,
        vote: None,
        start: LogStart::default(),
    };
    let (bytes, checksum) = header.encode();
    let file = SegmentFile::planned(directory, 0);
    let handle = create_first(vfs, directory, &bytes).map_err(at(&file.path))?;
    file.begin(handle, bytes.len() as u64);
    Ok(Segment { file, extent: extent_of(&header, checksum), checkpointed: false })
}
