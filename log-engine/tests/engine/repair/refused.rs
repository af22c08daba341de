//! What a peer sends that is not what was lost is refused, and nothing is changed.

use std::io;

use bytes::Bytes;
use quorate_log_engine::{Frame, FrameKind, RepairError, Stamp};

use super::{Twin, wipe};
use crate::support::{Fixture, batch, command, segment_path};

/// Repairs a segment with entries of which each was changed, and makes sure that it comes to nothing.
#[track_caller]
fn refuse(twin: &Twin, fixture: &Fixture, segment: u64, change: impl Fn(&mut Vec<Frame>)) -> RepairError {
    let _ = fixture.log().scrub();
    let (before, holes) = (fixture.disk.contents(), fixture.log().holes());
    let mut peer = twin.peer();
    let error = fixture.log().repair(segment, &mut |indexes| {
        let mut frames = peer(indexes)?;
        change(&mut frames);
        Ok(frames)
    });
    let error = error.unwrap_err();
    assert!(fixture.disk.contents() == before, "a refused repair changes nothing: {error}");
    assert_eq!(fixture.log().holes(), holes);
    error
}

fn is_refused(error: &RepairError) -> bool {
    matches!(error, RepairError::Refused { .. })
}

fn is_misfit(error: &RepairError) -> bool {
    matches!(error, RepairError::Misfit { .. })
}

/// The other log's accepted batches with one more record than they should have.
fn longer(frame: &Frame) -> Frame {
    let count = frame.next_offset - frame.stamp.unwrap().base_offset + 1;
    batch(frame.term, frame.index, frame.stamp.unwrap().base_offset, count, true)
}

fn is_accepted(frame: &Frame) -> bool {
    frame.stamp.is_some()
}

#[test]
fn entries_that_were_not_asked_for_or_are_not_the_logs_are_refused() {
    let twin = Twin::new();
    let segment = twin.finished()[2];
    let frames = twin.frames(2);
    // A lost segment; one lost header of an accepted batch; one lost payload of such.
    let of_batch = frames.iter().find(|frame| frame.header.kind == FrameKind::Batch && !frame.header.rejected).unwrap();
    for case in 0..3 {
        let fixture = twin.damaged(|disk| match case {
            0 => wipe(disk, 2, 128..segment.bytes),
            1 => wipe(disk, 2, of_batch.position + 10..of_batch.position + 11),
            _ => wipe(disk, 2, of_batch.position + of_batch.bytes - 20..of_batch.position + of_batch.bytes - 10),
        });
        let each = |change: fn(&mut Frame)| move |frames: &mut Vec<Frame>| frames.iter_mut().for_each(change);
        let refuse = |change: &dyn Fn(&mut Vec<Frame>)| refuse(&twin, &fixture, 2, change);
        assert!(is_refused(&refuse(&each(|frame| frame.term += 1))), "another term");
        assert!(is_refused(&refuse(&each(|frame| frame.term = 0))));
        assert!(is_refused(&refuse(&each(|frame| frame.index += 1))), "another index");
        assert!(is_refused(&refuse(&each(|frame| frame.kind = FrameKind::Vote))), "no entry");
        let moved = |frame: &mut Frame| {
            frame.stamp = frame.stamp.map(|stamp| Stamp { base_offset: stamp.base_offset + 1, ..stamp })
        };
        assert!(is_refused(&refuse(&each(moved))), "another offset");
        let flipped = |frame: &mut Frame| {
            if frame.kind == FrameKind::Batch {
                let mut payload = frame.payload.to_vec();
                *payload.last_mut().unwrap() ^= 1;
                frame.payload = payload.into();
            }
        };
        assert!(is_refused(&refuse(&each(flipped))), "a damaged payload");
        let cut = |frame: &mut Frame| frame.payload = frame.payload.slice(..frame.payload.len().min(30));
        assert!(is_refused(&refuse(&each(cut))), "too short for a batch");
        assert!(is_refused(&refuse(&|frames| frames.clear())), "none at all");
        let huge = |frame: &mut Frame| frame.payload = Bytes::from(vec![0; (1 << 20) + 1]);
        assert!(is_refused(&refuse(&each(huge))), "longer than is allowed");
        let more = |frames: &mut Vec<Frame>| {
            let index = frames.last().unwrap().index + 1;
            frames.extend((index..30).map(|index| twin.model.frames()[index as usize].clone()));
        };
        assert!(is_refused(&refuse(&more)), "more than was asked for");
        let failing = fixture.log().repair(2, &mut |_| Err(io::Error::other("nobody has them")));
        assert!(matches!(failing, Err(RepairError::Fetch { .. })), "{failing:?}");
        twin.repair(&fixture, 2).unwrap();
        twin.check(fixture, "after all refusals");
    }
}

