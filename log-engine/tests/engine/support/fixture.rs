//! A log on a [`Disk`], and the entries the tests put into it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use quorate_faulty_vfs::{Fault, Filter, OperationKind};
use quorate_log_engine::{
    EngineOptions, Frame, FrameKind, Log, LogEngine, LogFailure, LogOptions, LogStart, OpenError, Opened, ReadError,
    ReadPlan, ReadStart, RecoveredEntry, Recovery, Stamp, Vote,
};
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

use super::{Disk, PowerCut};

pub(crate) const DIRECTORY: &str = "/log";

/// Whose replica the log is.
pub(crate) const OWNER: u128 = 0x0001_0002_0003_0004;

pub(crate) type Done = mpsc::Receiver<Result<(), LogFailure>>;

/// Blocks until a completion is called.
pub(crate) fn wait(done: &Done) -> Result<(), LogFailure> {
    done.recv().unwrap()
}

/// An entry that holds a batch of `count` records of some bytes each, from `offset` on; `stamped` unless rejected.
pub(crate) fn batch(term: u64, index: u64, offset: u64, count: u64, stamped: bool) -> Frame {
    let mut builder = BatchBuilder::new(Compression::None);
    for record in 0..count {
        builder.push(&Record::new(format!("record {record} of entry {index} of term {term}"), 7));
    }
    let payload = builder.build(ProducerStamp::NONE).unwrap();
    let stamp = stamped.then_some(Stamp { base_offset: offset, leader_epoch: term as i32 });
    let next_offset = offset + if stamped { count } else { 0 };
    Frame {
        kind: FrameKind::Batch,
        expected_end_offset: Some(9),
        payload,
        stamp,
        next_offset,
        ..command(term, index, 0, "")
    }
}

/// An entry that holds a command.
pub(crate) fn command(term: u64, index: u64, offset: u64, text: &str) -> Frame {
    Frame {
        kind: FrameKind::Command,
        term,
        index,
        leader_time_ms: 1_000 + index as i64,
        expected_end_offset: None,
        payload: Bytes::copy_from_slice(text.as_bytes()),
        stamp: None,
        next_offset: offset,
    }
}

/// The frame as it comes back from the disk, whatever stamp its payload held in memory.
pub(crate) fn image(frame: &Frame) -> Frame {
    let mut payload = frame.payload.to_vec();
    if frame.kind == FrameKind::Batch {
        let (offset, epoch) = frame.stamp.map_or((-1, -1), |stamp| (stamp.base_offset as i64, stamp.leader_epoch));
        payload[..21].copy_from_slice(&quorate_record::stamp(&frame.payload, offset, epoch));
    }
    Frame { payload: payload.into(), ..frame.clone() }
}

/// What an open told.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    /// The state restored and the log index behind it.
    pub(crate) restored: Option<(u64, Bytes)>,
    /// Kind, term and log index of each entry.
    pub(crate) entries: Vec<(FrameKind, u64, u64)>,
}

impl Recovery for Visited {
    fn restore(&mut self, next_index: u64, state: Bytes) -> Result<(), String> {
        assert!(self.restored.is_none() && self.entries.is_empty(), "a state is restored first, and once");
        self.restored = Some((next_index, state));
        Ok(())
    }

    fn entry(&mut self, entry: RecoveredEntry<'_>) -> Result<(), String> {
        self.entries.push((entry.header.kind, entry.header.term, entry.header.index));
        Ok(())
    }
}

/// An engine with one writer thread.
pub(crate) fn engine(tail_cache_bytes: usize) -> Arc<LogEngine> {
    let options = EngineOptions { writer_threads: 1, tail_cache_bytes, open_segments_max: 2, scrub: None };
    LogEngine::start(options).unwrap()
}

/// One engine for all cases with a cache of this size: threads cost more than a small log.
pub(crate) fn shared_engine(tail_cache_bytes: usize) -> Arc<LogEngine> {
    static ENGINES: Mutex<BTreeMap<usize, Arc<LogEngine>>> = Mutex::new(BTreeMap::new());
    ENGINES.lock().unwrap().entry(tail_cache_bytes).or_insert_with(|| engine(tail_cache_bytes)).clone()
}

pub(crate) struct Fixture {
    pub(crate) disk: Disk,
    pub(crate) options: LogOptions,
    pub(crate) engine: Arc<LogEngine>,
    pub(crate) opened: Option<Opened>,
    /// What the last open told.
    pub(crate) visited: Visited,
}

