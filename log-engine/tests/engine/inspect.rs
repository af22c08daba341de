//! An inspection tells what a log holds and what is wrong with it, and changes nothing.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use quorate_faulty_vfs::{Fault, Filter, OperationKind};
use quorate_log_engine::{
    FRAME_HEADER_SIZE, FrameKind, InspectOptions, InspectedFrame, Inspection, LogStart, NextOpen, SEGMENT_HEADER_SIZE,
    SegmentInspection, SegmentState, SideFile, Tail, Vote, inspect,
};

use crate::support::{DIRECTORY, Fixture, batch, command};

const VERIFY: InspectOptions = InspectOptions { verify: true };
const HEADERS: InspectOptions = InspectOptions { verify: false };

/// Looks at the log, and makes sure that nothing of it has changed.
fn look(fixture: &Fixture, options: InspectOptions) -> (Inspection, Vec<InspectedFrame>) {
    let before = fixture.disk.contents();
    let mut frames = Vec::new();
    let mut keep = |frame: &InspectedFrame| {
        frames.push(frame.clone());
        Ok(())
    };
    let found = inspect(&*fixture.disk.vfs(), Path::new(DIRECTORY), options, &mut keep).unwrap();
    assert_eq!(fixture.disk.contents(), before, "an inspection changes nothing");
    (found, frames)
}

fn segment(found: &Inspection, number: u64) -> &SegmentInspection {
    found.segments.iter().find(|segment| segment.number == number).unwrap()
}

fn states(found: &Inspection) -> Vec<SegmentState> {
    found.segments.iter().map(|segment| segment.state).collect()
}

/// A closed log of several segments with checkpoints, whose last frame vouches for all before it.
fn rolled() -> Fixture {
    let mut fixture = Fixture::new(900);
    fixture.vote(1, 7).unwrap();
    (0..9).for_each(|_| drop(fixture.append_batches(1, 1)));
    let (index, offset) = (fixture.log().next_index(), fixture.log().end_offset());
    fixture.append(vec![batch(1, index, offset, 2, false), command(2, index + 1, offset, "a command")]).unwrap();
    fixture.barrier();
    fixture.log().mark_if_idle();
    fixture.close();
    fixture
}