#[test]
fn entries_of_another_size_do_not_fit() {
    let twin = Twin::new();
    let end = twin.finished()[2].bytes;
    let fixture = twin.damaged(|disk| wipe(disk, 2, 128..end));
    let command_of = |frame: &Frame, text: &str| command(frame.term, frame.index, frame.next_offset, text);
    let commands = |text: String| {
        move |frames: &mut Vec<Frame>| {
            let commands = frames.iter_mut().filter(|frame| frame.kind == FrameKind::Command);
            commands.for_each(|frame| *frame = command_of(frame, &text));
        }
    };
    assert!(
        is_misfit(&refuse(&twin, &fixture, 2, commands("short".to_owned()))),
        "what remains is no whole local frames"
    );
    assert!(is_misfit(&refuse(&twin, &fixture, 2, commands("long ".repeat(500)))), "there is no room");
    let grown = |frames: &mut Vec<Frame>| {
        for frame in frames.iter_mut().filter(|frame| is_accepted(frame)) {
            *frame = longer(frame);
        }
    };
    // Its offsets go on behind one more record: the next batch is not where it should be.
    assert!(is_refused(&refuse(&twin, &fixture, 2, grown)));
}

#[test]
fn entries_that_fit_by_their_size_and_not_into_the_offsets_are_refused() {
    let twin = Twin::new();
    let mut seen = 0;
    for segment in twin.finished().into_iter().skip(1) {
        for frame in twin.frames(segment.number) {
            if frame.header.kind != FrameKind::Batch {
                continue;
            }
            // The header is lost, and the peer says that the batch was rejected, or that it was not.
            let fixture = twin.damaged(|disk| wipe(disk, segment.number, frame.position + 10..frame.position + 11));
            let error = refuse(&twin, &fixture, segment.number, |frames| {
                for found in frames.iter_mut().filter(|found| found.index == frame.header.index) {
                    found.stamp = match found.stamp {
                        Some(_) => None,
                        None => Some(Stamp { base_offset: frame.offsets.start, leader_epoch: 1 }),
                    };
                }
            });
            assert!(matches!(error, RepairError::Unfit { .. }), "{error}");
            seen += 1;
        }
    }
    assert!(seen > 10);
}

#[test]
fn a_payload_is_restored_only_with_what_its_header_names() {
    let twin = Twin::new();
    for segment in twin.finished().into_iter().skip(1) {
        for frame in twin.frames(segment.number).into_iter().filter(|frame| frame.header.kind.is_entry()) {
            let end = frame.position + frame.bytes;
            let fixture = twin.damaged(|disk| wipe(disk, segment.number, end - 12..end - 8));
            let refuse = |change: fn(&mut Frame)| {
                refuse(&twin, &fixture, segment.number, |frames| frames.iter_mut().for_each(change))
            };
            assert!(is_refused(&refuse(|frame| frame.leader_time_ms += 1)));
            assert!(is_refused(&refuse(|frame| frame.expected_end_offset = Some(77))));
            if frame.header.kind == FrameKind::Batch {
                let another_epoch = |frame: &mut Frame| {
                    frame.stamp = match frame.stamp {
                        Some(stamp) => Some(Stamp { leader_epoch: stamp.leader_epoch + 1, ..stamp }),
                        None => Some(Stamp { base_offset: 1_000, leader_epoch: 1 }),
                    };
                };
                assert!(is_refused(&refuse(another_epoch)));
            } else {
                // Of the same size, and its own checksum right.
                let other = |frame: &mut Frame| frame.payload = Bytes::from(frame.payload.to_ascii_uppercase());
                assert!(is_refused(&refuse(other)));
            }
        }
    }
}

#[test]
fn a_sound_frame_that_this_build_cannot_read_is_not_replaced() {
    let twin = Twin::new();
    let frame = twin.frames(2).into_iter().find(|frame| !frame.header.kind.is_entry()).unwrap();
    let at = frame.position as usize;
    for (field, value) in [(2, 9), (3, 200)] {
        let fixture = twin.damaged(|disk| {
            disk.damage(&segment_path(2), |bytes| {
                bytes[at + field] = value;
                let salt = u32::from_le_bytes(bytes[124..128].try_into().unwrap());
                let checksum = crc32c::crc32c_append(salt, &bytes[at..at + 84]);
                bytes[at + 84..at + 88].copy_from_slice(&checksum.to_le_bytes());
            });
        });
        let error = refuse(&twin, &fixture, 2, |_| {});
        assert!(matches!(error, RepairError::Unfit { .. }), "{error}");
    }
}
