//! What decoding and building take of memory, counted by an allocator that wraps the system's.
//!
//! Decoding is held to what the input can prove: bytes that are there, or what a codec can possibly make of them, and
//! never more than the limit. What it merely claims takes nothing.
//!
//! Not counted is what the C library of Zstandard allocates for itself: its context, and the window of a frame that does
//! not state its size. A test beside that codec holds the window to its bounds.

#![allow(clippy::unwrap_used, reason = "tests")]

use allocation_counter::{AllocationInfo, measure};
use bytes::{BufMut, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use quorate_record::{
    BatchBuilder, BatchError, BatchHeader, Compression, DecodeLimits, HEADER_SIZE, Header, ProducerStamp, Record,
    RecordsIter, decode_batch, layout,
};

const CODECS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];
/// A buffer that grows as bytes come may have twice the room it needs, and while it moves there is the old one too.
const GROWTH: usize = 3;
/// Texts of errors, and the counters of shared buffers.
const SMALL: usize = 2048;

fn measured<T>(run: impl FnOnce() -> T) -> (AllocationInfo, T) {
    let mut output = None;
    let info = measure(|| output = Some(run()));
    (info, output.unwrap())
}

fn build(mut builder: BatchBuilder, record: &Record, record_count: usize) -> Bytes {
    for _ in 0..record_count {
        builder.push(record);
    }
    builder.build(ProducerStamp::NONE).unwrap()
}

fn decode(batch: &Bytes, limits: &DecodeLimits) -> (AllocationInfo, Result<RecordsIter, BatchError>) {
    measured(|| decode_batch(batch.clone(), limits))
}

/// A batch of these records with a right header and CRC.
fn batch_of(compression: Compression, record_count: i32, records: &[u8]) -> Bytes {
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: -1,
        crc: 0,
        compression,
        last_offset_delta: record_count - 1,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count,
    };
    repaired([&header.encode()[..], records].concat())
}

