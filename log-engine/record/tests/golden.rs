//! A batch written down byte by byte from the description of Kafka's format, so that the format is not merely
//! consistent with itself. The CRC was computed by a separate, bitwise implementation of CRC-32C.
//!
//! Format: <https://kafka.apache.org/documentation/#recordbatch>

#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use quorate_record::{
    BatchBuilder, BatchHeader, Compression, DecodeLimits, DecodedRecord, Header, ProducerStamp, Record, decode_batch,
};

#[rustfmt::skip]
const GOLDEN: [u8; 94] = [
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // base offset: 0
    0x00, 0x00, 0x00, 0x52,                         // batch length: 82
    0xff, 0xff, 0xff, 0xff,                         // partition leader epoch: -1
    0x02,                                           // magic
    0xcf, 0x73, 0xdb, 0xa3,                         // CRC-32C of all that follows
    0x00, 0x00,                                     // attributes: not compressed, CreateTime
    0x00, 0x00, 0x00, 0x01,                         // last offset delta: 1
    0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, // base timestamp: 1,700,000,000,000
    0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00, // max timestamp: the same
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xe8, // producer id: 1000
    0x00, 0x02,                                     // producer epoch: 2
    0x00, 0x00, 0x00, 0x07,                         // base sequence: 7
    0x00, 0x00, 0x00, 0x02,                         // records count: 2

    0x2c,                                           // length: 22
    0x00,                                           // attributes
    0x00,                                           // timestamp delta: 0
    0x00,                                           // offset delta: 0
    0x04, b'i', b'd',                               // key length: 2, key
    0x0a, b'h', b'e', b'l', b'l', b'o',             // value length: 5, value
    0x02,                                           // headers: 1
    0x0a, b't', b'r', b'a', b'c', b'e',             // header key length: 5, key
    0x04, 0xff, 0x00,                               // header value length: 2, value

    0x12,                                           // length: 9
    0x00,                                           // attributes
    0x05,                                           // timestamp delta: -3
    0x02,                                           // offset delta: 1
    0x01,                                           // key length: -1, null
    0x00,                                           // value length: 0, empty
    0x02,                                           // headers: 1
    0x02, b'n',                                     // header key length: 1, key
    0x01,                                           // header value length: -1, null
];

const STAMP: ProducerStamp = ProducerStamp { producer_id: 1000, producer_epoch: 2, base_sequence: 7 };

fn records() -> [Record; 2] {
    let header = |key: &str, value| Header { key: key.to_owned(), value };
    [
        Record {
            key: Some(Bytes::from("id")),
            value: Some(Bytes::from("hello")),
            headers: vec![header("trace", Some(Bytes::from_static(&[0xff, 0x00])))],
            timestamp_ms: 1_700_000_000_000,
        },
        Record {
            key: None,
            value: Some(Bytes::new()),
            headers: vec![header("n", None)],
            timestamp_ms: 1_699_999_999_997,
        },
    ]
}

#[test]
fn the_golden_batch_is_built() {
    let mut builder = BatchBuilder::new(Compression::None);
    for record in records() {
        builder.push(&record);
    }
    assert_eq!(builder.build(STAMP).unwrap()[..], GOLDEN);
}

#[test]
fn the_golden_batch_is_decoded() {
    let decoded = decode_batch(Bytes::from_static(&GOLDEN), &DecodeLimits::default()).unwrap();
    let expected_header = BatchHeader {
        base_offset: 0,
        batch_length: 82,
        leader_epoch: -1,
        crc: 0xcf73_dba3,
        compression: Compression::None,
        last_offset_delta: 1,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_000,
        producer_id: 1000,
        producer_epoch: 2,
        base_sequence: 7,
        record_count: 2,
    };
    assert_eq!(*decoded.header(), expected_header);
    let [first, second] = records();
    let expected = [DecodedRecord { offset: 0, record: first }, DecodedRecord { offset: 1, record: second }];
    assert_eq!(decoded.map(Result::unwrap).collect::<Vec<_>>(), expected);
}
