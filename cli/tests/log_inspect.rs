//! `quorate log inspect` on logs that the engine has written into a directory.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use quorate_log_engine::{
    EngineOptions, Frame, FrameKind, Log, LogEngine, LogOptions, RealVfs, RecoveredEntry, Recovery, Stamp, Vote,
};
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};
use serde_json::Value;

struct Nothing;

impl Recovery for Nothing {
    fn restore(&mut self, _: u64, _: Bytes) -> Result<(), String> {
        Ok(())
    }

    fn entry(&mut self, _: RecoveredEntry<'_>) -> Result<(), String> {
        Ok(())
    }
}

fn batch(index: u64, offset: u64, rejected: bool) -> Frame {
    let mut builder = BatchBuilder::new(Compression::None);
    for record in 0..2 {
        builder.push(&Record::new(format!("record {record} of {index}"), 7));
    }
    let payload =
        builder.build(ProducerStamp { producer_id: 42, producer_epoch: 3, base_sequence: 2 * index as i32 }).unwrap();
    Frame {
        kind: FrameKind::Batch,
        term: 1,
        index,
        leader_time_ms: 1_700_000_000_000 + index as i64,
        expected_end_offset: None,
        payload,
        stamp: (!rejected).then_some(Stamp { base_offset: offset, leader_epoch: 1 }),
        next_offset: offset + if rejected { 0 } else { 2 },
    }
}

/// A node's data directory with one log of several segments, of twelve entries; the path is that of the log.
fn data_dir() -> (tempfile::TempDir, PathBuf) {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("replicas/replica-3");
    let engine = LogEngine::start(EngineOptions {
        writer_threads: 1,
        tail_cache_bytes: 1 << 20,
        open_segments_max: 2,
        scrub: None,
    })
    .unwrap();
    let options = LogOptions {
        replica: 3,
        owner: 0xabc,
        segment_bytes: 1_000,
        payload_bytes_max: 1 << 20,
        must_exist: false,
        settled_through: None,
    };
    let log = Log::open(&engine, Arc::new(RealVfs), &dir, &options, &mut Nothing).unwrap().log;
    let (done, finished) = mpsc::channel();
    let wait = |log: &Log, frame: Frame| {
        let done = done.clone();
        let begun = log.append(vec![frame], Box::new(move |result| done.send(result).unwrap()));
        finished.recv().unwrap().unwrap();
        begun.into_iter().for_each(|index| log.checkpoint(index, Bytes::from_static(b"state")));
    };
    log.save_vote(Vote { term: 1, voted_for: 3, committed: true }, Box::new(|result| result.unwrap()));
    (0..11).for_each(|index| wait(&log, batch(index, 2 * index, false)));
    wait(&log, batch(11, 22, true));
    log.mark_if_idle();
    let (done, marked) = mpsc::channel();
    log.barrier(move || done.send(()).unwrap());
    marked.recv().unwrap();
    assert!(engine.wait_for_maintenance(Duration::from_secs(60)));
    drop(log);
    (data, dir)
}

