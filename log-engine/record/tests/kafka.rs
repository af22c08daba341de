//! The format against code that is not ours: `kafka-protocol` reads what we write, and we read what it writes.
//!
//! Its LZ4 is the reference implementation in C, and ours is not. Its Zstandard is the same C library as ours, so there
//! the two differ in how they call it only. Its CRC-32C is the crate that we use too; hence [`crc32c_by_bits`].
//!
//! Where it differs from Kafka's own clients, and how these tests deal with that:
//! * It holds headers in a map: of those with the same key, the last one's value remains, at the first one's place. On
//!   the wire we look for ourselves, and what it writes has no such headers ([`without_repeated_headers`]).
//! * It counts sequences on from -1 where there is no producer, and from `i32::MAX` to `i32::MIN` instead of to 0. Records
//!   whose sequences do not follow each other that way become batches of their own.
//! * Its base timestamp is the least timestamp, not the first. Deltas must not overflow, where Kafka's wrap around.
//! * It compresses whatever it is told to, even where the result is larger; we leave such records as they are.
//! * It reads neither the last offset delta nor the greatest timestamp, and passes over bytes left in a record.

#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::compression::{self as kafka_compression, Decompressor};
use kafka_protocol::records::{
    self as kafka, BatchDecodeInfo, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;
use quorate_record::{
    BatchBuilder, BatchHeader, BatchLimits, Compression, DecodeLimits, HEADER_SIZE, Header, ProducerStamp, Record,
    UNPROTECTED_SIZE, advance_sequence, decode_batch, layout, split_batches, stamp, validate,
};

const CASES: u32 = 600;
const CODECS: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::Zstd];
const LIMITS: BatchLimits = BatchLimits { batch_bytes_max: usize::MAX, record_count_max: i32::MAX };

/// What a batch is made of, whoever writes it.
#[derive(Clone, Debug)]
struct Content {
    compression: Compression,
    records: Vec<Record>,
    producer: ProducerStamp,
    base_offset: i64,
    leader_epoch: i32,
}

fn nullable_bytes() -> impl Strategy<Value = Option<Bytes>> {
    let noise = vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    // Lengths at which the size of a length changes.
    let edge = prop::sample::select(vec![63, 64, 8191, 8192]);
    let length = prop_oneof![4 => 0..400usize, 1 => edge];
    let run = (any::<u8>(), length).prop_map(|(byte, length)| Bytes::from(vec![byte; length]));
    prop_oneof![1 => Just(None), 1 => Just(Some(Bytes::new())), 4 => noise.prop_map(Some), 2 => run.prop_map(Some)]
}

fn record() -> impl Strategy<Value = Record> {
    // Few keys, so that they repeat.
    let key = prop_oneof!["[ab]?", ".{0,12}"];
    let header = (key, nullable_bytes()).prop_map(|(key, value)| Header { key, value });
    // Within 63 bits, so that no delta overflows.
    let timestamp = prop_oneof![-(1i64 << 62)..1 << 62, 1_700_000_000_000..1_700_000_100_000i64, -1..2i64];
    (nullable_bytes(), nullable_bytes(), vec(header, 0..5), timestamp)
        .prop_map(|(key, value, headers, timestamp_ms)| Record { key, value, headers, timestamp_ms })
}

fn producer() -> impl Strategy<Value = ProducerStamp> {
    // Often so close to the end that the sequences of a batch wrap around.
    let sequence = prop_oneof![0..=i32::MAX, i32::MAX - 5..=i32::MAX];
    let some = (0..=i64::MAX, 0..=i16::MAX, sequence).prop_map(|(producer_id, producer_epoch, base_sequence)| {
        ProducerStamp { producer_id, producer_epoch, base_sequence }
    });
    prop_oneof![Just(ProducerStamp::NONE), some]
}

fn position() -> impl Strategy<Value = (i64, i32)> {
    let base_offset = prop_oneof![0..1000i64, 0..i64::MAX - 100];
    (base_offset, -1..=i32::MAX)
}

