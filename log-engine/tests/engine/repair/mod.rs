//! A damaged segment is repaired in place from what a twin of the log holds, and nobody can tell it from one that never
//! was damaged.

mod bad_sector;
mod crash;
mod damage;
mod edges;
mod meanwhile;
mod refused;

use std::{io, ops::Range, path::PathBuf};

use quorate_log_engine::{
    Frame, InspectOptions, InspectedFrame, ReadStart, RepairError, RepairReport, SegmentInfo, inspect,
};

use crate::support::{DIRECTORY, Disk, Fixture, Model, batch, command, image, segment_path, shared_engine};

/// A log of several segments with entries of all sorts, votes and log starts between them, that keeps nothing in memory;
/// and what it holds.
struct Twin {
    model: Model,
    disk: Disk,
    vote: u64,
}

impl Twin {
    fn new() -> Self {
        let (mut fixture, mut model) = (Fixture::closed(1_400), Model::default());
        fixture.engine = shared_engine(0);
        fixture.open().unwrap();
        for index in 0..30_u64 {
            let (offset, term) = (model.end_offset(), 1 + index / 8);
            let frame = match index % 5 {
                1 => command(term, index, offset, "a command of odd size"),
                3 => batch(term, index, offset, 1, false),
                _ => batch(term, index, offset, 1 + index % 3, true),
            };
            model.append(std::slice::from_ref(&frame));
            fixture.append(vec![frame]).unwrap();
            if index % 4 == 2 {
                fixture.vote(index, 3).unwrap();
            }
            if index == 5 {
                // The start of the log does not move so far that a segment could go.
                fixture.trim(1, model.offset_before(1)).unwrap();
            }
        }
        model.trim(1);
        model.acknowledge();
        fixture.log().mark_if_idle();
        fixture.close();
        fixture.open().unwrap();
        let vote = fixture.log().vote().unwrap().term;
        assert!(fixture.log().segments().len() > 5);
        fixture.close();
        Self { model, disk: fixture.disk, vote }
    }

    /// The log, damaged, and open.
    fn damaged(&self, damage: impl FnOnce(&Disk)) -> Fixture {
        let mut fixture = Fixture::closed(1_400);
        fixture.engine = shared_engine(0);
        fixture.disk = self.disk.fork();
        damage(&fixture.disk);
        fixture.options.settled_through = Some(29);
        fixture.open().unwrap();
        fixture
    }

    /// Its finished segments.
    fn finished(&self) -> Vec<SegmentInfo> {
        let fixture = self.damaged(|_| {});
        let mut segments = fixture.log().segments();
        segments.pop();
        segments
    }

    /// The frames of a segment.
    fn frames(&self, number: u64) -> Vec<InspectedFrame> {
        frames(&self.disk, number)
    }

