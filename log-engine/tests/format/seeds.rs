//! The seeds of the corpus: real encodings, and some that lie.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_log_engine::{
    Checkpoint, Frame, FrameHeader, FrameKind, LogStart, PreviousSegment, SegmentExtent, SegmentHeader, Stamp,
    TermStart, Vote,
};
use quorate_record::{BatchBuilder, BatchHeader, Compression, ProducerStamp, Record};

use crate::targets::Mode;

pub(crate) struct Seed {
    pub(crate) target: &'static str,
    /// Begins with `bad-` if it does not decode.
    pub(crate) name: String,
    pub(crate) input: Vec<u8>,
}

const REPAIR: u8 = Mode::CHECKSUMS | Mode::SIZES;

fn seed(target: &'static str, name: impl Into<String>, mode: u8, bytes: &[u8]) -> Seed {
    Seed { target, name: name.into(), input: [&[mode][..], bytes].concat() }
}

pub(crate) fn all() -> Vec<Seed> {
    [batches(), frames(), indexes(), checkpoints(), segment_headers()].into_iter().flatten().collect()
}

/// A batch of `count` records that compress.
pub(crate) fn batch(compression: Compression, count: usize, producer: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    for at in 0..count {
        let record =
            Record::new(format!("all work and no play, {at} times over and over"), 1_700_000_000_000 + at as i64);
        builder.push(&record.with_key(format!("key {}", at % 3)).with_header("source", "seed"));
    }
    builder.build(producer).unwrap()
}

const PRODUCER: ProducerStamp = ProducerStamp { producer_id: 77, producer_epoch: 2, base_sequence: i32::MAX - 1 };

fn batches() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        for (count, producer) in [(1, ProducerStamp::NONE), (5, PRODUCER), (40, PRODUCER)] {
            let bytes = batch(compression, count, producer);
            seeds.push(seed("batch", format!("{compression}-{count}"), 0, &bytes));
        }
    }
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&Record { timestamp_ms: i64::MIN, ..Record::default() });
    builder.push(&Record { timestamp_ms: i64::MAX, value: Some(Bytes::new()), ..Record::default() });
    seeds.push(seed("batch", "nulls-and-times", 0, &builder.build(ProducerStamp::NONE).unwrap()));
    let plain = batch(Compression::None, 2, ProducerStamp::NONE);
    let stamped = [&quorate_record::stamp(&plain, 1 << 40, 12)[..], &plain[21..]].concat();
    seeds.push(seed("batch", "stamped", 0, &stamped));
    seeds.push(seed("batch", "bad-two-batches", 0, &[&plain[..], &stamped].concat()));

    // Claims of more than there is, behind a right length and CRC: as in the allocation tests of the record crate.
    let zstd = |size: u64| {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
        frame.put_u64_le(size);
        frame.extend_from_slice(&[0x19, 0, 0, b'a', b'b', b'c']);
        frame
    };
    let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0x68, 0x70];
    lz4.extend_from_slice(&(u64::MAX >> 8).to_le_bytes());
    lz4.extend_from_slice(&[0, 4, 0, 0, 0, 0x30, b'a', b'b', b'c', 0, 0, 0, 0]);
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x80, 0x1b, 0, 0, b'a'];
    let null_record = [12, 0, 0, 0, 1, 1, 0];
    // One plain block of one record of nulls, by hand.
    let mut lz4_by_hand = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 7, 0, 0, 0x80];
    lz4_by_hand.extend_from_slice(&null_record);
    lz4_by_hand.extend_from_slice(&[0; 4]);
    // A frame of unknown size with one raw block, the last.
    let mut zstd_by_hand = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 7 << 3 | 1, 0, 0];
    zstd_by_hand.extend_from_slice(&null_record);
    for (name, compression, count, records) in [
        ("lz4-by-hand", Compression::Lz4, 1, &lz4_by_hand[..]),
        ("zstd-by-hand", Compression::Zstd, 1, &zstd_by_hand),
        ("bad-record-count", Compression::None, i32::MAX, &null_record),
        ("bad-record-length", Compression::None, 1, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("bad-header-count", Compression::None, 1, &[20, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x08]),
        ("bad-header-key", Compression::None, 1, &[20, 0, 0, 0, 1, 1, 2, 4, b'a', 0xff, 1]),
        ("bad-lz4-claims", Compression::Lz4, 1, &lz4),
        ("bad-zstd-size", Compression::Zstd, 1, &zstd(8 << 20)),
        ("bad-zstd-huge", Compression::Zstd, 1, &zstd(u64::MAX)),
        ("bad-zstd-window", Compression::Zstd, 1, &window),
    ] {
        seeds.push(seed("batch", name, REPAIR, &batch_of(compression, count, records)));
    }
    seeds
}

