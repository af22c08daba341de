//! Group commit: a small, fixed set of threads writes and syncs the logs of a node.
//!
//! A thread drains its queue, joins what belongs to one log into one vectored write, issues one `fdatasync` a dirty
//! file and then completes all callbacks. Nothing waits on purpose: what queues up during one sync shares the next.
//! Jobs of one log keep their order, votes and appends alike, since they share a queue.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    dirty::{Dirty, commit},
    roll::Roll,
};
use crate::{LogFailure, segment_file::SegmentFile, shared::Shared};

/// Told once, from a writer thread, when the bytes are on stable storage or never will be. Must not block.
pub type Completion = Box<dyn FnOnce(Result<(), LogFailure>) + Send>;

/// Counters since the start of the threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Appends and votes asked for.
    pub requests: u64,
    /// `fdatasync` calls made.
    pub syncs: u64,
    /// Bytes of frames and headers written.
    pub bytes: u64,
    /// How long the syncs took.
    pub sync_times: SyncTimes,
}

/// The upper bounds of the ranges that the times of syncs are counted in, in microseconds. What takes longer is in a range
/// of its own.
pub const SYNC_TIME_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// How long syncs took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncTimes {
    /// How many were in each range of [`SYNC_TIME_BOUNDS_US`], the longest last.
    pub counts: [u64; SYNC_TIME_BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    syncs: AtomicU64,
    bytes: AtomicU64,
    sync_times: [AtomicU64; SYNC_TIME_BOUNDS_US.len() + 1],
    sync_time_us: AtomicU64,
}

impl Counters {
    /// Counts a sync before it begins.
    pub(super) fn count_sync(&self) {
        self.syncs.fetch_add(1, Relaxed);
    }

    /// Counts how long one took.
    pub(super) fn count_sync_time(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let range = SYNC_TIME_BOUNDS_US.iter().take_while(|bound| us > **bound).count();
        self.sync_times[range].fetch_add(1, Relaxed);
        self.sync_time_us.fetch_add(us, Relaxed);
    }

    pub(super) fn count_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }
}

pub(crate) enum Job {
    /// Bytes at the end of a segment.
    Write(WriteJob),
    /// A new segment.
    Roll(Box<Roll>),
    /// Answered once everything before is done.
    Barrier(Box<dyn FnOnce() + Send>),
    /// Ends the thread.
    Stop,
}

pub(crate) struct WriteJob {
    pub(crate) log: Arc<Shared>,
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) position: u64,
    pub(crate) parts: Vec<Bytes>,
    pub(crate) mark: Mark,
    pub(crate) done: Option<Completion>,
}

/// What a finished job says about the log.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) generation: u64,
    pub(crate) through: Option<u64>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Vec<Job>>,
    wake: Condvar,
}

impl Queue {
    fn push(&self, job: Job) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.push(job);
        drop(jobs);
        self.wake.notify_one();
    }

    fn drain(&self) -> Vec<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        while jobs.is_empty() {
            jobs = self.wake.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut *jobs)
    }
}

/// The writer threads of a node. Dropping it ends them once their queues are empty.
pub(crate) struct LogWriters {
    queues: Vec<Arc<Queue>>,
    next: AtomicUsize,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for LogWriters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogWriters").field("threads", &self.queues.len()).finish_non_exhaustive()
    }
}

impl LogWriters {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(crate) fn start(threads: usize) -> io::Result<Arc<Self>> {
        let counters = Arc::new(Counters::default());
        let queues = (0..threads.max(1))
            .map(|number| {
                let queue = Arc::new(Queue::default());
                let (mine, counters) = (queue.clone(), counters.clone());
                std::thread::Builder::new()
                    .name(format!("log-writer-{number}"))
                    .spawn(move || run(&mine, &counters))?;
                Ok(queue)
            })
            .collect::<io::Result<_>>()?;
        Ok(Arc::new(Self { queues, next: AtomicUsize::new(0), counters }))
    }

    /// The counters so far.
    pub(crate) fn stats(&self) -> WriterStats {
        WriterStats {
            requests: self.counters.requests.load(Relaxed),
            syncs: self.counters.syncs.load(Relaxed),
            bytes: self.counters.bytes.load(Relaxed),
            sync_times: SyncTimes {
                counts: self.counters.sync_times.each_ref().map(|count| count.load(Relaxed)),
                sum_us: self.counters.sync_time_us.load(Relaxed),
            },
        }
    }

    /// The queue a new log is served by, in turn.
    pub(crate) fn assign(self: &Arc<Self>) -> WriterHandle {
        let at = self.next.fetch_add(1, Relaxed) % self.queues.len();
        WriterHandle { queue: self.queues[at].clone(), _writers: self.clone() }
    }
}

impl Drop for LogWriters {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.push(Job::Stop));
    }
}

/// One log's way to its thread.
pub(crate) struct WriterHandle {
    queue: Arc<Queue>,
    _writers: Arc<LogWriters>,
}

impl WriterHandle {
    pub(crate) fn push(&self, job: Job) {
        self.queue.push(job);
    }
}

fn run(queue: &Queue, counters: &Counters) {
    let _guard = AbortOnPanic;
    loop {
        let mut dirty: Vec<Dirty> = Vec::new();
        let mut barriers = Vec::new();
        let mut stop = false;
        for job in queue.drain() {
            match job {
                Job::Write(write) => {
                    counters.requests.fetch_add(1, Relaxed);
                    match dirty.iter_mut().find(|run| Arc::ptr_eq(&run.log, &write.log)) {
                        Some(run) => run.join(write),
                        None => dirty.push(Dirty::new(write)),
                    }
                }
                Job::Roll(roll) => {
                    // What earlier rounds wrote is synced already.
                    if let Some(at) = dirty.iter().position(|run| Arc::ptr_eq(&run.log, &roll.log)) {
                        commit(vec![dirty.swap_remove(at)], counters);
                    }
                    roll.run(counters);
                }
                Job::Barrier(done) => barriers.push(done),
                Job::Stop => stop = true,
            }
        }
        commit(dirty, counters);
        barriers.into_iter().for_each(|done| done());
        if stop {
            return;
        }
    }
}

/// A writer thread that panics has broken an invariant, and its logs would wait for ever: better that the process ends
/// and recovers.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a log-writer thread has panicked: the process ends");
            std::process::abort();
        }
    }
}
