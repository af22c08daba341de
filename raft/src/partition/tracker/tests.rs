#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::BytesMut;
use proptest::prelude::*;
use quorate_log_engine::FrameHeader;
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

use super::*;
use crate::{
    checkpoint::{Checkpoint, GroupState},
    partition::Outcome,
};

fn frame(index: u64, producer_id: i64, base_sequence: i32, records: i32, expected_end_offset: Option<u64>) -> Frame {
    let mut builder = BatchBuilder::new(Compression::None);
    (0..records).for_each(|_| _ = builder.push(&Record::new("value", 1)));
    let payload = builder.build(ProducerStamp { producer_id, producer_epoch: 0, base_sequence }).unwrap();
    let (kind, stamp) = (FrameKind::Batch, None);
    Frame { kind, term: 1, index, leader_time_ms: 0, expected_end_offset, payload, stamp, next_offset: 0 }
}

fn blank(index: u64) -> Frame {
    let (kind, payload) = (FrameKind::Blank, bytes::Bytes::new());
    Frame { kind, payload, ..frame(index, 1, 0, 1, None) }
}

/// Shows the tracker an entry as the recovery finds it on the disk.
fn recover(tracker: &mut Tracker, frame: &Frame, applied_through: Option<u64>) -> Result<(), String> {
    let (mut heads, mut parts) = (BytesMut::new(), Vec::new());
    frame.encode_for_wire(&mut heads, &mut parts);
    let bytes = parts.concat();
    let rejected = frame.kind == FrameKind::Batch && frame.stamp.is_none();
    let header = FrameHeader { rejected, ..FrameHeader::decode(&bytes, 0, 1 << 20).unwrap() };
    let mut batch = BatchHeader::parse(&frame.payload).ok();
    if let (Some(batch), Some(stamp)) = (&mut batch, frame.stamp) {
        batch.base_offset = stamp.base_offset.cast_signed();
    }
    let entry = RecoveredEntry { header: &header, batch: batch.as_ref(), payload: frame.payload.clone() };
    tracker.recover(&entry, applied_through)
}

