//! A log that version 1 has written, in `tests/fixtures/format-1`: every later build must read it.
//!
//! It was written once by [`the_fixture_is_written`] here, which refuses to write over it. A later version gets a
//! directory of its own, and this one stays.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use quorate_faulty_vfs::Disk;
use quorate_log_engine::{
    EngineOptions, Frame, FrameKind, Log, LogEngine, LogFailure, LogOptions, LogStart, Opened, RealVfs, RecoveredEntry,
    Recovery, Stamp, Vfs, Vote,
};
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

use crate::listing;

const DIRECTORY: &str = "/log";
const SEGMENT_BYTES: u64 = 2 << 10;
/// Of the one segment that has an index of more than its base.
const LARGE_SEGMENT_BYTES: u64 = 16 << 10;
/// The leader time of log index 0, milliseconds since 1970.
pub(crate) const TIME_MS: i64 = 1_700_000_000_000;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// Names and bytes of the fixture's files, in the order of their names.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(fixture().join("log")).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<_> = entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

pub(crate) fn engine() -> Arc<LogEngine> {
    let options = EngineOptions { writer_threads: 1, ..EngineOptions::default() };
    LogEngine::start(options).unwrap()
}

pub(crate) fn options(segment_bytes: u64) -> LogOptions {
    LogOptions {
        replica: 7,
        owner: 0x0001_0002_0003_0004,
        segment_bytes,
        payload_bytes_max: 1 << 20,
        must_exist: false,
        settled_through: None,
    }
}

/// What an open told.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// The state restored and the log index behind it.
    pub(crate) restored: Option<(u64, Bytes)>,
    /// The log indexes visited.
    pub(crate) visited: Vec<u64>,
}

impl Recovery for Entries {
    fn restore(&mut self, next_index: u64, state: Bytes) -> Result<(), String> {
        assert!(self.restored.is_none() && self.visited.is_empty(), "a state is restored first, and once");
        self.restored = Some((next_index, state));
        Ok(())
    }

    fn entry(&mut self, entry: RecoveredEntry<'_>) -> Result<(), String> {
        self.visited.push(entry.header.index);
        Ok(())
    }
}

/// An entry that is no batch.
fn entry(kind: FrameKind, term: u64, index: u64, offset: u64, time_ms: i64, text: &str) -> Frame {
    Frame {
        kind,
        term,
        index,
        leader_time_ms: time_ms,
        expected_end_offset: None,
        payload: Bytes::copy_from_slice(text.as_bytes()),
        stamp: None,
        next_offset: offset,
    }
}

/// A command.
pub(crate) fn command(term: u64, index: u64, offset: u64, time_ms: i64, text: &str) -> Frame {
    entry(FrameKind::Command, term, index, offset, time_ms, text)
}

/// The log being written.
struct Writer {
    disk: Disk,
    engine: Arc<LogEngine>,
    opened: Option<Opened>,
}

impl Writer {
    fn log(&self) -> &Log {
        &self.opened.as_ref().unwrap().log
    }

    fn open(&mut self, segment_bytes: u64) {
        if self.opened.is_some() {
            self.finish();
            self.opened = None;
        }
        let mut entries = Entries::default();
        let (vfs, options) = (self.disk.vfs(), options(segment_bytes));
        self.opened = Some(Log::open(&self.engine, vfs, Path::new(DIRECTORY), &options, &mut entries).unwrap());
    }

    /// Waits until everything asked for is done.
    fn finish(&self) {
        let (done, finished) = mpsc::channel();
        self.log().barrier(move || done.send(()).unwrap());
        finished.recv().unwrap();
        assert!(self.engine.wait_for_maintenance(Duration::from_secs(60)));
    }

    /// Waits each time, so that the durable marks do not depend on the speed of a thread.
    fn wait(&self, ask: impl FnOnce(Box<dyn FnOnce(Result<(), LogFailure>) + Send>)) {
        let (done, finished) = mpsc::channel();
        ask(Box::new(move |result| drop(done.send(result))));
        finished.recv().unwrap().unwrap();
        self.finish();
    }

    fn append(&self, frame: Frame) {
        let mut begun = Vec::new();
        self.wait(|done| begun = self.log().append(vec![frame], done));
        begun.into_iter().for_each(|base_index| self.checkpoint(base_index));
    }

    fn checkpoint(&self, base_index: u64) {
        self.log().checkpoint(base_index, Bytes::from(format!("the state before log index {base_index}")));
        self.finish();
    }

    fn entry(&self, kind: FrameKind, term: u64, text: &str) {
        let index = self.log().next_index();
        // A new leader's first entry has no time.
        let time_ms = if kind == FrameKind::Blank { 0 } else { time_of(index) };
        self.append(entry(kind, term, index, self.log().end_offset(), time_ms, text));
    }