fn content() -> impl Strategy<Value = Content> {
    let compression = prop::sample::select(&CODECS[..]);
    (compression, vec(record(), 1..12), producer(), position()).prop_map(
        |(compression, records, producer, (base_offset, leader_epoch))| Content {
            compression,
            records,
            producer,
            base_offset,
            leader_epoch,
        },
    )
}

fn without_repeated_headers(mut record: Record) -> Record {
    let mut headers: Vec<Header> = Vec::new();
    for header in record.headers {
        match headers.iter_mut().find(|known| known.key == header.key) {
            Some(known) => known.value = header.value,
            None => headers.push(header),
        }
    }
    record.headers = headers;
    record
}

fn restamped(batch: &Bytes, base_offset: i64, leader_epoch: i32) -> Bytes {
    [&stamp(batch, base_offset, leader_epoch)[..], &batch[UNPROTECTED_SIZE..]].concat().into()
}

fn written_by_us(content: &Content) -> Bytes {
    let mut builder = BatchBuilder::new(content.compression);
    for record in &content.records {
        builder.push(record);
    }
    restamped(&builder.build(content.producer).unwrap(), content.base_offset, content.leader_epoch)
}

fn written_by_kafka(buffer: &mut BytesMut, content: &Content) {
    let options = RecordEncodeOptions { version: 2, compression: kafka_codec(content.compression) };
    RecordBatchEncoder::encode(buffer, &kafka_records(content), &options).unwrap();
}

fn kafka_codec(compression: Compression) -> kafka::Compression {
    match compression {
        Compression::None => kafka::Compression::None,
        Compression::Lz4 => kafka::Compression::Lz4,
        Compression::Zstd => kafka::Compression::Zstd,
    }
}

fn kafka_records(content: &Content) -> Vec<kafka::Record> {
    let Content { producer, base_offset, leader_epoch, .. } = *content;
    let records = (0..).zip(&content.records).map(|(delta, record)| kafka::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: leader_epoch,
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: base_offset + i64::from(delta),
        sequence: producer.base_sequence.wrapping_add(delta),
        timestamp: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(|header| (header.key.clone().into(), header.value.clone())).collect(),
    });
    records.collect()
}

/// Bit by bit, as the definition has it: the reflected polynomial of Castagnoli.
fn crc32c_by_bits(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// The records of a batch as `kafka-protocol` decompresses them.
fn decompressed_by_kafka(batch: &Bytes, compression: Compression) -> Bytes {
    let mut records = batch.slice(HEADER_SIZE..);
    match compression {
        Compression::None => records,
        Compression::Lz4 => kafka_compression::Lz4::decompress(&mut records, |plain| Ok(plain.clone())).unwrap(),
        Compression::Zstd => kafka_compression::Zstd::decompress(&mut records, |plain| Ok(plain.clone())).unwrap(),
    }
}

/// All headers of all records, in order, and nothing left over: what the map of `kafka-protocol` cannot tell.
fn headers_on_the_wire(mut records: Bytes) -> Vec<Vec<Header>> {
    fn varint(bytes: &mut Bytes) -> i64 {
        let (mut raw, mut shift) = (0u64, 0);
        loop {
            let byte = bytes.get_u8();
            raw |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return (raw >> 1) as i64 ^ -((raw & 1) as i64);
            }
        }
    }
    fn nullable(bytes: &mut Bytes) -> Option<Bytes> {
        let length = varint(bytes);
        (length != -1).then(|| bytes.split_to(length as usize))
    }
    let mut all = Vec::new();
    while !records.is_empty() {
        let mut record = nullable(&mut records).unwrap();
        let attributes = record.get_u8();
        assert_eq!(attributes, 0);
        let _timestamp_and_offset = (varint(&mut record), varint(&mut record));
        let _key_and_value = (nullable(&mut record), nullable(&mut record));
        let count = varint(&mut record);
        let headers = (0..count).map(|_| Header {
            key: String::from_utf8(nullable(&mut record).unwrap().to_vec()).unwrap(),
            value: nullable(&mut record),
        });
        all.push(headers.collect());
        assert_eq!(record, "", "bytes after the last field");
    }
    all
}

