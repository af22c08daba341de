//! Batches whose CRC is right and whose content is not: what a producer can make others meet.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::{BufMut, Bytes};
use quorate_record::{BatchError, Compression, DecodeLimits, DecodedRecord, RecordError, decode_batch};

const LIMITS: DecodeLimits = DecodeLimits { decompressed_bytes_max: 1 << 20, header_count_max: 3 };

/// Attributes of an lz4 batch.
const LZ4: i16 = 3;
/// Attributes of a zstd batch.
const ZSTD: i16 = 4;

/// A batch of these records with a right header and CRC, at offset 0 and with timestamps from 0 on.
fn batch_of(attributes: i16, record_count: i32, records: &[u8]) -> Bytes {
    let mut protected = Vec::new();
    protected.put_i16(attributes);
    protected.put_i32(record_count - 1);
    protected.put_i64(0);
    protected.put_i64(0);
    protected.put_i64(-1);
    protected.put_i16(-1);
    protected.put_i32(-1);
    protected.put_i32(record_count);
    protected.put_slice(records);

    let mut batch = Vec::new();
    batch.put_i64(0);
    batch.put_i32(9 + protected.len() as i32);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&protected));
    batch.put_slice(&protected);
    Bytes::from(batch)
}

fn decode(batch: Bytes) -> Result<Vec<DecodedRecord>, BatchError> {
    decode_batch(batch, &LIMITS)?.collect()
}

fn record_error(record_count: i32, records: &[u8]) -> (i32, RecordError) {
    match decode(batch_of(0, record_count, records)) {
        Err(BatchError::MalformedRecord { index, source }) => (index, source),
        other => panic!("expected a malformed record, got {other:?}"),
    }
}

/// A record with null key and value and no headers, at this offset delta.
fn record(offset_delta: u8) -> [u8; 7] {
    [12, 0, 0, offset_delta << 1, 1, 1, 0]
}

#[test]
fn decompression_bombs_are_refused_before_they_go_off() {
    let size_max = LIMITS.decompressed_bytes_max;
    let zeros = vec![0; 64 << 20];
    let bomb = batch_of(ZSTD, 1, &zstd::bulk::compress(&zeros, 3).unwrap());
    assert!(bomb.len() < 10_000);
    assert_eq!(decode(bomb), Err(BatchError::DecompressedTooLarge { codec: Compression::Zstd, size_max }));

    let streamed = batch_of(ZSTD, 1, &zstd::encode_all(&zeros[..], 3).unwrap());
    assert_eq!(decode(streamed), Err(BatchError::DecompressedTooLarge { codec: Compression::Zstd, size_max }));

    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut encoder, &zeros).unwrap();
    let bomb = batch_of(LZ4, 1, &encoder.finish().unwrap());
    assert!(bomb.len() < 300_000);
    assert_eq!(decode(bomb), Err(BatchError::DecompressedTooLarge { codec: Compression::Lz4, size_max }));
}

#[test]
fn records_that_are_not_what_the_codec_says_are_refused() {
    for (attributes, codec) in [(LZ4, Compression::Lz4), (ZSTD, Compression::Zstd)] {
        let error = decode(batch_of(attributes, 1, &record(0))).unwrap_err();
        assert!(matches!(error, BatchError::MalformedCompression { codec: found, .. } if found == codec), "{error}");
    }
}

#[test]
fn codecs_not_read_are_named() {
    let error = decode(batch_of(1, 1, &record(0))).unwrap_err();
    assert_eq!(error.to_string(), "compression gzip is not supported: expected none, lz4 or zstd");
    let error = decode(batch_of(2, 1, &record(0))).unwrap_err();
    assert_eq!(error.to_string(), "compression snappy is not supported: expected none, lz4 or zstd");
}

#[test]
fn fewer_and_more_records_than_the_header_says_are_refused() {
    let two = [record(0), record(1)].concat();
    assert_eq!(decode(batch_of(0, 2, &two)).unwrap().len(), 2);
    assert_eq!(record_error(3, &two), (2, RecordError::Truncated { field: "record length" }));
    assert_eq!(record_error(1, &two), (0, RecordError::TrailingBytes { count: 7 }));
    assert_eq!(record_error(i32::MAX, &two), (2, RecordError::Truncated { field: "record length" }));
    assert_eq!(record_error(1, &[]), (0, RecordError::Truncated { field: "record length" }));
}

#[test]
fn the_records_before_a_malformed_one_come_out_and_none_after_it() {
    let records = [record(0), record(5), record(2)].concat();
    let mut decoded = decode_batch(batch_of(0, 3, &records), &LIMITS).unwrap();
    assert_eq!(decoded.next().unwrap().unwrap().offset, 0);
    let source = RecordError::InvalidOffsetDelta { expected: 1, found: 5 };
    assert_eq!(decoded.next(), Some(Err(BatchError::MalformedRecord { index: 1, source })));
    assert_eq!(decoded.next(), None);
}

#[test]
fn lengths_beyond_their_record_are_refused() {
    // The key's length reaches into the next record.
    let records = [[12, 0, 0, 0, 10, 1, 0], record(1)].concat();
    let source = RecordError::InvalidLength { field: "key length", found: 5, remaining: 2 };
    assert_eq!(record_error(2, &records), (0, source));
    // The record ends before its fields do.
    assert_eq!(record_error(1, &[6, 0, 0, 0]), (0, RecordError::Truncated { field: "key length" }));
    // The record goes on after its fields.
    assert_eq!(record_error(1, &[14, 0, 0, 0, 1, 1, 0, 9]), (0, RecordError::TrailingBytes { count: 1 }));
    // A negative length other than null's.
    let source = RecordError::InvalidLength { field: "value length", found: -2, remaining: 1 };
    assert_eq!(record_error(1, &[12, 0, 0, 0, 1, 3, 0]), (0, source));
}

#[test]
fn header_counts_are_bounded_by_the_bytes_and_by_the_limit() {
    // A count of 2^30 in a record of a few bytes.
    let huge = [20, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x08];
    let source = RecordError::InvalidLength { field: "header count", found: 1 << 30, remaining: 0 };
    assert_eq!(record_error(1, &huge), (0, source));

    let three = [24, 0, 0, 0, 1, 1, 6, 0, 1, 0, 1, 0, 1];
    assert_eq!(decode(batch_of(0, 1, &three)).unwrap()[0].record.headers.len(), 3);
    let four = [28, 0, 0, 0, 1, 1, 8, 0, 1, 0, 1, 0, 1, 0, 1];
    assert_eq!(record_error(1, &four), (0, RecordError::TooManyHeaders { header_count_max: 3, found: 4 }));
}

#[test]
fn header_keys_must_be_text() {
    let records = [20, 0, 0, 0, 1, 1, 2, 4, b'a', 0xff, 1];
    assert_eq!(record_error(1, &records), (0, RecordError::HeaderKeyNotUtf8 { valid_up_to: 1 }));
    // A null key.
    let source = RecordError::InvalidLength { field: "header key length", found: -1, remaining: 1 };
    assert_eq!(record_error(1, &[16, 0, 0, 0, 1, 1, 2, 1, 1]), (0, source));
}
