//! Group commit: a small, fixed set of threads writes and syncs the logs of a node.
//!
//! A thread drains its queue, joins what belongs to one log into one vectored write, issues one `fdatasync` a dirty
//! file and then completes all callbacks. Nothing waits on purpose: what queues up during one sync shares the next.
//! Jobs of one log keep their order, votes and appends alike, since they share a queue.

use std::{
    io::{self, IoSlice},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;

use crate::{
    LogFailure,
    state::{SegmentFile, Shared},
};

/// Told once, from a writer thread, when the bytes are on stable storage or never will be. Must not block.
pub type Completion = Box<dyn FnOnce(Result<(), LogFailure>) + Send>;

/// Counters since the start of the threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Appends and votes asked for.
    pub requests: u64,
    /// `fdatasync` calls made.
    pub syncs: u64,
    /// Bytes written.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    syncs: AtomicU64,
    bytes: AtomicU64,
}

pub(crate) enum Job {
    /// Bytes at the end of a segment.
    Write(WriteJob),
    /// A new segment: what was written before is synced first, since the new header vouches for it.
    Roll { log: Arc<Shared>, file: Arc<SegmentFile>, header: Bytes, mark: Mark },
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
pub struct LogWriters {
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
    pub fn start(threads: usize) -> io::Result<Arc<Self>> {
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
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        WriterStats {
            requests: self.counters.requests.load(Relaxed),
            syncs: self.counters.syncs.load(Relaxed),
            bytes: self.counters.bytes.load(Relaxed),
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

/// Adjacent bytes of one log that a round writes and syncs together.
struct Dirty {
    log: Arc<Shared>,
    file: Arc<SegmentFile>,
    position: u64,
    end: u64,
    parts: Vec<Bytes>,
    mark: Mark,
    done: Vec<Completion>,
}

fn run(queue: &Queue, counters: &Counters) {
    loop {
        let mut dirty: Vec<Dirty> = Vec::new();
        let mut barriers = Vec::new();
        let mut stop = false;
        for job in queue.drain() {
            match job {
                Job::Write(write) => {
                    counters.requests.fetch_add(1, Relaxed);
                    join(&mut dirty, write);
                }
                Job::Roll { log, file, header, mark } => {
                    // What earlier rounds wrote is synced already.
                    if let Some(at) = dirty.iter().position(|run| Arc::ptr_eq(&run.log, &log)) {
                        commit(vec![dirty.swap_remove(at)], counters);
                    }
                    roll(&log, &file, &header, mark, counters);
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

fn join(dirty: &mut Vec<Dirty>, write: WriteJob) {
    let size: u64 = write.parts.iter().map(|part| part.len() as u64).sum();
    if let Some(run) = dirty.iter_mut().find(|run| Arc::ptr_eq(&run.log, &write.log)) {
        assert!(
            run.file.number == write.file.number && run.end == write.position,
            "a log's writes are adjacent between rolls"
        );
        run.end += size;
        run.parts.extend(write.parts);
        run.mark = write.mark;
        run.done.extend(write.done);
        return;
    }
    dirty.push(Dirty {
        log: write.log,
        file: write.file,
        position: write.position,
        end: write.position + size,
        parts: write.parts,
        mark: write.mark,
        done: write.done.into_iter().collect(),
    });
}

/// Writes all runs, then syncs them one by one, so that the device has work while the first sync waits.
fn commit(dirty: Vec<Dirty>, counters: &Counters) {
    let written: Vec<(Dirty, Result<(), LogFailure>)> = dirty
        .into_iter()
        .map(|run| {
            let result = guarded(&run.log, &run.file, || {
                let slices: Vec<IoSlice<'_>> = run.parts.iter().map(|part| IoSlice::new(part)).collect();
                counters.bytes.fetch_add(run.end - run.position, Relaxed);
                run.file.handle()?.write_all_at(&slices, run.position)
            });
            (run, result)
        })
        .collect();
    for (run, result) in written {
        let result = result.and_then(|()| {
            guarded(&run.log, &run.file, || {
                counters.syncs.fetch_add(1, Relaxed);
                run.file.handle()?.sync_data()
            })
        });
        if result.is_ok() {
            run.log.synced(run.mark.generation, run.mark.through, run.file.number, run.end);
        }
        run.done.into_iter().for_each(|done| done(result.clone()));
    }
}

/// Creates a segment. It is whole on stable storage before anything else is written to it, so that a segment that
/// holds more than its header has a sound one or is damaged.
fn roll(log: &Arc<Shared>, file: &SegmentFile, header: &Bytes, mark: Mark, counters: &Counters) {
    let result = guarded(log, file, || {
        let handle = log.vfs.create(&file.path)?;
        counters.bytes.fetch_add(header.len() as u64, Relaxed);
        handle.write_all_at(&[IoSlice::new(header)], 0)?;
        counters.syncs.fetch_add(1, Relaxed);
        handle.sync_data()?;
        log.vfs.sync_directory(&log.directory)?;
        file.set(handle);
        Ok(())
    });
    if result.is_ok() {
        log.synced(mark.generation, mark.through, file.number, header.len() as u64);
    }
}

/// Runs an operation on a file unless the log is poisoned, and poisons it if the operation fails.
fn guarded(log: &Shared, file: &SegmentFile, operation: impl FnOnce() -> io::Result<()>) -> Result<(), LogFailure> {
    if let Some(failure) = log.failure() {
        return Err(failure.clone());
    }
    operation().map_err(|error| log.poison(&format!("{}: {error}", file.path.display())))
}
