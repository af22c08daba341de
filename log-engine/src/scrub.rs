//! Rereading finished segments to find damage before somebody needs what is damaged.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    FrameError, Hole, ReadError,
    read::{Stretch, Walk, open_segment_file},
    shared::Shared,
};

/// Bytes read between two looks at the clock.
const CHUNK: u64 = 1 << 20;

/// How the logs of a node are reread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubOptions {
    /// Bytes read a second at most, over all logs together.
    pub bytes_per_second: u64,
    /// From the beginning of one pass over all logs to that of the next, at least.
    pub interval: Duration,
}

/// What one pass, or one log's part of it, has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Finished segments read.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Places found damaged.
    pub damages: u64,
}

/// Counters since the start of the scrubber.
#[derive(Debug, Default)]
pub(crate) struct ScrubCounters {
    passes: AtomicU64,
    bytes: AtomicU64,
    damages: AtomicU64,
}

impl ScrubCounters {
    /// Passes finished, and what was read in all.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        (self.passes.load(Relaxed), self.bytes.load(Relaxed), self.damages.load(Relaxed))
    }
}

/// The logs of a node that are open.
#[derive(Debug, Default)]
pub(crate) struct OpenLogs(Mutex<Vec<Weak<Shared>>>);

impl OpenLogs {
    pub(crate) fn add(&self, log: &Arc<Shared>) {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(log));
    }

    fn all(&self) -> Vec<Weak<Shared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ends the scrubber's thread at once, also in the middle of a wait.
#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits, unless or until it is time to stop; tells whether it is.
    fn wait(&self, duration: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, duration, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The scrubber's thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Scrubber(Arc<Stop>);

impl Scrubber {
    pub(crate) fn start(options: ScrubOptions, logs: Arc<OpenLogs>, counters: Arc<ScrubCounters>) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let mine = stop.clone();
        std::thread::Builder::new().name("log-scrubber".into()).spawn(move || run(options, &logs, &counters, &mine))?;
        Ok(Self(stop))
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        *self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

fn run(options: ScrubOptions, logs: &OpenLogs, counters: &ScrubCounters, stop: &Stop) {
    // What was just opened was just checked where it matters; the first pass need not compete with a start.
    let mut next = options.interval.min(Duration::from_secs(60));
    while !stop.wait(next) {
        let begun = Instant::now();
        let mut pace = Pace { bytes_per_second: options.bytes_per_second.max(1), begun, bytes: 0, stop };
        for log in logs.all() {
            let Some(log) = log.upgrade() else { continue };
            let Some(report) = scrub(&log, &mut |bytes| pace.read(bytes)) else { return };
            counters.bytes.fetch_add(report.bytes, Relaxed);
            counters.damages.fetch_add(report.damages, Relaxed);
        }
        counters.passes.fetch_add(1, Relaxed);
        next = options.interval.saturating_sub(begun.elapsed());
    }
}

/// Keeps the reads below their rate.
struct Pace<'a> {
    bytes_per_second: u64,
    begun: Instant,
    bytes: u64,
    stop: &'a Stop,
}

impl Pace<'_> {
    /// Waits as long as these bytes may take; tells whether to go on.
    fn read(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / self.bytes_per_second as f64);
        !self.stop.wait(due.saturating_sub(self.begun.elapsed()))
    }
}

/// Reads all finished segments of a log, and reports what is damaged to it. `pace` is told of every bytes read and says
/// whether to go on; `None` if it did not.
pub(crate) fn scrub(log: &Shared, pace: &mut dyn FnMut(u64) -> bool) -> Option<ScrubReport> {
    let mut report = ScrubReport::default();
    // One segment at a time: the log may be trimmed or truncated meanwhile.
    let mut next = 0;
    while let Some((stretch, index)) = next_finished(log, next) {
        next = stretch.extent.number + 1;
        let mut found = damages(log, &stretch, index, &mut |bytes| {
            report.bytes += bytes;
            pace(bytes)
        })?;
        let start = log.lock().start.index;
        found.retain(|hole| !hole.lies_before(start));
        // What is not on the chain any more is nobody's damage.
        let on_chain = next_finished(log, stretch.extent.number)
            .is_some_and(|(same, _)| Arc::ptr_eq(&same.file, &stretch.file) && same.extent == stretch.extent);
        if on_chain && !log.is_closed() {
            report.segments += 1;
            report.damages += found.len() as u64;
            found.into_iter().for_each(|hole| log.report(&stretch.file, hole));
        }
    }
    Some(report)
}