/// Everything `kafka-protocol` says about a batch of ours, and what it passes over.
fn check_read_by_kafka(batch: &Bytes, content: &Content, header: &BatchDecodeInfo, set: &kafka::RecordSet) {
    let records = &content.records;
    // Ours may have been left as they were; that the codecs are used at all is for another test.
    let ours = BatchHeader::parse(batch).unwrap().compression;
    assert!(ours == content.compression || ours == Compression::None);
    let compression = kafka_codec(ours);
    let expected = BatchDecodeInfo {
        record_count: records.len() as i32,
        timestamp_type: TimestampType::Creation,
        min_offset: content.base_offset,
        min_timestamp: records[0].timestamp_ms,
        base_sequence: content.producer.base_sequence,
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: content.leader_epoch,
        producer_id: content.producer.producer_id,
        producer_epoch: content.producer.producer_epoch,
        compression,
        version: 2,
    };
    assert_eq!(*header, expected);
    assert_eq!(*set, kafka::RecordSet { compression, version: 2, records: kafka_records(content) });

    let mut passed_over = &batch[23..];
    assert_eq!(passed_over.get_i32(), records.len() as i32 - 1, "last offset delta");
    let max_timestamp = (&batch[35..]).get_i64();
    assert_eq!(Some(max_timestamp), records.iter().map(|record| record.timestamp_ms).max());
    assert_eq!((&batch[17..]).get_u32(), crc32c_by_bits(&batch[21..]));
    let headers: Vec<_> = records.iter().map(|record| record.headers.clone()).collect();
    assert_eq!(headers_on_the_wire(decompressed_by_kafka(batch, ours)), headers);
}