#[test]
fn a_sound_log_is_told_whole() {
    let mut fixture = rolled();
    for options in [HEADERS, VERIFY] {
        let (found, frames) = look(&fixture, options);
        assert!(found.is_sound() && !found.in_motion, "{found:#?}");
        assert_eq!((found.replica, found.owner), (Some(7), Some(fixture.options.owner)));
        assert_eq!(found.vote, Some(Vote { term: 1, voted_for: 7, committed: false }));
        assert_eq!((found.start, found.next_index, found.end_offset), (LogStart::default(), 11, 18));
        let terms: Vec<_> = found.terms.iter().map(|start| (start.term, start.index)).collect();
        assert_eq!(terms, [(1, 0), (2, 10)]);
        assert_eq!(found.durable_through, Some(10));
        assert_eq!((found.frames.of(FrameKind::Batch), found.frames.of(FrameKind::Command)), (10, 1));
        assert_eq!((found.frames.entries(), found.frames.rejected), (11, 1));
        assert_eq!(found.tail, Tail::Clean);
        let entries: Vec<_> = frames.iter().filter(|frame| frame.header.kind.is_entry()).collect();
        assert_eq!(entries.iter().map(|frame| frame.header.index).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
        assert!(entries[..9].iter().enumerate().all(|(at, frame)| frame.offsets == (2 * at as u64..2 * at as u64 + 2)));
        assert!(entries[9].header.rejected && entries[9].offsets == (18..18));
        let total: u64 = fixture.disk.contents().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!((found.bytes, found.file_count), (total, fixture.disk.paths().len() as u64));

        let chain: Vec<_> = found.segments.iter().filter(|segment| segment.header.is_some()).collect();
        assert!(chain.len() >= 3, "{:?}", states(&found));
        let (active, sealed) = chain.split_last().unwrap();
        assert_eq!((active.state, active.index.clone()), (SegmentState::Active, SideFile::Absent));
        for (segment, next) in sealed.iter().zip(&chain[1..]) {
            let (span, previous) = (segment.span.unwrap(), next.header.unwrap().previous.unwrap());
            assert_eq!(segment.state, SegmentState::Sealed);
            assert_eq!((span.end_index, span.end_position), (next.header.unwrap().base_index, previous.end));
            assert_eq!(
                (span.end_offset, span.time_ms),
                (next.span.unwrap().base_offset, next.span.unwrap().base_time_ms)
            );
            assert!(matches!(segment.index, SideFile::Sound(points) if points > 0), "{:?}", segment.index);
            assert_eq!((segment.stale_bytes, segment.torn_bytes), (0, 0));
            assert_eq!(segment.file_bytes, span.end_position + segment.zero_bytes);
            let SideFile::Sound(checkpoint) = next.checkpoint else { panic!("{:?}", next.checkpoint) };
            assert_eq!(checkpoint.segments as u64, segment.number + 1);
        }
        let base_index = active.span.unwrap().base_index;
        assert_eq!(found.next_open, Some(NextOpen::Opens { scanned_from: base_index, torn_bytes: 0 }));
    }
    // As told, so it comes.
    fixture.options.settled_through = Some(10);
    let scanned_from = match look(&fixture, HEADERS).0.next_open {
        Some(NextOpen::Opens { scanned_from, .. }) => scanned_from,
        other => panic!("{other:?}"),
    };
    fixture.open().unwrap();
    assert_eq!(fixture.opened.as_ref().unwrap().scanned_from, scanned_from);
}

#[test]
fn what_was_truncated_away_is_stale_and_no_part_of_the_log() {
    let mut fixture = rolled();
    fixture.open().unwrap();
    fixture.truncate(6).unwrap();
    fixture.append_batches(3, 1);
    fixture.vote(4, 9).unwrap();
    fixture.close();
    let (found, frames) = look(&fixture, VERIFY);
    assert!(found.is_sound(), "{found:#?}");
    assert_eq!((found.next_index, found.end_offset), (7, 14));
    assert_eq!(found.vote, Some(Vote { term: 4, voted_for: 9, committed: false }));
    assert!(found.segments.iter().any(|segment| segment.state == SegmentState::Sealed && segment.stale_bytes > 0));
    let indexes: Vec<_> =
        frames.iter().filter(|frame| frame.header.kind.is_entry()).map(|frame| frame.header.index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4, 5, 6]);
    // Before the files went, a crash could have left them: they are told apart.
    let mut stale = rolled();
    let contents = stale.disk.contents();
    stale.open().unwrap();
    stale.truncate(6).unwrap();
    stale.append_batches(3, 1);
    stale.close();
    let mut both = stale.disk.contents();
    both.extend(contents.into_iter().filter(|(path, _)| !stale.disk.paths().contains(path)));
    stale.disk = crate::support::Disk::of(&both);
    let (found, frames) = look(&stale, VERIFY);
    assert!(found.is_sound(), "{found:#?}");
    assert!(states(&found).contains(&SegmentState::OffChain), "{:?}", states(&found));
    assert!(frames.iter().any(|frame| !frame.on_chain && frame.header.index > 6));
    assert_eq!((found.next_index, found.frames.entries()), (7, 7));
    let gone = found.leftover;
    assert!(!gone.is_empty());
    stale.open().unwrap();
    assert!(gone.iter().all(|path| !stale.disk.paths().contains(path)), "the next open removes what was named");
}

#[test]
fn a_trimmed_log_begins_where_it_was_trimmed() {
    let mut fixture = rolled();
    fixture.open().unwrap();
    fixture.trim(7, 14).unwrap();
    fixture.close();
    let (found, _) = look(&fixture, VERIFY);
    assert!(found.is_sound(), "{found:#?}");
    assert_eq!(found.start, LogStart { index: 7, term: 1, offset: 14 });
    assert!(found.segments[0].number > 0, "the first files are gone");
    let terms: Vec<_> = found.terms.iter().map(|start| (start.term, start.index)).collect();
    assert_eq!(terms, [(1, 0), (2, 10)], "the checkpoint knows where they began");
    // Without the checkpoint that stands for what is gone, nobody can open it.
    let checkpoints = fixture.disk.paths().into_iter().filter(|path| path.extension().unwrap() == "checkpoint");
    checkpoints.for_each(|path| fixture.disk.lose(&path));
    let (found, _) = look(&fixture, VERIFY);
    let Some(NextOpen::Refused(reason)) = &found.next_open else { panic!("{:?}", found.next_open) };
    assert!(!found.is_sound(), "{reason}");
    assert_eq!(fixture.open().unwrap_err().to_string(), *reason);
}