/// The first finished segment of this number or a later one that is on stable storage as a whole, and the log index behind
/// its last entry.
fn next_finished(log: &Shared, number: u64) -> Option<(Stretch, u64)> {
    let state = log.lock();
    let mut pairs = state.segments.windows(2);
    // A segment's bytes are durable before its successor is.
    let pair = pairs.find(|pair| pair[0].extent.number >= number && pair[1].extent.number <= state.durable.segment)?;
    let (file, extent) = (pair[0].file.clone(), pair[0].extent);
    Some((Stretch { file, extent, point: None, finished: true }, pair[1].extent.base_index))
}

/// All that is damaged in one finished segment whose entries end before `end_index`; `None` if `pace` says to stop.
fn damages(log: &Shared, stretch: &Stretch, end_index: u64, pace: &mut dyn FnMut(u64) -> bool) -> Option<Vec<Hole>> {
    let Stretch { file, extent, .. } = stretch;
    let hole = |indexes, error: &ReadError| Hole { indexes, path: file.path.clone(), reason: reason(error) };
    // A handle of its own: a scrub does not push what readers use out of the cache.
    let handle = match file.writing() {
        Some(handle) => Ok(handle),
        None => open_segment_file(log, file, extent),
    };
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) if is_damage(&error) => return Some(vec![hole(extent.base_index..end_index, &error)]),
        Err(_) => return Some(Vec::new()),
    };
    let mut holes = Vec::new();
    let mut walk = Walk::new((&*handle, &file.path), extent, None, u64::MAX, log.payload_bytes_max, CHUNK);
    let mut read = 0;
    loop {
        let step = walk.find().and_then(|found| found.map(|found| walk.take(&found)).transpose());
        match step {
            Ok(Some(_)) => {}
            Ok(None) => {
                if walk.index < end_index && holes.is_empty() {
                    let error = walk.damaged(FrameError::Index { expected: end_index, found: walk.index });
                    holes.push(hole(walk.index..end_index, &error));
                }
                break;
            }
            Err(error) => {
                let from = walk.index;
                // Without the place of the next sound frame all up to the end is gone.
                let found = walk.resynchronise().unwrap_or(false);
                if is_damage(&error) {
                    holes.push(hole(from..if found { walk.index } else { end_index }, &error));
                }
                if !found {
                    break;
                }
            }
        }
        if walk.position >= read + CHUNK {
            handle.will_not_need(read..walk.position);
            if !pace(walk.position - read) {
                return None;
            }
            read = walk.position;
        }
    }
    handle.will_not_need(read..extent.end);
    pace(extent.end - read).then_some(holes)
}

/// What an error says, but for the path.
fn reason(error: &ReadError) -> String {
    match error {
        ReadError::Damaged { position, source, .. } => format!("damaged frame at byte {position}: {source}"),
        ReadError::Segment { reason, .. } => reason.clone(),
        ReadError::Io { source, .. } => source.to_string(),
        ReadError::Outdated { .. } => error.to_string(),
    }
}

/// Whether an error says that bytes are gone or wrong, and not that the system is short of something.
fn is_damage(error: &ReadError) -> bool {
    match error {
        ReadError::Damaged { .. } | ReadError::Segment { .. } => true,
        ReadError::Outdated { .. } => false,
        ReadError::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
                || source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        }
    }
}

/// Remembers all damage of a segment in which a read has met some.
pub(crate) fn report(log: &Shared, stretch: &Stretch, error: &ReadError) {
    if !stretch.finished {
        // What is read from the disk is on stable storage, in the active segment too.
        if let ReadError::Damaged { path, index, .. } = error {
            let indexes = *index..index.saturating_add(1);
            log.report(&stretch.file, Hole { indexes, path: path.clone(), reason: reason(error) });
        }
        return;
    }
    let number = stretch.extent.number;
    let known = log.holes().iter().any(|hole| hole.path == stretch.file.path);
    let Some((stretch, end_index)) = next_finished(log, number).filter(|(same, _)| same.extent == stretch.extent)
    else {
        return;
    };
    if known || !is_damage(error) || log.is_closed() {
        return;
    }
    if let Some(found) = damages(log, &stretch, end_index, &mut |_| true) {
        found.into_iter().for_each(|hole| log.report(&stretch.file, hole));
    }
}