fn batch_of(compression: Compression, record_count: i32, records: &[u8]) -> Vec<u8> {
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: -1,
        crc: 0,
        compression,
        last_offset_delta: record_count - 1,
        base_timestamp: 7,
        max_timestamp: 7,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count,
    };
    [&header.encode()[..], records].concat()
}

fn frames() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let kinds = [
        (FrameKind::Membership, "membership"),
        (FrameKind::Blank, "blank"),
        (FrameKind::Trim, "trim"),
        (FrameKind::ProducerExpiry, "producer-expiry"),
        (FrameKind::Vote, "vote"),
        (FrameKind::Command, "command"),
        (FrameKind::Start, "start"),
    ];
    for (at, (kind, name)) in kinds.into_iter().enumerate() {
        let payload = if kind == FrameKind::Blank { Vec::new() } else { vec![at as u8; 24] };
        let header = FrameHeader {
            kind,
            rejected: false,
            payload_bytes: payload.len() as u32,
            payload_checksum: crc32c::crc32c(&payload),
            term: 3,
            index: 9 + at as u64,
            leader_time_ms: 1_700_000_000_000,
            expected_end_offset: None,
            durable_through: (at % 2 == 0).then_some(8),
            durable_position: 4_096,
            previous_checksum: 0x1234_5678,
            checksum: 0,
        };
        let salt = 0x0bad_cafe_u32;
        let mut bytes = BytesMut::new();
        bytes.put_u32_le(salt);
        header.encode(salt, &[], &mut bytes);
        bytes.extend_from_slice(&payload);
        seeds.push(seed("frame", format!("disk-{name}"), 0, &bytes));
    }
    for (name, compression, stamped) in [
        ("wire-batch", Compression::None, true),
        ("wire-batch-rejected", Compression::None, false),
        ("wire-batch-lz4", Compression::Lz4, true),
        ("wire-batch-zstd", Compression::Zstd, true),
    ] {
        let frame = Frame {
            kind: FrameKind::Batch,
            term: 3,
            index: 20,
            leader_time_ms: -1,
            expected_end_offset: Some(9),
            payload: batch(compression, 4, PRODUCER),
            stamp: stamped.then_some(Stamp { base_offset: 50, leader_epoch: 3 }),
            next_offset: 54,
        };
        let (mut heads, mut parts) = (BytesMut::new(), Vec::new());
        frame.encode_for_wire(&mut heads, &mut parts);
        let bytes = parts.concat();
        seeds.push(seed("frame", name, 0, &[&[0; 4][..], &bytes].concat()));
        if stamped {
            let cut = [&[0; 4][..], &bytes[..120]].concat();
            seeds.push(seed("frame", format!("bad-{name}-cut"), 0, &cut));
            seeds.push(seed("frame", format!("{name}-salted"), REPAIR, &[b"salt", &bytes[..]].concat()));
        }
    }
    seeds
}

/// An index file by hand: the engine makes none from outside.
fn index(base: [u64; 4], points: &[[u32; 4]]) -> Vec<u8> {
    let mut bytes = b"QIDX\x01\0\0\0".to_vec();
    bytes.put_u64_le(7);
    bytes.put_u32_le(0xfeed_f00d);
    bytes.put_u32_le(points.len() as u32);
    base.into_iter().for_each(|value| bytes.put_u64_le(value));
    points.iter().flatten().for_each(|value| bytes.put_u32_le(*value));
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    bytes
}

fn indexes() -> Vec<Seed> {
    const MAX: u64 = u64::MAX >> 1;
    let base = [100, 1_000, 1_700_000_000_000, 128];
    let many = |count: u32| (1..=count).map(|at| [at, at / 2, at / 3, at * 1_024]).collect::<Vec<_>>();
    let last = u32::MAX;
    [
        ("base-only", index(base, &[])),
        ("one", index(base, &[[5, 9, 0, 1_100]])),
        ("two-of-one-offset", index(base, &[[5, 9, 0, 1_100], [6, 9, 0, 1_101]])),
        ("some", index(base, &many(9))),
        ("many", index(base, &many(200))),
        ("time-negative", index([0, 0, (-5_i64).cast_unsigned(), 128], &[[1, 0, 9, 1_024]])),
        ("time-at-its-end", index([0, 0, MAX, 128], &[[1, 0, 9, 1_024], [2, 0, 10, 2_048]])),
        ("all-at-their-end", index([MAX, MAX, MAX, MAX], &[[last - 1, last, last, last - 1], [last; 4]])),
        ("bad-base", index([MAX + 1, 0, 0, 0], &[])),
        ("bad-order", index(base, &[[5, 9, 0, 1_100], [5, 9, 0, 1_100]])),
        ("bad-cut", index(base, &many(9))[..100].to_vec()),
        ("bad-format", [&b"QIDX\x02"[..], &index(base, &[])[5..]].concat()),
    ]
    .map(|(name, bytes)| seed("index", name, 0, &bytes))
    .into()
}