    fn batch(&self, term: u64, compression: Compression, count: u64, producer: ProducerStamp, accepted: bool) {
        let (index, offset) = (self.log().next_index(), self.log().end_offset());
        let mut builder = BatchBuilder::new(compression);
        for at in 0..count {
            let value = format!("record {at} of entry {index}: all work and no play, all work and no play");
            let record = Record::new(value, time_of(index) - 100 + at as i64).with_key(format!("key {}", at % 3));
            builder.push(&if at == 0 { record.with_header("source", "fixture") } else { record });
        }
        let payload = builder.build(producer).unwrap();
        let stamp = accepted.then_some(Stamp { base_offset: offset, leader_epoch: term as i32 });
        let next_offset = offset + if accepted { count } else { 0 };
        let expected_end_offset = (index % 2 == 0).then_some(offset);
        let frame = Frame { payload, stamp, next_offset, expected_end_offset, ..command(term, index, 0, 0, "") };
        self.append(Frame { kind: FrameKind::Batch, leader_time_ms: time_of(index), ..frame });
    }

    fn vote(&self, term: u64, voted_for: u64, committed: bool) {
        self.wait(|done| self.log().save_vote(Vote { term, voted_for, committed }, done));
    }
}

/// The leader time of an entry; one clock stands behind the others.
pub(crate) fn time_of(index: u64) -> i64 {
    TIME_MS + 1_000 * index as i64 - if index == 9 { 2_500 } else { 0 }
}

/// The files of a log in which everything has happened that version 1 knows.
fn write() -> Vec<(PathBuf, Vec<u8>)> {
    let mut writer = Writer { disk: Disk::default(), engine: engine(), opened: None };
    let producer = |sequence| ProducerStamp { producer_id: 77, producer_epoch: 1, base_sequence: sequence };
    writer.open(SEGMENT_BYTES);
    writer.vote(1, 7, false);
    writer.vote(1, 7, true);
    writer.entry(FrameKind::Blank, 1, "");
    writer.entry(FrameKind::Membership, 1, "replicas 7, 8 and 9");
    writer.batch(1, Compression::None, 3, ProducerStamp::NONE, true);
    writer.batch(1, Compression::Lz4, 12, producer(0), true);
    writer.batch(1, Compression::Zstd, 12, producer(12), true);
    // A producer's repetition.
    writer.batch(1, Compression::Zstd, 12, producer(12), false);
    writer.entry(FrameKind::Command, 1, "a command");
    for count in [1, 2, 3, 4, 5] {
        writer.batch(1, Compression::None, count, ProducerStamp::NONE, true);
    }
    writer.entry(FrameKind::Trim, 1, "entries before log index 8 may go");
    let before = writer.log().plan_read(quorate_log_engine::ReadStart::Index(7), 8, 1);
    let quorate_log_engine::ReadPlan::Ready(before) = before else { panic!("it was just appended") };
    let start = LogStart { index: 8, term: 1, offset: before[0].next_offset };
    writer.wait(|done| writer.log().trim_prefix(start, done));
    writer.batch(1, Compression::Lz4, 20, producer(24), true);
    writer.entry(FrameKind::Command, 1, "a command that will be lost");
    writer.batch(1, Compression::Lz4, 30, producer(44), true);
    // Another leader never saw the last two entries: one goes with its segment, one stays behind a seal.
    writer.vote(2, 8, false);
    let last = writer.log().next_index() - 3;
    let begun = writer.log().truncate_after(Some(last)).unwrap().unwrap();
    writer.checkpoint(begun);
    writer.entry(FrameKind::Blank, 2, "");
    writer.entry(FrameKind::ProducerExpiry, 2, "producer 77");
    writer.batch(2, Compression::Zstd, 20, producer(0), true);
    writer.batch(2, Compression::None, 2, ProducerStamp::NONE, false);
    writer.open(LARGE_SEGMENT_BYTES);
    for _ in 0..2 {
        writer.batch(2, Compression::None, 40, ProducerStamp::NONE, true);
        writer.batch(2, Compression::None, 44, ProducerStamp::NONE, true);
        writer.entry(FrameKind::Command, 2, "a command in between");
    }
    writer.open(SEGMENT_BYTES);
    writer.vote(4, 7, true);
    writer.entry(FrameKind::Blank, 4, "");
    writer.entry(FrameKind::Membership, 4, "replicas 7, 8 and 10");
    writer.batch(4, Compression::Lz4, 8, producer(20), true);
    writer.entry(FrameKind::Command, 4, "the last command");
    writer.log().mark_if_idle();
    // What was prepared for the next segment goes with the next open.
    writer.open(SEGMENT_BYTES);
    writer.opened = None;
    writer.disk.contents()
}