#[test]
fn a_trim_whose_files_were_not_removed_is_told_as_trimmed() {
    let mut fixture = rolled();
    let older = fixture.disk.contents();
    fixture.open().unwrap();
    fixture.trim(7, 14).unwrap();
    fixture.close();
    let mut both = fixture.disk.contents();
    both.extend(older.into_iter().filter(|(path, _)| !fixture.disk.paths().contains(path)));
    fixture.disk = crate::support::Disk::of(&both);
    let (found, _) = look(&fixture, VERIFY);
    assert!(found.is_sound(), "{found:#?}");
    assert_eq!(found.segments[0].state, SegmentState::Trimmed);
}

#[test]
fn a_torn_tail_is_a_trace_of_a_crash_and_no_damage() {
    let mut fixture = Fixture::new(1 << 20);
    fixture.append(vec![command(1, 0, 0, "one"), command(1, 1, 0, "two"), command(1, 2, 0, "three")]).unwrap();
    fixture.close();
    let path = fixture.newest_segment();
    let frame = (FRAME_HEADER_SIZE + 8) as u64;
    let last = SEGMENT_HEADER_SIZE as u64 + 2 * frame;
    // The last byte of the payload.
    fixture.disk.damage(&path, |bytes| bytes[last as usize + FRAME_HEADER_SIZE + 4] ^= 1);
    let (found, frames) = look(&fixture, HEADERS);
    assert!(found.is_sound(), "{found:#?}");
    let Tail::Torn { position, bytes, .. } = found.tail else { panic!("{:?}", found.tail) };
    assert_eq!(position, last);
    assert!((FRAME_HEADER_SIZE as u64..=frame).contains(&bytes), "{bytes}");
    assert_eq!((found.next_index, frames.len(), found.segments[0].torn_bytes), (2, 2, bytes));
    assert_eq!(found.next_open, Some(NextOpen::Opens { scanned_from: 0, torn_bytes: bytes }));
    fixture.open().unwrap();
    assert_eq!((fixture.log().next_index(), fixture.opened.as_ref().unwrap().torn_bytes), (2, bytes));
}

#[test]
fn damage_to_the_active_segment_that_was_durable_is_corruption_and_the_frames_behind_it_are_told() {
    let mut fixture = Fixture::new(1 << 20);
    (0..5).for_each(|index| fixture.append(vec![command(1, index, 0, "text")]).unwrap());
    fixture.barrier();
    fixture.log().mark_if_idle();
    fixture.close();
    let path = fixture.newest_segment();
    let at = SEGMENT_HEADER_SIZE + FRAME_HEADER_SIZE + 8;
    fixture.disk.flip(&path, at as u64 + 20, 0x10);
    let (found, frames) = look(&fixture, HEADERS);
    assert!(matches!(&found.tail, Tail::Corrupt { position, .. } if *position == at as u64), "{:?}", found.tail);
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    assert_eq!((found.damage[0].position, found.damage[0].indexes.clone()), (at as u64, 1..2));
    assert!(found.damage[0].reason.contains("checksum"), "{}", found.damage[0].reason);
    let entries = frames.iter().filter(|frame| frame.header.kind.is_entry()).map(|frame| frame.header.index);
    assert_eq!(entries.collect::<Vec<_>>(), [0, 2, 3, 4]);
    assert_eq!(found.next_index, 5);
    let Some(NextOpen::Refused(reason)) = found.next_open else { panic!("{:?}", found.next_open) };
    assert_eq!(fixture.open().unwrap_err().to_string(), reason);
}