/// Everything we say about a batch of `kafka-protocol`.
fn check_read_by_us(batch: &Bytes, content: &Content) {
    let records = &content.records;
    let record_count = records.len() as i32;
    let timestamps = || records.iter().map(|record| record.timestamp_ms);
    let expected = BatchHeader {
        base_offset: content.base_offset,
        batch_length: batch.len() as i32 - 12,
        leader_epoch: content.leader_epoch,
        crc: crc32c_by_bits(&batch[21..]),
        compression: content.compression,
        last_offset_delta: record_count - 1,
        base_timestamp: timestamps().min().unwrap(),
        max_timestamp: timestamps().max().unwrap(),
        producer_id: content.producer.producer_id,
        producer_epoch: content.producer.producer_epoch,
        base_sequence: content.producer.base_sequence,
        record_count,
    };
    assert_eq!(validate(batch, &LIMITS), Ok(expected));
    assert_eq!(expected.next_offset(), content.base_offset + i64::from(record_count));
    let last_sequence = match content.producer {
        ProducerStamp::NONE => -1,
        producer => advance_sequence(producer.base_sequence, record_count - 1),
    };
    assert_eq!(expected.last_sequence(), last_sequence);

    let decoded = decode_batch(batch.clone(), &DecodeLimits::default()).unwrap();
    assert_eq!(*decoded.header(), expected);
    let (offsets, decoded): (Vec<_>, Vec<_>) =
        decoded.map(Result::unwrap).map(|decoded| (decoded.offset, decoded.record)).unzip();
    assert_eq!(offsets, (content.base_offset..expected.next_offset()).collect::<Vec<_>>());
    assert_eq!(decoded, *records);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        ..ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions"))
    })]

    #[test]
    fn kafka_reads_what_we_write(contents in vec(content(), 1..4)) {
        let batches: Vec<_> = contents.iter().map(written_by_us).collect();
        let buffer = Bytes::from(batches.concat());
        let headers = RecordBatchDecoder::decode_batch_info(&mut buffer.clone()).unwrap();
        let sets = RecordBatchDecoder::decode_all(&mut buffer.clone()).unwrap();
        prop_assert_eq!((headers.len(), sets.len()), (contents.len(), contents.len()));
        for (((batch, content), header), set) in batches.iter().zip(&contents).zip(&headers).zip(&sets) {
            check_read_by_kafka(batch, content, header, set);
        }
    }

    #[test]
    fn we_read_what_kafka_writes(mut contents in vec(content(), 1..4)) {
        let mut buffer = BytesMut::new();
        for content in &mut contents {
            content.records = content.records.drain(..).map(without_repeated_headers).collect();
            written_by_kafka(&mut buffer, content);
        }
        let batches: Vec<_> = split_batches(buffer.freeze()).map(Result::unwrap).collect();
        prop_assert_eq!(batches.len(), contents.len());
        for (batch, content) in batches.iter().zip(&contents) {
            check_read_by_us(batch, content);
        }
    }

    #[test]
    fn both_write_the_same_bytes(mut content in content()) {
        content.compression = Compression::None;
        content.records = content.records.drain(..).map(without_repeated_headers).collect();
        content.records[0].timestamp_ms = content.records.iter().map(|record| record.timestamp_ms).min().unwrap();
        let mut theirs = BytesMut::new();
        written_by_kafka(&mut theirs, &content);
        prop_assert_eq!(theirs, written_by_us(&content));
    }

    #[test]
    fn kafka_accepts_its_batches_at_the_position_we_stamp(
        mut content in content(), (base_offset, leader_epoch) in position(),
    ) {
        let mut batch = BytesMut::new();
        written_by_kafka(&mut batch, &content);
        let batch = restamped(&batch.freeze(), base_offset, leader_epoch);
        (content.base_offset, content.leader_epoch) = (base_offset, leader_epoch);
        let set = RecordBatchDecoder::decode(&mut batch.clone()).unwrap();
        prop_assert_eq!(set.records, kafka_records(&content));
        prop_assert_eq!((&batch[17..]).get_u32(), crc32c_by_bits(&batch[21..]));
        let header = validate(&batch, &LIMITS).unwrap();
        prop_assert_eq!((header.base_offset, header.leader_epoch), (base_offset, leader_epoch));
    }

    /// Its decoder does check the CRC; were it not so, the tests above would say little of ours.
    #[test]
    fn neither_accepts_damage_that_the_crc_covers(content in content(), at: Index, mask in 1..=u8::MAX) {
        let mut batch = written_by_us(&content).to_vec();
        let at = layout::ATTRIBUTES + at.index(batch.len() - layout::ATTRIBUTES);
        batch[at] ^= mask;
        let error = RecordBatchDecoder::decode(&mut &batch[..]).unwrap_err().to_string();
        prop_assert!(error.starts_with("Cyclic redundancy check failed"), "{}", error);
        prop_assert!(validate(&batch, &LIMITS).is_err());
    }
}

#[test]
fn large_batches_pass_both_ways_in_every_codec() {
    // Text, noise and text again, of several blocks each: LZ4 leaves the blocks of noise as they are.
    let text = Bytes::from("all work and no play ".repeat(10_000));
    let mut state = 1u64;
    let noise = Bytes::from_iter((0..200_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    }));
    let records = [&text, &noise, &text].map(|value| Record::new(value.clone(), 7)).to_vec();
    let producer = ProducerStamp { producer_id: 7, producer_epoch: 0, base_sequence: 0 };
    for compression in CODECS {
        let records = records.clone();
        let content = Content { compression, records, producer, base_offset: 1 << 40, leader_epoch: 9 };
        let ours = written_by_us(&content);
        assert_eq!(BatchHeader::parse(&ours).unwrap().compression, compression);
        let header = RecordBatchDecoder::decode_batch_info(&mut ours.clone()).unwrap().remove(0);
        check_read_by_kafka(&ours, &content, &header, &RecordBatchDecoder::decode(&mut ours.clone()).unwrap());

        let mut theirs = BytesMut::new();
        written_by_kafka(&mut theirs, &content);
        check_read_by_us(&theirs.freeze(), &content);
    }
}

#[test]
fn the_crc_by_bits_is_the_known_one() {
    assert_eq!(crc32c_by_bits(b"123456789"), 0xe306_9283);
}