    /// Entries as a peer has them, three at a time.
    fn peer(&self) -> impl FnMut(Range<u64>) -> io::Result<Vec<Frame>> + '_ {
        |indexes| {
            let end = indexes.end.min(indexes.start + 3);
            Ok(self.model.frames()[indexes.start as usize..end as usize].to_vec())
        }
    }

    fn repair(&self, fixture: &Fixture, segment: u64) -> Result<RepairReport, RepairError> {
        fixture.log().repair(segment, &mut self.peer())
    }

    /// Checks that a log is as good as this one; ends its process.
    fn check(&self, mut fixture: Fixture, context: &str) {
        self.check_open(&fixture, context);
        fixture.close();
        assert!(!fixture.disk.paths().iter().any(|path| path.to_string_lossy().ends_with(".new")), "{context}");
        let found = inspect(&*fixture.disk.vfs(), DIRECTORY.as_ref(), InspectOptions { verify: true }, &mut |_| Ok(()));
        let found = found.unwrap();
        assert!(found.is_sound(), "{context}: {:#?}", found.damage);
        assert_eq!((found.start, found.next_index, found.end_offset), {
            (quorate_log_engine::LogStart { index: 1, term: 1, offset: 1 }, 30, self.model.end_offset())
        });
        // A recovery that scans all segments, and one that begins at a checkpoint before the repaired one.
        for keep in [0, 2] {
            let mut again = Fixture::closed(1_400);
            (again.engine, again.disk) = (shared_engine(0), fixture.disk.fork());
            again.options.settled_through = Some(29);
            let paths = again.disk.paths();
            let is_checkpoint = |path: &&PathBuf| path.extension().is_some_and(|name| name == "checkpoint");
            paths.iter().filter(is_checkpoint).skip(keep).for_each(|path| again.disk.lose(path));
            again.open().unwrap_or_else(|error| panic!("{context}, {keep} checkpoints: {error}"));
            assert_eq!(again.visited.restored.is_none(), keep == 0, "{context}");
            self.check_open(&again, context);
        }
    }

    fn check_open(&self, fixture: &Fixture, context: &str) {
        let log = fixture.log();
        assert_eq!(fixture.read_all().unwrap(), self.model.kept(), "{context}");
        for frame in self.model.kept() {
            let offset = self.model.offset_before(frame.index as usize);
            for start in [ReadStart::Offset(offset), ReadStart::Time(frame.leader_time_ms)] {
                let (found, _) = fixture.read(start, u64::MAX, 1).unwrap();
                let expected = match start {
                    ReadStart::Offset(_) => self.model.kept().iter().find(|frame| frame.next_offset > offset),
                    _ => Some(frame),
                };
                assert_eq!(found.first().map(|frame| frame.index), expected.map(|frame| frame.index), "{context}");
            }
        }
        assert_eq!((log.vote().unwrap().term, log.start().index), (self.vote, 1), "{context}");
        assert_eq!(log.scrub().damages, 0, "{context}: {:?}", log.holes());
        assert!(log.holes().is_empty() && log.damaged_segments().is_empty(), "{context}: {:?}", log.holes());
    }
}

/// The frames of a segment of a log that nobody has open.
fn frames(disk: &Disk, number: u64) -> Vec<InspectedFrame> {
    let mut frames = Vec::new();
    let mut keep = |frame: &InspectedFrame| {
        frames.extend((frame.segment == number).then(|| frame.clone()));
        Ok(())
    };
    inspect(&*disk.fork().vfs(), DIRECTORY.as_ref(), InspectOptions::default(), &mut keep).unwrap();
    frames
}

/// Overwrites a part of a segment.
fn wipe(disk: &Disk, segment: u64, bytes: Range<u64>) {
    disk.damage(&segment_path(segment), |file| file[bytes.start as usize..bytes.end as usize].fill(0xaa));
}

/// An entry that the log was given, as a peer has it.
fn peer(entries: &[Frame]) -> impl FnMut(Range<u64>) -> io::Result<Vec<Frame>> + '_ {
    |indexes| {
        let of = |frame: &&Frame| indexes.contains(&frame.index);
        Ok(entries.iter().filter(of).take(2).cloned().collect())
    }
}

/// A log whose first segment is finished and has a vote behind each entry, and an index of several points; and what it
/// holds.
fn with_votes_between() -> (Fixture, Vec<Frame>) {
    let mut fixture = Fixture::closed(100_000);
    fixture.engine = shared_engine(0);
    fixture.open().unwrap();
    let mut entries = Vec::new();
    while fixture.log().segments().len() < 2 {
        entries.extend(fixture.append_batches(1, 1));
        fixture.vote(entries.len() as u64, 1).unwrap();
    }
    fixture.barrier();
    fixture.options.settled_through = Some(entries.len() as u64 - 1);
    (fixture, entries)
}

/// Reads each entry by log index, offset and time.
fn check_all_reads(fixture: &Fixture, entries: &[Frame]) {
    for frame in entries {
        let (index, time_ms) = (frame.index, frame.leader_time_ms);
        for start in [ReadStart::Index(index), ReadStart::Offset(2 * index), ReadStart::Time(time_ms)] {
            let (found, _) = fixture.read(start, u64::MAX, 1).unwrap();
            assert_eq!(image(&found[0]), image(frame), "{start:?}");
        }
    }
    assert!(fixture.log().holes().is_empty());
}