#[test]
fn a_flipped_byte_in_a_finished_segment_is_found_and_the_log_would_open() {
    let mut fixture = rolled();
    let path = fixture.segments()[1].clone();
    let (whole, frames) = look(&fixture, HEADERS);
    let frame = frames.iter().find(|frame| frame.segment == 1 && frame.header.kind == FrameKind::Batch).unwrap();
    // A record: only a look at all bytes finds it.
    fixture.disk.flip(&path, frame.position + frame.bytes - 9, 1);
    assert_eq!(look(&fixture, HEADERS).0, whole);
    let (found, all) = look(&fixture, VERIFY);
    assert_eq!((found.damage.len(), all.len()), (1, frames.len()), "{:?}", found.damage);
    assert_eq!(found.damage[0].path, path);
    assert_eq!(found.damage[0].indexes, frame.header.index..frame.header.index + 1);
    assert!(!found.is_sound() && found.next_open == whole.next_open, "{:?}", found.next_open);
    // The header as well: then the frame is not told any more, and the next one is.
    fixture.disk.flip(&path, frame.position + 16, 1);
    let (found, fewer) = look(&fixture, HEADERS);
    assert_eq!((found.damage.len(), fewer.len()), (1, frames.len() - 1), "{:?}", found.damage);
    assert_eq!(found.damage[0].indexes, frame.header.index..frame.header.index + 1);
    assert_eq!((found.next_index, found.tail), (whole.next_index, Tail::Clean));
    // So it does.
    fixture.options.settled_through = Some(10);
    fixture.open().unwrap();
}

#[test]
fn a_segment_whose_header_is_damaged_or_whose_file_is_lost_is_known_from_a_checkpoint() {
    let fixture = rolled();
    let path = fixture.segments()[1].clone();
    let (whole, frames) = look(&fixture, HEADERS);
    let span = segment(&whole, 1).span.unwrap();
    fixture.disk.flip(&path, 20, 1);
    let (found, told) = look(&fixture, HEADERS);
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    assert!(found.damage[0].reason.contains("header"), "{}", found.damage[0].reason);
    assert_eq!(found.damage[0].indexes, span.base_index..span.end_index);
    assert_eq!((told.len(), states(&found)), (frames.len(), states(&whole)), "its frames can be walked all the same");
    fixture.disk.lose(&path);
    let (found, told) = look(&fixture, HEADERS);
    assert_eq!(segment(&found, 1).state, SegmentState::Missing);
    assert_eq!(found.damage[0].indexes, span.base_index..span.end_index);
    assert!(found.damage[0].reason.contains("missing") && told.len() < frames.len());
    assert_eq!((found.next_index, found.end_offset), (whole.next_index, whole.end_offset));
}

#[test]
fn without_a_checkpoint_the_chain_ends_at_a_damaged_header_and_the_rest_is_off_it() {
    let fixture = rolled();
    fixture.disk.paths().iter().filter(|path| path.extension().unwrap() == "checkpoint").for_each(|path| {
        fixture.disk.lose(path);
    });
    fixture.disk.flip(&fixture.segments()[1], 20, 1);
    let (found, frames) = look(&fixture, HEADERS);
    assert_eq!(states(&found)[..2], [SegmentState::OffChain, SegmentState::Unreadable]);
    assert!(frames.iter().any(|frame| frame.segment == 0 && !frame.on_chain));
    let base_index = segment(&found, 2).span.unwrap().base_index;
    assert_eq!((found.damage.len(), found.damage[0].indexes.clone()), (1, 0..base_index));
    assert!(matches!(found.next_open, Some(NextOpen::Refused(_))), "{:?}", found.next_open);
}

#[test]
fn damaged_indexes_and_checkpoints_are_told() {
    let fixture = rolled();
    for (extension, at) in [("index", 30), ("checkpoint", 9)] {
        let paths = fixture.disk.paths();
        let path = paths.iter().find(|path| path.extension().unwrap() == extension).unwrap();
        fixture.disk.flip(path, at, 1);
    }
    let (found, _) = look(&fixture, HEADERS);
    assert!(matches!(&segment(&found, 0).index, SideFile::Damaged(reason) if reason.contains("checksum")));
    assert!(matches!(&segment(&found, 1).checkpoint, SideFile::Damaged(_)), "{:?}", segment(&found, 1));
    assert_eq!(found.damage.len(), 2, "{:?}", found.damage);
}