fn checkpoint(terms: u64, segments: u64, state: &[u8]) -> Vec<u8> {
    let extent = |at: u64| SegmentExtent {
        number: 2 * at,
        base_index: 100 * at,
        base_offset: 1_000 * at,
        base_time_ms: 1_700_000_000_000 + at as i64,
        end: 2_048 - 8 * at,
        head_checksum: 0xaaaa_0000 + at as u32,
        end_checksum: 0xbbbb_0000 + at as u32,
    };
    let checkpoint = Checkpoint {
        segment: 2 * segments,
        segment_checksum: 0xfeed_f00d,
        terms: (0..terms).map(|at| TermStart { term: 1 + at, index: 7 * at }).collect(),
        segments: (0..segments).map(extent).collect(),
        state: Bytes::copy_from_slice(state),
    };
    checkpoint.encode().unwrap().to_vec()
}

fn checkpoints() -> Vec<Seed> {
    let mut before_itself = checkpoint(1, 3, b"state");
    before_itself[8] = 4;
    [
        ("empty", 0, checkpoint(0, 0, b"")),
        ("state", 0, checkpoint(0, 0, b"the state before log index 9")),
        ("state-large", 0, checkpoint(2, 1, &[0xab; 1_000])),
        ("term", 0, checkpoint(1, 0, b"")),
        ("terms", 0, checkpoint(9, 0, b"state")),
        ("segment", 0, checkpoint(0, 1, b"")),
        ("segments", 0, checkpoint(1, 12, b"")),
        ("all", 0, checkpoint(5, 4, b"the state of a partition")),
        ("bad-segment-not-before", REPAIR, before_itself),
        ("bad-cut", 0, checkpoint(5, 4, b"the state of a partition")[..90].to_vec()),
        ("bad-counts", Mode::CHECKSUMS, checkpoint(1, 1, b"").iter().map(|byte| byte | 0x40).collect()),
        ("bad-format", 0, [&b"QCKP\0"[..], &checkpoint(0, 0, b"")[5..]].concat()),
    ]
    .map(|(name, mode, bytes)| seed("checkpoint", name, mode, &bytes))
    .into()
}

fn segment_headers() -> Vec<Seed> {
    let first = SegmentHeader {
        number: 0,
        base_index: 0,
        replica: 7,
        owner: 0x0001_0002_0003_0004,
        base_offset: 0,
        base_time_ms: 0,
        previous: None,
        vote: None,
        start: LogStart::default(),
    };
    let previous = Some(PreviousSegment { number: 4, end: 2_000, checksum: 0x1234_5678 });
    let vote = |committed| Some(Vote { term: 3, voted_for: 2, committed });
    let start = LogStart { index: 90, term: 2, offset: 400 };
    let later = SegmentHeader { number: 5, base_index: 99, base_offset: 500, previous, start, ..first };
    let mut bad_vote = SegmentHeader { vote: vote(true), ..later }.encode().0.to_vec();
    bad_vote[5] = 3;
    [
        ("first", 0, first.encode().0),
        ("later", 0, later.encode().0),
        ("vote-given", 0, SegmentHeader { vote: vote(false), ..later }.encode().0),
        ("vote-committed", 0, SegmentHeader { vote: vote(true), ..later }.encode().0),
        ("restarted", 0, SegmentHeader { previous: None, vote: vote(true), ..later }.encode().0),
        ("time-negative", 0, SegmentHeader { base_time_ms: i64::MIN, ..first }.encode().0),
        ("owner-large", 0, SegmentHeader { owner: u128::MAX, replica: u64::MAX, ..later }.encode().0),
        ("bad-vote", REPAIR, bad_vote.into()),
        ("bad-cut", 0, later.encode().0.slice(..127)),
        ("bad-format", 0, [&b"QSEG\0"[..], &first.encode().0[5..]].concat().into()),
    ]
    .map(|(name, mode, bytes)| seed("segment_header", name, mode, &bytes))
    .into()
}
