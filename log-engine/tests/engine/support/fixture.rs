//! A log on a [`Disk`], and the entries the tests put into it.

use std::{path::Path, sync::Arc, sync::mpsc};

use bytes::Bytes;
use quorate_log_engine::{
    Frame, FrameKind, Log, LogFailure, LogOptions, LogWriters, OpenError, Opened, ReadError, ReadPlan, ReadStart,
    Stamp, TailCache, Vote,
};
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

use super::{Disk, PowerCut};

pub(crate) const DIRECTORY: &str = "/log";

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

pub(crate) struct Fixture {
    pub(crate) disk: Disk,
    pub(crate) options: LogOptions,
    pub(crate) writers: Arc<LogWriters>,
    pub(crate) cache: TailCache,
    pub(crate) opened: Option<Opened>,
    /// The (kind, term, index) of the entries the last open visited.
    pub(crate) visited: Vec<(FrameKind, u64, u64)>,
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
            segment_bytes,
            payload_bytes_max: 1 << 20,
            must_exist: false,
            durable_through: None,
        };
        Self {
            disk: Disk::default(),
            options,
            writers: LogWriters::start(1).unwrap(),
            cache: TailCache::new(1 << 20),
            opened: None,
            visited: Vec::new(),
        }
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
        let mut visited = Vec::new();
        let mut visit = |entry: quorate_log_engine::RecoveredEntry<'_>| {
            visited.push((entry.header.kind, entry.header.term, entry.header.index));
        };
        let directory = Path::new(DIRECTORY);
        let opened = Log::open(vfs, directory, &self.options, &self.writers, &self.cache, &mut visit)?;
        self.visited = visited;
        self.opened = Some(opened);
        Ok(())
    }

    pub(crate) fn power_cut_and_open(&mut self, cut: PowerCut) -> Result<(), OpenError> {
        self.disk.power_cut(cut);
        self.open()
    }

    pub(crate) fn append_later(&self, frames: Vec<Frame>) -> Done {
        let (done, receiver) = mpsc::channel();
        self.log().append(frames, Box::new(move |result| drop(done.send(result))));
        receiver
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
        while (frames.len() as u64) < self.log().next_index() {
            let (more, _) = self.read(ReadStart::Index(frames.len() as u64), u64::MAX, 300)?;
            assert!(!more.is_empty(), "a read within the log finds something");
            frames.extend(more.iter().map(image));
        }
        Ok(frames)
    }
}