#[test]
fn a_finished_segment_that_became_shorter_is_damage() {
    let fixture = rolled();
    let path = fixture.segments()[0].clone();
    let span = segment(&look(&fixture, HEADERS).0, 0).span.unwrap();
    // Before its last frame.
    let last = look(&fixture, HEADERS).1.into_iter().rfind(|frame| frame.segment == 0).unwrap();
    fixture.disk.damage(&path, |bytes| bytes.truncate(last.position as usize));
    let (found, _) = look(&fixture, HEADERS);
    assert_eq!(found.damage.len(), 1, "{:?}", found.damage);
    assert_eq!(found.damage[0].indexes, last.header.index..span.end_index);
    assert!(found.damage[0].reason.contains("shorter"), "{}", found.damage[0].reason);
}

#[test]
fn another_format_is_named() {
    let fixture = rolled();
    let begun = |path: &PathBuf| fixture.disk.bytes(path)[0] != 0;
    for path in fixture.segments().iter().filter(|path| begun(path)) {
        fixture.disk.damage(path, |bytes| bytes[4] = 9);
    }
    let (found, frames) = look(&fixture, HEADERS);
    assert_eq!((found.replica, frames.len()), (None, 0));
    let Some(NextOpen::Refused(reason)) = &found.next_open else { panic!("{:?}", found.next_open) };
    assert!(reason.contains("disk format 9 is not supported (this build: 1)"), "{reason}");
    assert!(!found.damage.is_empty() && found.damage.iter().all(|damage| damage.reason.contains("format 9")));
}

#[test]
fn an_open_log_can_be_looked_at_while_it_is_written() {
    let mut fixture = Fixture::closed(20_000);
    let (vfs, writing) = (fixture.disk.vfs(), AtomicBool::new(true));
    fixture.open_on(vfs.clone()).unwrap();
    let write = |fixture: &Fixture| {
        for round in 0..60 {
            (0..20).for_each(|_| drop(fixture.append_batches(1 + round, 1)));
            if round % 10 == 9 {
                let index = fixture.log().next_index() - 30;
                fixture.truncate(index).unwrap();
                fixture.trim(index - 30, 2 * (index - 30)).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut looks = 0;
            while writing.load(Relaxed) || looks == 0 {
                let found = inspect(&*vfs, Path::new(DIRECTORY), VERIFY, &mut |_| Ok(())).unwrap();
                assert!(found.is_sound(), "{found:#?}");
                looks += 1;
            }
            looks
        });
        let written = catch_unwind(AssertUnwindSafe(|| write(&fixture)));
        writing.store(false, Relaxed);
        assert!(looker.join().unwrap() > 0 && written.is_ok());
    });
    fixture.barrier();
    let (found, _) = look(&fixture, VERIFY);
    assert!(found.is_sound() && !found.in_motion && found.next_index == fixture.log().next_index(), "{found:#?}");
}

#[test]
fn a_header_that_is_written_at_the_first_look_is_looked_at_again() {
    let fixture = rolled();
    for path in fixture.segments().iter().rev().take(2) {
        let name = path.file_name().unwrap().to_str().unwrap();
        // The first read is for the pulse.
        let fault = fixture.disk.inject(Filter::on(OperationKind::Read).suffix(name).nth(2), Fault::FlipInRead);
        let (found, _) = look(&fixture, VERIFY);
        assert_eq!(fixture.disk.struck(fault), 1);
        assert!(found.is_sound(), "{found:#?}");
    }
}

#[test]
fn a_directory_that_is_not_there_or_holds_no_log_is_not_a_log() {
    let fixture = Fixture::closed(900);
    let error = inspect(&*fixture.disk.vfs(), Path::new("/nowhere"), HEADERS, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    fixture.disk.vfs().create_directory(Path::new(DIRECTORY)).unwrap();
    let (found, _) = look(&fixture, HEADERS);
    assert!(found.segments.is_empty() && found.replica.is_none());
}

#[test]
fn what_the_visitor_returns_ends_the_inspection() {
    let fixture = rolled();
    let mut visits = 0;
    let mut visit = |_: &InspectedFrame| {
        visits += 1;
        if visits == 3 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    };
    let error = inspect(&*fixture.disk.vfs(), Path::new(DIRECTORY), HEADERS, &mut visit).unwrap_err();
    assert_eq!((error.kind(), visits), (io::ErrorKind::BrokenPipe, 3));
}