#[test]
#[ignore = "writes the fixture once; a later version gets a directory of its own"]
fn the_fixture_is_written() {
    let directory = fixture().join("log");
    assert!(!directory.exists(), "{} exists, and what version 1 has written never changes", directory.display());
    std::fs::create_dir_all(&directory).unwrap();
    for (path, bytes) in write() {
        std::fs::write(directory.join(path.file_name().unwrap()), bytes).unwrap();
    }
    let disk = disk();
    let opened = opened(disk.vfs(), Path::new(DIRECTORY));
    std::fs::write(fixture().join("files.txt"), listing::files(&files())).unwrap();
    std::fs::write(fixture().join("log.txt"), opened).unwrap();
}

/// A disk with a copy of the fixture.
fn disk() -> Disk {
    let at = |(name, bytes)| (Path::new(DIRECTORY).join::<String>(name), bytes);
    Disk::of(&files().into_iter().map(at).collect::<Vec<_>>())
}

/// What is found in a copy, whether the caller knows nothing of it or how far it was committed.
fn opened(vfs: Arc<dyn Vfs>, directory: &Path) -> String {
    let mut text = String::new();
    for settled_through in [None, Some(22)] {
        let (engine, options) = (engine(), LogOptions { settled_through, must_exist: true, ..options(SEGMENT_BYTES) });
        let mut entries = Entries::default();
        let opened = Log::open(&engine, vfs.clone(), directory, &options, &mut entries).unwrap();
        assert!(opened.log.holes().is_empty() && opened.torn_bytes == 0);
        assert_eq!(opened.log.scrub().damages, 0);
        text += &listing::log(settled_through, &opened, &entries);
        drop(opened);
        assert!(engine.wait_for_maintenance(Duration::from_secs(60)));
    }
    text
}

fn expected(name: &str) -> String {
    std::fs::read_to_string(fixture().join(name)).unwrap()
}

#[track_caller]
fn assert_same(found: &str, expected: &str) {
    for (number, (found, expected)) in (1..).zip(found.lines().zip(expected.lines())) {
        assert_eq!(found, expected, "line {number}");
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn the_files_are_decoded_to_what_they_were() {
    assert_same(&listing::files(&files()), &expected("files.txt"));
}

#[test]
fn the_log_is_opened_in_memory_as_it_was_and_not_changed() {
    let disk = disk();
    let before = disk.contents();
    assert_same(&opened(disk.vfs(), Path::new(DIRECTORY)), &expected("log.txt"));
    assert!(disk.contents() == before, "opening a log that was closed in order changes nothing");
}

#[test]
fn the_log_is_opened_on_a_file_system_as_it_was_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (name, bytes) in files() {
        std::fs::write(directory.join(name), bytes).unwrap();
    }
    assert_same(&opened(Arc::new(RealVfs), directory), &expected("log.txt"));
    for (name, bytes) in files() {
        assert!(std::fs::read(directory.join(&name)).unwrap() == bytes, "{name} has changed");
    }
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), files().len());
}

#[test]
fn the_log_goes_on() {
    let disk = disk();
    let mut writer = Writer { disk, engine: engine(), opened: None };
    writer.open(SEGMENT_BYTES);
    let (index, offset) = (writer.log().next_index(), writer.log().end_offset());
    for _ in 0..20 {
        writer.batch(4, Compression::None, 5, ProducerStamp::NONE, true);
    }
    writer.vote(5, 9, false);
    writer.open(SEGMENT_BYTES);
    assert_eq!((writer.log().next_index(), writer.log().end_offset()), (index + 20, offset + 100));
    assert_eq!(writer.log().vote(), Some(Vote { term: 5, voted_for: 9, committed: false }));
    assert_eq!(writer.log().scrub().damages, 0);
}

/// The fixture is worth its place only while it holds everything.
#[test]
fn the_fixture_holds_everything_there_is() {
    let files = expected("files.txt");
    for kind in ["Batch", "Membership", "Blank", "Trim", "ProducerExpiry", "Vote", "Command", "Start"] {
        assert!(files.contains(&format!(" {kind} ")), "{kind}");
    }
    for what in [" none ", " lz4 ", " zstd ", "rejected", "behind the seal", "checkpoint of segment", "  point "] {
        assert!(files.contains(what), "{what}");
    }
    let log = expected("log.txt");
    for what in ["start LogStart { index: 8, term: 1", "restored", "terms [(1, 8), (2, ", "time "] {
        assert!(log.contains(what), "{what}");
    }
}