#[test]
fn append_decides_stamps_and_apply_tells_the_same() {
    let mut tracker = Tracker::default();
    let mut frames = [
        blank(0),
        frame(1, 7, 0, 2, None),
        frame(2, 7, 0, 2, None),
        frame(3, 7, 2, 1, Some(9)),
        frame(4, 7, 2, 1, None),
    ];
    for frame in &mut frames {
        tracker.append(frame).unwrap();
    }
    let stamps: Vec<_> = frames.iter().map(|frame| frame.stamp.map(|stamp| stamp.base_offset)).collect();
    assert_eq!(stamps, [None, Some(0), None, None, Some(2)]);
    assert_eq!(frames.map(|frame| frame.next_offset), [0, 2, 2, 2, 3]);
    let outcomes: Vec<_> = (0..5).map(|index| tracker.apply(index)).collect();
    let expected = [
        None,
        Some(Outcome::Appended { base_offset: 0 }),
        Some(Outcome::Duplicate { base_offset: 0 }),
        Some(Outcome::EndOffsetMismatch { end_offset: 2 }),
        Some(Outcome::Appended { base_offset: 2 }),
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn a_log_that_contradicts_its_own_prefix_is_refused() {
    let mut first = frame(0, 7, 0, 2, None);
    let mut second = frame(1, 7, 0, 2, None);
    let mut tracker = Tracker::default();
    tracker.append(&mut first).unwrap();
    tracker.append(&mut second).unwrap();

    let mut again = Tracker::default();
    recover(&mut again, &first, None).unwrap();
    let accepted = Frame { stamp: first.stamp, ..second };
    assert!(recover(&mut again, &accepted, None).is_err(), "a duplicate is stored as accepted");
    let rejected = Frame { stamp: None, ..first };
    assert!(recover(&mut Tracker::default(), &rejected, None).is_err(), "a batch is stored as rejected");
}

#[test]
#[should_panic(expected = "an entry that is applied cannot be undone")]
fn no_state_is_told_of_before_what_is_applied() {
    let mut tracker = Tracker::default();
    tracker.append(&mut blank(0)).unwrap();
    tracker.append(&mut blank(1)).unwrap();
    tracker.apply(0);
    tracker.state_before(0);
}

#[test]
#[should_panic(expected = "entries are applied in order, once")]
fn an_entry_is_not_applied_out_of_order() {
    let mut tracker = Tracker::default();
    tracker.append(&mut blank(0)).unwrap();
    tracker.append(&mut blank(1)).unwrap();
    tracker.apply(1);
}

/// A batch of one of three producers, or nobody's, or an entry that is no batch.
fn any_frame() -> impl Strategy<Value = Option<(i64, i32, i32, Option<u64>)>> {
    let batch = (0i64..3, 0i32..6, 1i32..3, prop::option::weighted(0.1, 0u64..6));
    let nobody = (1i32..3, prop::option::weighted(0.1, 0u64..6)).prop_map(|(records, at)| (-1, -1, records, at));
    prop_oneof![1 => Just(None), 8 => batch.prop_map(Some), 2 => nobody.prop_map(Some)]
}

fn build(index: u64, script: Option<(i64, i32, i32, Option<u64>)>) -> Frame {
    script.map_or_else(
        || blank(index),
        |(producer, sequence, records, expected)| {
            let mut frame = frame(index, producer.max(0), sequence.max(0), records, expected);
            if producer < 0 {
                let mut builder = BatchBuilder::new(Compression::None);
                (0..records).for_each(|_| _ = builder.push(&Record::new("value", 1)));
                frame.payload = builder.build(ProducerStamp::NONE).unwrap();
            }
            frame
        },
    )
}

proptest! {
    /// What was truncated leaves no trace; a restart, at whatever commit, gives the same state and the same outcomes.
    #[test]
    fn append_truncate_recover_and_apply_agree(
        kept in prop::collection::vec(any_frame(), 0..20),
        lost in prop::collection::vec(any_frame(), 0..20),
        after in prop::collection::vec(any_frame(), 0..20),
        committed in 0usize..20,
        begin in 0usize..20,
    ) {
        let append = |tracker: &mut Tracker, from: usize, script: &[_]| -> Vec<Frame> {
            let frames = script.iter().enumerate().map(|(at, script)| build((from + at) as u64, *script));
            frames.map(|mut frame| { tracker.append(&mut frame).unwrap(); frame }).collect()
        };
        let mut tracker = Tracker::default();
        let mut log = append(&mut tracker, 0, &kept);
        let committed = committed.min(kept.len());
        let mut outcomes: Vec<_> = (0..committed).map(|index| tracker.apply(index as u64)).collect();
        append(&mut tracker, kept.len(), &lost);
        tracker.truncate_from(kept.len() as u64);
        log.extend(append(&mut tracker, kept.len(), &after));

        // Another replica, which never had what was lost.
        let mut other = Tracker::default();
        let same = append(&mut other, 0, &[kept.clone(), after.clone()].concat());
        prop_assert_eq!(&same, &log);
        prop_assert_eq!(other.state(), tracker.state());

        // The state before any unapplied entry, and before the next one, is that of a log that ends there.
        for end in committed..=log.len() {
            let mut shorter = Tracker::default();
            append(&mut shorter, 0, &[kept.clone(), after.clone()].concat()[..end]);
            prop_assert_eq!(&tracker.state_before(end as u64), shorter.state());
        }

        // The same replica after a restart.
        let mut restarted = Tracker::default();
        for frame in &log {
            recover(&mut restarted, frame, committed.checked_sub(1).map(|last| last as u64)).unwrap();
        }
        prop_assert_eq!(restarted.state(), tracker.state());
        // And after one that began at a checkpoint, encoded and decoded, at or below the commit.
        let begin = begin.min(committed);
        let mut prefix = Tracker::default();
        append(&mut prefix, 0, &[kept.clone(), after.clone()].concat()[..begin]);
        let state = GroupState::Partition(prefix.state().clone());
        let checkpoint = Checkpoint { state, ..Checkpoint::default() }.encode();
        let GroupState::Partition(begun) = Checkpoint::decode(checkpoint).unwrap().state else { unreachable!() };
        let mut resumed = Tracker::new(begun);
        for frame in &log[begin..] {
            recover(&mut resumed, frame, committed.checked_sub(1).map(|last| last as u64)).unwrap();
        }
        prop_assert_eq!(resumed.state(), tracker.state());
        for index in committed..log.len() {
            let outcome = tracker.apply(index as u64);
            prop_assert_eq!(restarted.apply(index as u64), outcome);
            prop_assert_eq!(resumed.apply(index as u64), outcome);
            outcomes.push(outcome);
        }
        for (index, outcome) in outcomes.into_iter().enumerate() {
            prop_assert_eq!(other.apply(index as u64), outcome);
        }
    }
}
