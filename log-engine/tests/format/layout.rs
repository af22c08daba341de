//! The layout of each structure, byte by byte and by hand: whatever changes here changes every file ever written.

use std::{path::Path, sync::mpsc};

use bytes::{Bytes, BytesMut};
use quorate_faulty_vfs::Disk;
use quorate_log_engine::{
    Checkpoint, FRAME_HEADER_SIZE, FrameHeader, FrameKind, IndexFile, IndexPoint, Log, LogStart, PreviousSegment,
    SEGMENT_HEADER_SIZE, SegmentExtent, SegmentHeader, TermStart, Vote,
};

use crate::fixture::{Entries, command, engine, options};

/// Fields as (name, position, bytes in hexadecimal), without gaps.
type Layout = [(&'static str, usize, &'static str)];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn check(layout: &Layout, encoded: &[u8]) {
    let mut end = 0;
    for (name, position, expected) in layout {
        assert_eq!(*position, end, "{name}: the table has a gap");
        end += expected.len() / 2;
        assert!(encoded.len() >= end, "{name}: cut short");
        assert_eq!(hex(&encoded[*position..end]), *expected, "{name} at {position}");
    }
    assert_eq!(encoded.len(), end, "nothing more");
}

/// The bytes of a layout.
fn bytes(layout: &Layout) -> Vec<u8> {
    let text: String = layout.iter().map(|(_, _, hex)| *hex).collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

const FRAME_HEADER: [(&str, usize, &str); 17] = [
    ("magic", 0, "4651"),
    ("format", 2, "01"),
    ("kind", 3, "02"),
    ("flags", 4, "0100"),
    ("reserved", 6, "0000"),
    ("payload bytes", 8, "04030201"),
    ("payload checksum", 12, "14131211"),
    ("term", 16, "2827262524232221"),
    ("log index", 24, "3837363534333231"),
    ("leader time", 32, "4847464544434241"),
    ("expected end offset", 40, "5857565554535251"),
    ("durable through", 48, "6867666564636261"),
    ("durable position", 56, "7877767574737271"),
    ("reserved", 64, "0000000000000000"),
    ("reserved", 72, "0000000000000000"),
    ("previous checksum", 80, "84838281"),
    ("checksum, with the salt 0x9c9b9a99", 84, "0f94e3e0"),
];

#[test]
fn a_frame_header_has_its_layout() {
    let header = FrameHeader {
        kind: FrameKind::Membership,
        rejected: true,
        payload_bytes: 0x0102_0304,
        payload_checksum: 0x1112_1314,
        term: 0x2122_2324_2526_2728,
        index: 0x3132_3334_3536_3738,
        leader_time_ms: 0x4142_4344_4546_4748,
        expected_end_offset: Some(0x5152_5354_5556_5758),
        durable_through: Some(0x6162_6364_6566_6768),
        durable_position: 0x7172_7374_7576_7778,
        previous_checksum: 0x8182_8384,
        checksum: 0xe0e3_940f,
    };
    let mut encoded = BytesMut::new();
    assert_eq!(header.encode(0x9c9b_9a99, &[], &mut encoded), header.checksum);
    check(&FRAME_HEADER, &encoded);
    assert_eq!(encoded.len(), FRAME_HEADER_SIZE);
    assert_eq!(FrameHeader::decode(&bytes(&FRAME_HEADER), 0x9c9b_9a99, u64::MAX), Ok(header));

    let none = FrameHeader { expected_end_offset: None, durable_through: None, rejected: false, ..header };
    let mut encoded = BytesMut::new();
    none.encode(0, &[], &mut encoded);
    assert_eq!(encoded[4..8], [0; 4]);
    assert_eq!(encoded[40..56], [0xff; 16]);
}

#[test]
fn the_kinds_of_frames_have_their_codes() {
    let kinds = [
        FrameKind::Batch,
        FrameKind::Membership,
        FrameKind::Blank,
        FrameKind::Trim,
        FrameKind::ProducerExpiry,
        FrameKind::Vote,
        FrameKind::Command,
        FrameKind::Start,
    ];
    assert_eq!(kinds.map(|kind| kind as u8), [1, 2, 3, 4, 5, 6, 7, 8]);
}

const SEGMENT_HEADER: [(&str, usize, &str); 20] = [
    ("magic", 0, "51534547"),
    ("format", 4, "01"),
    ("vote: committed", 5, "02"),
    ("reserved", 6, "0000"),
    ("number", 8, "0807060504030201"),
    ("base index", 16, "1817161514131211"),
    ("replica", 24, "2827262524232221"),
    ("base offset", 32, "3837363534333231"),
    ("base time", 40, "4847464544434241"),
    ("previous number", 48, "5857565554535200"),
    ("previous end", 56, "6867666564636261"),
    ("vote term", 64, "7877767574737271"),
    ("voted for", 72, "8887868584838281"),
    ("start index", 80, "9897969594939211"),
    ("start term", 88, "a8a7a6a5a4a3a2a1"),
    ("start offset", 96, "b8b7b6b5b4b3b231"),
    ("owner, low", 104, "c0bfbebdbcbbbab9"),
    ("owner, high", 112, "c8c7c6c5c4c3c2c1"),
    ("previous checksum", 120, "d4d3d2d1"),
    ("checksum", 124, "3ac73f21"),
];

#[test]
fn a_segment_header_has_its_layout() {
    let previous = PreviousSegment { number: 0x0052_5354_5556_5758, end: 0x6162_6364_6566_6768, checksum: 0xd1d2_d3d4 };
    let header = SegmentHeader {
        number: 0x0102_0304_0506_0708,
        base_index: 0x1112_1314_1516_1718,
        replica: 0x2122_2324_2526_2728,
        owner: 0xc1c2_c3c4_c5c6_c7c8_b9ba_bbbc_bdbe_bfc0,
        base_offset: 0x3132_3334_3536_3738,
        base_time_ms: 0x4142_4344_4546_4748,
        previous: Some(previous),
        vote: Some(Vote { term: 0x7172_7374_7576_7778, voted_for: 0x8182_8384_8586_8788, committed: true }),
        start: LogStart { index: 0x1192_9394_9596_9798, term: 0xa1a2_a3a4_a5a6_a7a8, offset: 0x31b2_b3b4_b5b6_b7b8 },
    };
    let (encoded, checksum) = header.encode();
    check(&SEGMENT_HEADER, &encoded);
    assert_eq!((encoded.len(), checksum), (SEGMENT_HEADER_SIZE, 0x213f_c73a));
    assert_eq!(SegmentHeader::decode(&bytes(&SEGMENT_HEADER)), Ok((header, checksum)));

    let given = header.vote.map(|vote| Vote { committed: false, ..vote });
    assert_eq!(SegmentHeader { vote: given, ..header }.encode().0[5], 1);
    let (none, _) = SegmentHeader { previous: None, vote: None, ..header }.encode();
    assert_eq!(
        (none[5], &none[48..56], &none[56..80], &none[120..124]),
        (0, &[0xff; 8][..], &[0; 24][..], &[0; 4][..])
    );
}

const INDEX_FILE: [(&str, usize, &str); 19] = [
    ("magic", 0, "51494458"),
    ("format", 4, "01"),
    ("reserved", 5, "000000"),
    ("segment", 8, "0807060504030201"),
    ("checksum of the segment's header", 16, "14131211"),
    ("count", 20, "02000000"),
    ("base: log index", 24, "2827262524232221"),
    ("base: offset", 32, "3837363534333231"),
    ("base: time", 40, "4847464544434241"),
    ("base: position", 48, "5857565554535251"),
    ("first: log index", 56, "64636261"),
    ("first: offset", 60, "74737271"),
    ("first: time", 64, "84838281"),
    ("first: position / 8", 68, "94939291"),
    ("second: log index", 72, "65636261"),
    ("second: offset", 76, "74737271"),
    ("second: time", 80, "85838281"),
    ("second: position / 8", 84, "95939291"),
    ("checksum", 88, "cd2efc19"),
];

#[test]
fn an_index_file_has_its_layout() {
    let file = IndexFile::decode(&bytes(&INDEX_FILE)).unwrap();
    assert_eq!((file.segment, file.segment_checksum), (0x0102_0304_0506_0708, 0x1112_1314));
    let base = IndexPoint {
        index: 0x2122_2324_2526_2728,
        offset: 0x3132_3334_3536_3738,
        time_ms: 0x4142_4344_4546_4748,
        position: 0x5152_5354_5556_5758,
    };
    let first = IndexPoint {
        index: base.index + 0x6162_6364,
        offset: base.offset + 0x7172_7374,
        time_ms: base.time_ms + 0x8182_8384,
        position: base.position + 8 * 0x9192_9394,
    };
    let second = IndexPoint {
        index: first.index + 1,
        offset: first.offset,
        time_ms: first.time_ms + 1,
        position: first.position + 8,
    };
    assert_eq!(file.index.points().collect::<Vec<_>>(), [base, first, second]);
    check(&INDEX_FILE, &file.encode().unwrap());
}

#[test]
fn an_index_file_holds_2048_points_behind_its_base_and_no_more() {
    let with_points = |count: u32| {
        let mut file = bytes(&INDEX_FILE)[..56].to_vec();
        file[20..24].copy_from_slice(&count.to_le_bytes());
        (1..=count).for_each(|at| [at, at, at, at].iter().for_each(|value| file.extend(value.to_le_bytes())));
        file.extend(crc32c::crc32c(&file).to_le_bytes());
        file
    };
    let most = with_points(2_048);
    assert_eq!(most.len(), IndexFile::SIZE_MAX);
    assert_eq!(IndexFile::decode(&most).unwrap().index.len(), 2_049);
    assert!(IndexFile::decode(&with_points(2_049)).is_err());
}

const CHECKPOINT: [(&str, usize, &str); 26] = [
    ("magic", 0, "51434b50"),
    ("format", 4, "01"),
    ("reserved", 5, "000000"),
    ("segment", 8, "f8f7f6f5f4f3f2f1"),
    ("checksum of the segment's header", 16, "14131211"),
    ("terms", 20, "01000000"),
    ("segments", 24, "02000000"),
    ("bytes of the state", 28, "03000000"),
    ("term", 32, "2827262524232221"),
    ("its first log index", 40, "3837363534333231"),
    ("first: number", 48, "0100000000000000"),
    ("first: base index", 56, "4847464544434241"),
    ("first: base offset", 64, "5857565554535251"),
    ("first: base time", 72, "6867666564636261"),
    ("first: end", 80, "7877767574737271"),
    ("first: checksum of its header", 88, "84838281"),
    ("first: checksum of its last frame header", 92, "94939291"),
    ("second: number", 96, "0200000000000000"),
    ("second: base index", 104, "4947464544434241"),
    ("second: base offset", 112, "5957565554535251"),
    ("second: base time", 120, "6967666564636261"),
    ("second: end", 128, "7977767574737271"),
    ("second: checksum of its header", 136, "85838281"),
    ("second: checksum of its last frame header", 140, "95939291"),
    ("state", 144, "a1b2c3"),
    ("checksum", 147, "455a9076"),
];

#[test]
fn a_checkpoint_has_its_layout() {
    let extent = |number: u64| SegmentExtent {
        number,
        base_index: 0x4142_4344_4546_4747 + number,
        base_offset: 0x5152_5354_5556_5757 + number,
        base_time_ms: 0x6162_6364_6566_6767 + number as i64,
        end: 0x7172_7374_7576_7777 + number,
        head_checksum: 0x8182_8383 + number as u32,
        end_checksum: 0x9192_9393 + number as u32,
    };
    let checkpoint = Checkpoint {
        segment: 0xf1f2_f3f4_f5f6_f7f8,
        segment_checksum: 0x1112_1314,
        terms: vec![TermStart { term: 0x2122_2324_2526_2728, index: 0x3132_3334_3536_3738 }],
        segments: vec![extent(1), extent(2)],
        state: Bytes::from_static(&[0xa1, 0xb2, 0xc3]),
    };
    check(&CHECKPOINT, &checkpoint.encode().unwrap());
    assert_eq!(Checkpoint::decode(&bytes(&CHECKPOINT).into()), Ok(checkpoint));
}

const VOTE: [(&str, usize, &str); 4] = [
    ("term", 0, "0807060504030201"),
    ("voted for", 8, "1817161514131211"),
    ("committed", 16, "01"),
    ("reserved", 17, "00000000000000"),
];

const START: [(&str, usize, &str); 3] =
    [("log index", 0, "0200000000000000"), ("term", 8, "2827262524232221"), ("offset", 16, "0000000000000000")];

#[test]
fn votes_and_log_starts_have_their_layout() {
    let disk = Disk::default();
    let opened =
        Log::open(&engine(), disk.vfs(), Path::new("/log"), &options(1 << 20), &mut Entries::default()).unwrap();
    let (done, finished) = mpsc::channel();
    let completion = || {
        let done = done.clone();
        Box::new(move |result| drop(done.send(result)))
    };
    let term = 0x2122_2324_2526_2728;
    let vote = Vote { term: 0x0102_0304_0506_0708, voted_for: 0x1112_1314_1516_1718, committed: true };
    opened.log.save_vote(vote, completion());
    let frames = vec![command(term, 0, 0, 7, "12345678"), command(term, 1, 0, 7, "12345678")];
    opened.log.append(frames, completion());
    opened.log.trim_prefix(LogStart { index: 2, term, offset: 0 }, completion());
    (0..3).for_each(|_| finished.recv().unwrap().unwrap());
    let segment = disk.bytes(Path::new("/log/00000000000000000000.log"));
    let vote_at = SEGMENT_HEADER_SIZE + FRAME_HEADER_SIZE;
    check(&VOTE, &segment[vote_at..vote_at + 24]);
    let start_at = vote_at + 24 + 2 * (FRAME_HEADER_SIZE + 8) + FRAME_HEADER_SIZE;
    check(&START, &segment[start_at..start_at + 24]);
}

#[test]
fn the_format_is_version_1() {
    assert_eq!(quorate_log_engine::FORMAT, 1);
}