impl Fixture {
    /// An open log with small segments.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        let mut fixture = Self::closed(segment_bytes);
        fixture.open().unwrap();
        fixture
    }

    pub(crate) fn closed(segment_bytes: u64) -> Self {
        let options = LogOptions {
            replica: 7,
            owner: OWNER,
            segment_bytes,
            payload_bytes_max: 1 << 20,
            must_exist: false,
            settled_through: None,
        };
        Self { disk: Disk::default(), options, engine: engine(1 << 20), opened: None, visited: Visited::default() }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.opened.as_ref().unwrap().log
    }

    /// Opens the log in a new process. The power stays on; whoever was before is dead.
    pub(crate) fn open(&mut self) -> Result<(), OpenError> {
        self.opened = None;
        self.open_on(self.disk.vfs())
    }

    pub(crate) fn open_on(&mut self, vfs: Arc<dyn quorate_log_engine::Vfs>) -> Result<(), OpenError> {
        let mut visited = Visited::default();
        let opened = Log::open(&self.engine, vfs, Path::new(DIRECTORY), &self.options, &mut visited)?;
        self.visited = visited;
        self.opened = Some(opened);
        Ok(())
    }

    /// Waits until all is done, and closes the log.
    pub(crate) fn close(&mut self) {
        self.barrier();
        self.opened = None;
    }

    /// The paths of the segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        self.disk.paths().into_iter().filter(|path| path.extension().is_some_and(|name| name == "log")).collect()
    }

    /// The newest segment that holds anything.
    pub(crate) fn newest_segment(&self) -> PathBuf {
        let holds = |path: &PathBuf| self.disk.bytes(path).iter().any(|byte| *byte != 0);
        self.segments().into_iter().rfind(holds).unwrap()
    }

    pub(crate) fn power_cut_and_open(&mut self, cut: PowerCut) -> Result<(), OpenError> {
        self.disk.power_cut(cut);
        self.open()
    }

    /// Appends, and keeps a checkpoint for each segment that begins.
    pub(crate) fn append_later(&self, frames: Vec<Frame>) -> Done {
        let (done, receiver) = mpsc::channel();
        let begun = self.log().append(frames, Box::new(move |result| drop(done.send(result))));
        begun.into_iter().for_each(|base_index| self.checkpoint(base_index));
        receiver
    }

    pub(crate) fn checkpoint(&self, base_index: u64) {
        self.log().checkpoint(base_index, state_before(base_index));
    }

    /// Cuts the log to this many entries, and keeps a checkpoint if a segment begins.
    pub(crate) fn truncate(&self, length: u64) -> Result<(), LogFailure> {
        let begun = self.log().truncate_after(length.checked_sub(1))?;
        begun.into_iter().for_each(|base_index| self.checkpoint(base_index));
        Ok(())
    }

    /// Trims to this log index; `offset` is the end offset before it.
    pub(crate) fn trim(&self, index: u64, offset: u64) -> Result<(), LogFailure> {
        let (done, receiver) = mpsc::channel();
        let term = index.checked_sub(1).and_then(|before| self.log().term_of(before)).unwrap_or(0);
        self.log().trim_prefix(LogStart { index, term, offset }, Box::new(move |result| drop(done.send(result))));
        wait(&receiver)
    }

    pub(crate) fn append(&self, frames: Vec<Frame>) -> Result<(), LogFailure> {
        wait(&self.append_later(frames))
    }

    /// Appends batches of two records and then of one term at the end.
    pub(crate) fn append_batches(&self, term: u64, count: u64) -> Vec<Frame> {
        let (index, offset) = (self.log().next_index(), self.log().end_offset());
        let frames: Vec<Frame> = (0..count).map(|at| batch(term, index + at, offset + 2 * at, 2, true)).collect();
        self.append(frames.clone()).unwrap();
        frames
    }

    /// Forgets all and goes on here.
    pub(crate) fn restart(&self, start: LogStart) -> Result<(), LogFailure> {
        let (done, receiver) = mpsc::channel();
        let state = state_before(start.index);
        self.log().restart_at(start, state, Box::new(move |result| drop(done.send(result))));
        wait(&receiver)
    }

    /// From now on syncs of segments fail.
    pub(crate) fn fail_syncs(&self) {
        self.disk.inject(Filter::on(OperationKind::SyncFile).suffix(".log"), Fault::Broken);
    }

    pub(crate) fn vote(&self, term: u64, voted_for: u64) -> Result<(), LogFailure> {
        let (done, receiver) = mpsc::channel();
        let vote = Vote { term, voted_for, committed: false };
        self.log().save_vote(vote, Box::new(move |result| drop(done.send(result))));
        wait(&receiver)
    }

    /// Waits until everything asked for is done.
    pub(crate) fn barrier(&self) {
        let (done, receiver) = mpsc::channel();
        self.log().barrier(move || done.send(()).unwrap());
        receiver.recv().unwrap();
        assert!(self.engine.wait_for_maintenance(Duration::from_secs(60)));
    }

    pub(crate) fn read(&self, start: ReadStart, end: u64, bytes_max: usize) -> Result<(Vec<Frame>, bool), ReadError> {
        match self.log().plan_read(start, end, bytes_max) {
            ReadPlan::Ready(frames) => Ok((frames, true)),
            ReadPlan::Cold(read) => Ok((read.run()?, false)),
        }
    }

    /// All entries of the log, as [`image`]s.
    pub(crate) fn read_all(&self) -> Result<Vec<Frame>, ReadError> {
        let mut frames: Vec<Frame> = Vec::new();
        let start = self.log().start().index;
        while start + (frames.len() as u64) < self.log().next_index() {
            let (more, _) = self.read(ReadStart::Index(start + frames.len() as u64), u64::MAX, 300)?;
            assert!(!more.is_empty(), "a read within the log finds something");
            frames.extend(more.iter().map(image));
        }
        Ok(frames)
    }
}

/// What stands for the state a caller would keep.
pub(crate) fn state_before(index: u64) -> Bytes {
    Bytes::from(format!("the state before log index {index}"))
}

/// The path of a segment.
pub(crate) fn segment_path(number: u64) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{number:020}.log"))
}