fn inspect(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorate")).args(["log", "inspect"]).arg(dir).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The segments, oldest first, that hold anything.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let begun = |path: &PathBuf| fs::read(path).unwrap().first().is_some_and(|byte| *byte != 0);
    let mut paths: Vec<_> = paths.filter(|path| path.extension().unwrap() == "log").filter(begun).collect();
    paths.sort();
    paths
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_log_is_shown_and_the_exit_code_is_zero() {
    let (_data, dir) = data_dir();
    let output = inspect(&dir, &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        "Replica    3",
        "Cluster    00000000000000000000000000000abc",
        "Vote       term 1 for replica 3, committed",
        "End        log index 12, offset 22",
        "Entries    12",
        "Tail       clean",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
    }
    assert!(shown.contains("12 batch") && shown.contains("; 1 batch rejected"), "{shown}");
    let sealed = shown.lines().filter(|line| line.contains(" sealed ")).count();
    assert_eq!(sealed, segments(&dir).len() - 1, "{shown}");
}

#[test]
fn json_is_one_object_that_says_the_same() {
    let (_data, dir) = data_dir();
    let output = inspect(&dir, &["--output", "json", "--verify"]);
    assert!(output.status.success(), "{output:?}");
    let log = json(&output.stdout);
    assert_eq!((&log["sound"], &log["replica"], &log["end_offset"]), (&true.into(), &3.into(), &22.into()));
    assert_eq!((&log["frames"]["batch"], &log["batches_rejected"]), (&12.into(), &1.into()));
    assert_eq!((&log["tail"]["state"], &log["next_open"]["outcome"]), (&"clean".into(), &"opens".into()));
    let first = &log["segments"][0];
    assert_eq!((&first["state"], &first["index_file"]["state"]), (&"sealed".into(), &"sound".into()));
    assert_eq!(first["end_index"], log["segments"][1]["base_index"]);
    assert_eq!(log["segments"][1]["checkpoint"]["state_bytes"], 5);
}

#[test]
fn entries_are_listed_one_a_line() {
    let (_data, dir) = data_dir();
    let output = inspect(&dir, &["--entries", "--output", "json"]);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| json(line.as_bytes())).collect();
    let (log, frames) = lines.split_last().unwrap();
    assert_eq!(log["log"]["entry_count"], 12);
    let entries: Vec<_> = frames.iter().map(|line| &line["frame"]).filter(|frame| !frame["index"].is_null()).collect();
    let indexes: Vec<_> = entries.iter().map(|frame| frame["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..12).collect::<Vec<_>>());
    let last = entries[11];
    assert_eq!((&last["producer_id"], &last["producer_epoch"], &last["sequence"]), (&42.into(), &3.into(), &22.into()));
    assert_eq!((&last["rejected"], &last["offset"], &last["end_offset"]), (&true.into(), &22.into(), &22.into()));
    let frames_told = frames.iter().any(|line| line["frame"]["kind"] == "vote" && line["frame"]["term"].is_null());
    assert!(frames_told, "{frames:?}");

    let output = inspect(&dir, &["--entries"]);
    let shown = text(&output.stdout);
    assert_eq!(shown.lines().filter(|line| line.contains("2023-11-14T22:13:20.0")).count(), 12 + segments(&dir).len());
    let second = shown.lines().find(|line| line.contains(" batch ") && line.contains(" 2..4 ")).unwrap();
    assert!(second.contains(" 42 ") && second.contains("2023-11-14T22:13:20.001Z"), "{second}");
}

#[test]
fn a_damaged_log_is_shown_and_the_exit_code_is_one() {
    let (_data, dir) = data_dir();
    let path = segments(&dir)[1].clone();
    // The term of the first frame.
    flip(&path, 128 + 16);
    let output = inspect(&dir, &["--entries"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.contains("is damaged in 1 place, first in 00000000000000000001.log at byte 128: header checksum"),
        "{told}"
    );
    assert!(text(&output.stdout).contains("DAMAGED FILE"), "{output:?}");
    let output = inspect(&dir, &["--output", "json"]);
    let log = json(&output.stdout);
    assert_eq!((output.status.code(), &log["sound"]), (Some(1), &false.into()));
    let damage = &log["damage"][0];
    assert_eq!(damage["end_index"].as_u64().unwrap(), damage["first_index"].as_u64().unwrap() + 1);
    assert!(json(&output.stderr)["error"]["message"].as_str().unwrap().contains("1 place"));
}

#[test]
fn a_torn_tail_is_no_failure() {
    let (_data, dir) = data_dir();
    let path = segments(&dir).pop().unwrap();
    let end = fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    flip(&path, end);
    let output = inspect(&dir, &[]);
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("Tail       torn at byte") && shown.contains("torn bytes off and opens"), "{shown}");
}

#[test]
fn a_directory_that_is_no_log_is_told_from_the_one_that_was_meant() {
    let (data, dir) = data_dir();
    for (wrong, what) in [
        (data.path(), "is no log, it is a node's data directory, name one of: "),
        (dir.parent().unwrap(), "is no log, it holds the logs of a node's replicas, name one of: "),
    ] {
        let output = inspect(wrong, &[]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
        let expected = format!("quorate: {} {what}{}\n", wrong.display(), dir.display());
        assert_eq!(text(&output.stderr), expected);
    }
    let output = inspect(&segments(&dir)[0], &[]);
    assert!(text(&output.stderr).contains(&format!("is a file and no log, name its directory: {}", dir.display())));
    let empty = tempfile::tempdir().unwrap();
    let output = inspect(empty.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the directory is empty, name a replica's directory"), "{output:?}");
}

#[test]
fn another_disk_format_is_named() {
    let (_data, dir) = data_dir();
    for path in segments(&dir) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[4] = 7;
        fs::write(&path, bytes).unwrap();
    }
    let output = inspect(&dir, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("disk format 7 is not supported (this build: 1)"), "{output:?}");
}