/// The batch with length and CRC made right, so that what lies behind these checks sees the damage.
fn repaired(mut batch: Vec<u8>) -> Bytes {
    let batch_length = (batch.len() - layout::LENGTH_OVERHEAD) as i32;
    batch[layout::BATCH_LENGTH..layout::LEADER_EPOCH].copy_from_slice(&batch_length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[layout::ATTRIBUTES..]);
    batch[layout::CRC..layout::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

/// The most memory that decompression may hold at once.
fn decompression_bytes_max(batch: &[u8], limits: &DecodeLimits) -> usize {
    let expansion_max = match BatchHeader::parse(batch).map(|header| header.compression) {
        Ok(Compression::Lz4) => 255,
        // A block of 128 KiB takes four bytes at least.
        Ok(Compression::Zstd) => (128 << 10) / 4,
        Ok(Compression::None) | Err(_) => 0,
    };
    SMALL + GROWTH * limits.decompressed_bytes_max.min((batch.len() - HEADER_SIZE) * expansion_max)
}

/// The most memory that iteration may hold at once, beyond the `size` bytes of the records.
fn iteration_bytes_max(size: usize) -> usize {
    // Nothing is larger in memory than on the wire but headers, of two bytes at least; their keys are copied.
    SMALL + size * (GROWTH * size_of::<Header>() / 2 + 1)
}

#[track_caller]
fn check_bounds(batch: &Bytes, limits: &DecodeLimits) {
    let (info, decoded) = decode(batch, limits);
    assert!(info.bytes_max <= decompression_bytes_max(batch, limits) as u64, "{} bytes: {info:?}", batch.len());
    if let Ok(decoded) = decoded {
        // Whatever is still allocated is the buffer of the decompressed records.
        let size = batch.len() + info.bytes_current as usize;
        let (info, _) = measured(|| decoded.count());
        assert!(info.bytes_max <= iteration_bytes_max(size) as u64, "{size} bytes: {info:?}");
    }
}

fn record() -> impl Strategy<Value = Record> {
    let bytes = || prop::option::of((any::<u8>(), 0..300usize).prop_map(|(byte, size)| Bytes::from(vec![byte; size])));
    let header = ("[a-z]{0,3}", bytes()).prop_map(|(key, value)| Header { key, value });
    (bytes(), bytes(), vec(header, 0..4)).prop_map(|(key, value, headers)| Record {
        key,
        value,
        headers,
        timestamp_ms: 7,
    })
}

/// Bytes that make large numbers of what they replace: varints of 2^31 - 1, 2^30 and less, the descriptors of large
/// blocks and windows, or anything.
fn damage() -> impl Strategy<Value = Vec<u8>> {
    let claims: [&[u8]; 6] =
        [&[0xfe, 0xff, 0xff, 0xff, 0x0f], &[0x80, 0x80, 0x80, 0x80, 0x08], &[0x80; 4], &[0xff, 0x7f], &[0x70], &[0xe0]];
    prop_oneof![prop::sample::select(claims.map(<[u8]>::to_vec).to_vec()), vec(any::<u8>(), 1..4)]
}

/// Makes the frame of a zstd batch state another size, and leaves its blocks whole.
fn restate_size(batch: &mut Vec<u8>, size: u32) {
    let descriptor = HEADER_SIZE + 4;
    let size_of_size = 1 << (batch[descriptor] >> 6);
    batch.splice(descriptor..=descriptor + size_of_size, [&[0xa0][..], &size.to_le_bytes()].concat());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        rng_seed: RngSeed::Fixed(0x71_0c_a7_e5),
        ..ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions"))
    })]

    #[test]
    fn damaged_batches_take_no_more_than_their_bytes_can_prove(
        compression in prop::sample::select(&CODECS[..]), records in vec(record(), 1..6),
        stated_size in prop::option::of(0..=64u32 << 20), damages in vec((any::<Index>(), damage()), 0..4),
        is_near in any::<bool>(),
    ) {
        let mut builder = BatchBuilder::new(compression);
        for record in &records {
            builder.push(record);
        }
        let mut batch = builder.build(ProducerStamp::NONE).unwrap().to_vec();
        let compression = BatchHeader::parse(&batch).unwrap().compression;
        if let (Compression::Zstd, Some(size)) = (compression, stated_size) {
            restate_size(&mut batch, size);
        }
        for (at, damage) in damages {
            // Where a codec has its own header, or anywhere.
            let reach = if is_near { 16.min(batch.len() - HEADER_SIZE) } else { batch.len() - HEADER_SIZE };
            let at = HEADER_SIZE + at.index(reach);
            for (byte, damage) in batch[at..].iter_mut().zip(damage) {
                *byte = damage;
            }
        }
        let batch = repaired(batch);
        check_bounds(&batch, &DecodeLimits::default());
        check_bounds(&batch, &DecodeLimits { decompressed_bytes_max: 4096, header_count_max: 3 });
    }
}

#[test]
fn claims_take_no_memory() {
    const HUGE: [u8; 5] = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    let limits = DecodeLimits::default();
    // A record of which the field behind `before` claims to be 2^31 - 1.
    let record = |before: &[u8]| [&[0x20][..], before, &HUGE, &[1; 16]].concat()[..17].to_vec();
    let zstd = |size: u64| {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
        frame.put_u64_le(size);
        frame.extend_from_slice(&[0x19, 0, 0, b'a', b'b', b'c']);
        frame
    };
    let lz4 = |block_header: u32| {
        // Version 1, independent blocks, size of 2^56 - 1; blocks of 4 MiB.
        let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x68, 0x70];
        frame.put_u64_le(u64::MAX >> 8);
        frame.put_u8(0);
        frame.put_u32_le(block_header);
        frame.extend_from_slice(&[0x30, b'a', b'b', b'c', 0, 0, 0, 0]);
        frame
    };
    // No size and a window of 64 MiB; a last block that repeats one byte three times.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x80, 0x1b, 0, 0, b'a'];
    for (claim, batch) in [
        ("record count", batch_of(Compression::None, i32::MAX, &[12, 0, 0, 0, 1, 1, 0])),
        ("record length", batch_of(Compression::None, 1, &HUGE)),
        ("key length", batch_of(Compression::None, 1, &record(&[0, 0, 0]))),
        ("value length", batch_of(Compression::None, 1, &record(&[0, 0, 0, 1]))),
        ("header count", batch_of(Compression::None, 1, &record(&[0, 0, 0, 1, 1]))),
        ("header key length", batch_of(Compression::None, 1, &record(&[0, 0, 0, 1, 1, 2]))),
        ("header value length", batch_of(Compression::None, 1, &record(&[0, 0, 0, 1, 1, 2, 0]))),
        ("size within the limit", batch_of(Compression::Zstd, 1, &zstd(limits.decompressed_bytes_max as u64))),
        ("size beyond the limit", batch_of(Compression::Zstd, 1, &zstd(u64::MAX))),
        ("window", batch_of(Compression::Zstd, 1, &window)),
        ("block of 4 MiB", batch_of(Compression::Lz4, 1, &lz4(4 << 20))),
        ("small block of a large frame", batch_of(Compression::Lz4, 1, &lz4(4))),
    ] {
        // Into a vector, which sets aside what the iterator promises.
        let (info, decoded) = measured(|| decode_batch(batch.clone(), &limits).map(Iterator::collect::<Vec<_>>));
        assert!(decoded.is_err() || decoded.is_ok_and(|records| records.last().unwrap().is_err()), "{claim}");
        assert!(info.bytes_max <= 8192, "{claim}, {} bytes: {info:?}", batch.len());
        check_bounds(&batch, &limits);
    }
}

