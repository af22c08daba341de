//! The maintenance thread of a node: whatever is written or removed but is no append. Nothing it does is needed for an
//! append to be acknowledged, and whatever fails here is done again later or done without.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use super::{
    publish::{checkpoint_state, publish},
    roll,
};
use crate::{Checkpoint, IndexFile, format::FileKind, repair::Install, shared::Shared};

/// Jobs that wait at most. What comes beyond is left out: an index is made when it is missed, a recovery begins at an
/// older checkpoint, files are removed at the next trim.
const JOBS_MAX: usize = 1_024;

pub(crate) enum MaintenanceJob {
    /// Make the file of a log's next segment.
    Prepare { log: Arc<Shared>, number: u64 },
    /// Write the index of a finished segment.
    Index { log: Arc<Shared>, index: IndexFile },
    /// Write a checkpoint; then older segments may be removable.
    Checkpoint { log: Arc<Shared>, checkpoint: Checkpoint },
    /// Remove the segments before the start of the log.
    Trim { log: Arc<Shared> },
    /// Remove the files of segments that are off the chain.
    Remove { log: Arc<Shared>, numbers: Vec<u64> },
    /// Put a repaired segment in its place.
    Install(Box<Install>),
    /// Answered once everything before is done.
    Barrier(SyncSender<()>),
    /// Ends the thread.
    Stop,
}

/// The way to the thread. Pushing never blocks.
#[derive(Clone)]
pub(crate) struct MaintenanceQueue(SyncSender<MaintenanceJob>);

impl std::fmt::Debug for MaintenanceQueue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MaintenanceQueue")
    }
}

impl MaintenanceQueue {
    pub(crate) fn push(&self, job: MaintenanceJob) {
        // A thread that has ended belongs to a node that has stopped.
        if let Err(TrySendError::Full(_)) = self.0.try_send(job) {
            tracing::warn!("the maintenance of the logs does not keep up: an index, a checkpoint or a trim is put off");
        }
    }

    /// Pushes a job that somebody waits for, as soon as there is room; tells whether the thread will see it.
    pub(crate) fn push_waiting(&self, job: MaintenanceJob) -> bool {
        self.0.send(job).is_ok()
    }

    /// Waits until everything pushed before is done, at most this long; tells whether it is.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let (done, finished) = sync_channel(1);
        self.0.send(MaintenanceJob::Barrier(done)).is_ok() && finished.recv_timeout(timeout).is_ok()
    }
}

/// The thread; dropping it ends it after the job at hand and those before.
#[derive(Debug)]
pub(crate) struct Maintenance(MaintenanceQueue);

impl Maintenance {
    pub(crate) fn start() -> io::Result<Self> {
        let (sender, jobs) = sync_channel(JOBS_MAX);
        std::thread::Builder::new().name("log-maintenance".into()).spawn(move || run(&jobs))?;
        Ok(Self(MaintenanceQueue(sender)))
    }

    pub(crate) fn queue(&self) -> MaintenanceQueue {
        self.0.clone()
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.0.push(MaintenanceJob::Stop);
    }
}

fn run(jobs: &Receiver<MaintenanceJob>) {
    for job in jobs {
        let (log, what, result) = match job {
            MaintenanceJob::Stop => return,
            MaintenanceJob::Barrier(done) => {
                // Nobody may wait any more.
                done.send(()).ok();
                continue;
            }
            MaintenanceJob::Install(install) => {
                install.run();
                continue;
            }
            MaintenanceJob::Prepare { log, number } => {
                let result = prepare(&log, number);
                (log, "prepare the next segment", result)
            }
            MaintenanceJob::Index { log, index } => {
                let result = write_index(&log, &index);
                (log, "write an index", result)
            }
            MaintenanceJob::Checkpoint { log, checkpoint } => {
                let result = write_checkpoint(&log, &checkpoint).and_then(|()| trim(&log));
                (log, "write a checkpoint", result)
            }
            MaintenanceJob::Trim { log } => {
                let result = trim(&log);
                (log, "remove trimmed segments", result)
            }
            MaintenanceJob::Remove { log, numbers } => {
                let result = remove(&log, &numbers);
                (log, "remove segments", result)
            }
        };
        if let Err(error) = result {
            tracing::warn!(directory = %log.directory.display(), %error, "could not {what}; it is done without or again");
        }
    }
}

fn prepare(log: &Shared, number: u64) -> io::Result<()> {
    let mut preparation = log.prepare();
    if preparation.closed || log.failure().is_some() {
        return Ok(());
    }
    let mut state = log.lock();
    // A file whose predecessor is not there yet would look like one whose predecessor was lost.
    if state.next_number != number || state.active().file.writing().is_none() {
        state.next_prepared = false;
        return Ok(());
    }
    drop(state);
    match roll::create(&*log.vfs, &log.directory, number, log.segment_bytes) {
        Ok(prepared) => preparation.ready = Some(prepared),
        // The roll was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // What the disk did not sync is not synced by asking again.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => {
            log.poison(&format!("{}: {error}", log.directory.display()), false);
        }
        Err(error) => {
            // The roll will make the file itself, when there is room.
            log.vfs.remove_file(&FileKind::Segment.path(&log.directory, number)).ok();
            return Err(error);
        }
    }
    Ok(())
}

fn write_index(log: &Shared, index: &IndexFile) -> io::Result<()> {
    match index.encode() {
        Some(bytes) if !log.is_closed() => publish(&*log.vfs, &log.directory, FileKind::Index, index.segment, &bytes),
        _ => Ok(()),
    }
}

fn write_checkpoint(log: &Shared, checkpoint: &Checkpoint) -> io::Result<()> {
    if log.is_closed() {
        return Ok(());
    }
    let Some(bytes) = checkpoint.encode() else {
        return Err(io::Error::other("the checkpoint is too large"));
    };
    publish(&*log.vfs, &log.directory, FileKind::Checkpoint, checkpoint.segment, &bytes)?;
    let mut state = log.lock();
    let same = |extent: crate::SegmentExtent| extent.head_checksum == checkpoint.segment_checksum;
    if let Some(segment) = state.segments.iter_mut().find(|segment| same(segment.extent)) {
        segment.checkpointed = true;
    }
    Ok(())
}

/// The start of the log is durable by now: see `Log::trim_prefix`.
fn trim(log: &Shared) -> io::Result<()> {
    if log.is_closed() {
        return Ok(());
    }
    // What recovery will begin at must be there and sound before what is older goes.
    loop {
        let Some(base) = log.lock().trim_base() else { return Ok(()) };
        if checkpoint_state(log, &base.extent).is_some() {
            let trimmed = log.lock().take_before(base.extent.number);
            return remove(log, &trimmed);
        }
        log.lock().forget_checkpoint(base.extent.number);
    }
}

/// Oldest first, so that a crash in between leaves the newer ones as a chain.
fn remove(log: &Shared, numbers: &[u64]) -> io::Result<()> {
    if numbers.is_empty() || log.is_closed() {
        return Ok(());
    }
    for number in numbers {
        log.open_segments.forget(log.id, *number);
        for kind in [FileKind::Checkpoint, FileKind::Index, FileKind::Segment] {
            match log.vfs.remove_file(&kind.path(&log.directory, *number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    log.vfs.sync_directory(&log.directory)
}
