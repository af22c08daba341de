//! Every kind of damage at every place.

use quorate_log_engine::{DamagedSegment, FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE};

use super::{Twin, wipe};
use crate::support::segment_path;

#[test]
fn a_damaged_payload_is_restored_to_the_byte() {
    let twin = Twin::new();
    let mut restored = 0;
    for segment in twin.finished() {
        for frame in twin.frames(segment.number) {
            let at = frame.position + FRAME_HEADER_SIZE as u64 + u64::from(frame.header.payload_bytes) - 1;
            let fixture = twin.damaged(|disk| wipe(disk, segment.number, at..at + 1));
            let scrub = fixture.log().scrub();
            // The payload of a local frame is nobody's business but the repair's.
            assert_eq!(scrub.damages, u64::from(frame.header.kind.is_entry() && frame.header.index > 0), "{frame:?}");
            let report = twin.repair(&fixture, segment.number).unwrap();
            let is_needed = frame.header.index > 0;
            let entries = u64::from(frame.header.kind.is_entry() && is_needed);
            assert_eq!((report.entries, report.bytes), (entries, if is_needed { frame.bytes } else { 0 }), "{frame:?}");
            if entries > 0 {
                let path = segment_path(segment.number);
                let end = segment.bytes as usize;
                assert_eq!(fixture.disk.bytes(&path), twin.disk.bytes(&path)[..end], "{frame:?}");
                restored += 1;
            }
            if is_needed {
                twin.check(fixture, &format!("{frame:?}"));
            }
        }
    }
    assert!(restored > 20, "{restored}");
}

#[test]
fn damaged_headers_and_stretches_are_rebuilt() {
    let twin = Twin::new();
    let (mut cases, mut with_local_frames) = (0, 0);
    for segment in twin.finished().into_iter().skip(1) {
        let frames = twin.frames(segment.number);
        for (first, frame) in frames.iter().enumerate() {
            for last in first..frames.len() {
                let end = frames[last].position + frames[last].bytes;
                let lost = &frames[first..=last];
                // Only headers; from the middle of the first header to the middle of the last payload; everything.
                for how in 0..3 {
                    let fixture = twin.damaged(|disk| match how {
                        0 => lost
                            .iter()
                            .for_each(|frame| wipe(disk, segment.number, frame.position + 8..frame.position + 9)),
                        1 => wipe(disk, segment.number, frame.position + 20..end - 16),
                        _ => wipe(disk, segment.number, frame.position..end),
                    });
                    let context = format!("segment {}, frames {first} to {last}, {how}", segment.number);
                    assert!(fixture.log().scrub().damages > 0, "{context}");
                    let entries = lost.iter().filter(|frame| frame.header.kind.is_entry()).count();
                    let damaged = fixture.log().damaged_segments();
                    assert!(
                        matches!(&damaged[..], [DamagedSegment { number, finished: true, .. }] if *number == segment.number)
                    );
                    let report =
                        twin.repair(&fixture, segment.number).unwrap_or_else(|error| panic!("{context}: {error}"));
                    assert_eq!((report.entries, report.bytes), (entries as u64, end - frame.position), "{context}");
                    twin.check(fixture, &context);
                    cases += 1;
                    with_local_frames += usize::from(entries < lost.len());
                }
            }
        }
    }
    assert!(cases > 100 && with_local_frames > 50, "{cases}, {with_local_frames}");
}

#[test]
fn several_places_of_a_segment_are_rebuilt_at_once() {
    let twin = Twin::new();
    for segment in twin.finished().into_iter().skip(1) {
        let frames = twin.frames(segment.number);
        let fixture = twin.damaged(|disk| {
            for (at, frame) in frames.iter().enumerate() {
                match at % 4 {
                    0 => wipe(disk, segment.number, frame.position + 30..frame.position + 31),
                    2 => {
                        wipe(disk, segment.number, frame.position + frame.bytes - 12..frame.position + frame.bytes - 8)
                    }
                    _ => {}
                }
            }
            wipe(disk, segment.number, 5..6);
        });
        assert!(fixture.log().scrub().damages > 0);
        twin.repair(&fixture, segment.number).unwrap();
        twin.check(fixture, &format!("segment {}", segment.number));
    }
}

#[test]
fn segment_headers_and_whole_files_are_rebuilt_one_after_the_other() {
    let twin = Twin::new();
    let finished = twin.finished();
    for lose in [false, true] {
        // All at once: each is rebuilt while its neighbours are damaged.
        let fixture = twin.damaged(|disk| {
            for segment in &finished[1..] {
                match lose {
                    true => disk.lose(&segment_path(segment.number)),
                    false => wipe(disk, segment.number, 8..40),
                }
            }
        });
        assert_eq!(fixture.log().scrub().damages, finished.len() as u64 - 1);
        let damaged = fixture.log().damaged_segments();
        assert_eq!(damaged.iter().map(|damaged| damaged.number).collect::<Vec<_>>(), {
            finished[1..].iter().map(|segment| segment.number).collect::<Vec<_>>()
        });
        for (damaged, segment) in damaged.iter().zip(&finished[1..]).rev() {
            assert_eq!(damaged.holes[0].start, segment.base_index);
            let report = twin.repair(&fixture, damaged.number).unwrap();
            let bytes = if lose { segment.bytes } else { SEGMENT_HEADER_SIZE as u64 };
            assert_eq!(report.bytes, bytes);
            assert_eq!(fixture.log().damaged_segments().len(), damaged.number as usize - 1);
        }
        twin.check(fixture, &format!("lost: {lose}"));
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_made_whole() {
    let twin = Twin::new();
    let segment = twin.finished()[2];
    for size in 0..segment.bytes {
        let fixture = twin.damaged(|disk| disk.damage(&segment_path(2), |file| file.truncate(size as usize)));
        assert!(fixture.log().scrub().damages > 0, "{size}");
        twin.repair(&fixture, 2).unwrap_or_else(|error| panic!("{size}: {error}"));
        assert_eq!(fixture.disk.bytes(&segment_path(2)).len() as u64, segment.bytes);
        twin.check_open(&fixture, &format!("cut to {size}"));
    }
}