#[test]
fn iteration_takes_nothing_for_a_record() {
    let record = Record::new("all work and no play", 7).with_key("key");
    for compression in CODECS {
        for record_count in [10, 1000, 20_000] {
            let batch = build(BatchBuilder::new(compression), &record, record_count);
            let mut decoded = decode(&batch, &DecodeLimits::default()).1.unwrap();
            assert_eq!(decoded.header().compression, compression);
            let (info, count) = measured(|| decoded.by_ref().map(Result::unwrap).count());
            assert_eq!(count, record_count);
            // One, if the buffer becomes a shared one now.
            assert!(info.count_total <= 1, "{record_count} records, {compression}: {info:?}");
        }
    }
}

#[test]
fn decoding_a_batch_that_is_not_compressed_takes_nothing_for_its_size() {
    for record_count in [1, 20_000] {
        let batch = build(BatchBuilder::new(Compression::None), &Record::new("value", 7), record_count);
        let (info, decoded) = measured(|| decode_batch(batch.clone(), &DecodeLimits::default()).map(Iterator::count));
        assert_eq!(decoded, Ok(record_count));
        assert!(info.count_total <= 1 && info.bytes_total <= 64, "{record_count} records: {info:?}");
    }
}

#[test]
fn headers_take_one_vector_and_their_keys() {
    let record = Record::new("value", 7).with_header("a", "1").with_header("b", "2").with_header("c", "3");
    let batch = build(BatchBuilder::new(Compression::None), &record, 100);
    let (_, decoded) = decode(&batch, &DecodeLimits::default());
    let (info, count) = measured(|| decoded.unwrap().map(Result::unwrap).count());
    assert_eq!(count, 100);
    assert!((400..=401).contains(&info.count_total), "{info:?}");
}

#[test]
fn building_takes_nothing_for_a_record_but_the_growth_of_the_buffer() {
    let record = Record::new("all work and no play", 7).with_key("key").with_header("a header", "its value");
    for compression in CODECS {
        let counts = |record_count: usize| {
            let roomy = || build(BatchBuilder::with_capacity(compression, 4 << 20), &record, record_count);
            let growing = || build(BatchBuilder::new(compression), &record, record_count);
            let ((roomy, batch), (growing, _)) = (measured(roomy), measured(growing));
            assert_eq!(BatchHeader::parse(&batch).unwrap().compression, compression);
            (roomy.count_total, growing.count_total)
        };
        let (small, large) = (counts(100), counts(20_000));
        assert_eq!(small.0, large.0, "{compression}: with room from the start");
        // The buffer doubles: 200 times the size is eight times more.
        assert!(large.1 <= small.1 + 8, "{compression}: {} after {}", large.1, small.1);
        assert!(large.1 <= large.0 + 16, "{compression}: {} and {} with room", large.1, large.0);
    }
}
