//! What is built is what is decoded, and nothing that was damaged on the way passes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;
use quorate_record::{
    BatchBuilder, BatchHeader, BatchLimits, Compression, DecodeLimits, DecodedRecord, HEADER_SIZE, Header,
    ProducerStamp, Record, UNPROTECTED_SIZE, decode_batch, layout, split_batches, validate, verify_crc,
};

const LIMITS: BatchLimits = BatchLimits { batch_bytes_max: usize::MAX, record_count_max: i32::MAX };

fn bytes() -> impl Strategy<Value = Option<Bytes>> {
    // Long runs of one byte beside noise, so that the codecs have something to do.
    let noise = vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let run = (any::<u8>(), 0..2000usize).prop_map(|(byte, length)| Bytes::from(vec![byte; length]));
    prop::option::of(prop_oneof![noise, run])
}

fn record() -> impl Strategy<Value = Record> {
    let header = (".{0,12}", bytes()).prop_map(|(key, value)| Header { key, value });
    let timestamp = prop_oneof![any::<i64>(), 1_700_000_000_000..1_700_000_100_000i64];
    (bytes(), bytes(), vec(header, 0..4), timestamp).prop_map(|(key, value, headers, timestamp_ms)| Record {
        key,
        value,
        headers,
        timestamp_ms,
    })
}

fn compression() -> impl Strategy<Value = Compression> {
    prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd)]
}

fn stamp() -> impl Strategy<Value = ProducerStamp> {
    let stamp = (0..=i64::MAX, 0..=i16::MAX, 0..=i32::MAX).prop_map(|(producer_id, producer_epoch, base_sequence)| {
        ProducerStamp { producer_id, producer_epoch, base_sequence }
    });
    prop_oneof![Just(ProducerStamp::NONE), stamp]
}

fn build(compression: Compression, records: &[Record], stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    for record in records {
        builder.push(record);
    }
    builder.build(stamp).unwrap()
}

fn decode(batch: Bytes) -> Vec<DecodedRecord> {
    decode_batch(batch, &DecodeLimits::default()).unwrap().map(Result::unwrap).collect()
}

/// Everything that takes bytes from outside. Results do not matter, only that there are results.
fn decode_anyhow(bytes: &Bytes) {
    let limits = DecodeLimits { decompressed_bytes_max: 1 << 20, header_count_max: 100 };
    let _ = BatchHeader::parse(bytes);
    let _ = validate(bytes, &LIMITS);
    let _ = verify_crc(bytes);
    for batch in split_batches(bytes.clone()).flatten() {
        let _ = decode_batch(batch, &limits).map(Iterator::count);
    }
}

/// The batch with length and CRC made right, so that what lies behind these checks sees the damage.
fn repaired(mut batch: Vec<u8>) -> Bytes {
    let batch_length = batch.len() as i32 - 12;
    batch[layout::BATCH_LENGTH..layout::LEADER_EPOCH].copy_from_slice(&batch_length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[layout::ATTRIBUTES..]);
    batch[layout::CRC..layout::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

proptest! {
    #![proptest_config(ProptestConfig::with_failure_persistence(FileFailurePersistence::WithSource("regressions")))]

    #[test]
    fn records_come_back_as_they_were_pushed(
        compression in compression(), records in vec(record(), 1..20), stamp in stamp(),
    ) {
        let batch = build(compression, &records, stamp);
        let header = validate(&batch, &LIMITS).unwrap();
        prop_assert_eq!(header.record_count as usize, records.len());
        prop_assert_eq!(header.producer(), stamp);
        prop_assert_eq!(header.base_timestamp, records[0].timestamp_ms);
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|record| record.timestamp_ms).max());
        prop_assert_eq!(&header.encode()[..], &batch[..HEADER_SIZE]);

        let decoded = decode(batch);
        let offsets: Vec<_> = decoded.iter().map(|decoded| decoded.offset).collect();
        prop_assert_eq!(offsets, (0..records.len() as i64).collect::<Vec<_>>());
        prop_assert_eq!(decoded.into_iter().map(|decoded| decoded.record).collect::<Vec<_>>(), records);
    }

    #[test]
    fn batches_come_back_from_their_concatenation(
        batches in vec((compression(), vec(record(), 1..4)), 0..5),
    ) {
        let batches: Vec<_> =
            batches.iter().map(|(codec, records)| build(*codec, records, ProducerStamp::NONE)).collect();
        let split: Vec<_> = split_batches(Bytes::from(batches.concat())).map(Result::unwrap).collect();
        prop_assert_eq!(split, batches);
    }

    #[test]
    fn damage_to_the_crc_or_behind_it_is_detected(
        compression in compression(), records in vec(record(), 1..5), at: Index, mask in 1..=u8::MAX,
    ) {
        let mut batch = build(compression, &records, ProducerStamp::NONE).to_vec();
        let at = layout::CRC + at.index(batch.len() - layout::CRC);
        batch[at] ^= mask;
        prop_assert!(validate(&batch, &LIMITS).is_err(), "byte {at}");
        if at >= UNPROTECTED_SIZE {
            prop_assert!(verify_crc(&batch).is_err(), "byte {at}");
        }
        decode_anyhow(&Bytes::from(batch));
    }

    #[test]
    fn damage_to_the_length_or_the_magic_is_detected(
        at in prop_oneof![layout::BATCH_LENGTH..layout::LEADER_EPOCH, Just(layout::MAGIC)], mask in 1..=u8::MAX,
    ) {
        let mut batch = build(Compression::None, &[Record::new("value", 1)], ProducerStamp::NONE).to_vec();
        batch[at] ^= mask;
        prop_assert!(validate(&batch, &LIMITS).is_err(), "byte {at}");
        decode_anyhow(&Bytes::from(batch));
    }

    #[test]
    fn every_cut_is_detected(compression in compression(), records in vec(record(), 1..5), at: Index) {
        let batch = build(compression, &records, ProducerStamp::NONE);
        let cut = batch.slice(..at.index(batch.len()));
        prop_assert!(validate(&cut, &LIMITS).is_err());
        decode_anyhow(&cut);
    }

    #[test]
    fn damage_under_a_right_crc_never_panics(
        compression in compression(), records in vec(record(), 1..5),
        damage in vec((any::<Index>(), any::<u8>()), 1..6), cut: Index,
    ) {
        let mut batch = build(compression, &records, ProducerStamp::NONE).to_vec();
        for (at, byte) in damage {
            // Mostly among the records, where the header's checks do not catch it.
            let from = if byte % 8 == 0 { 0 } else { HEADER_SIZE };
            let at = from + at.index(batch.len() - from);
            batch[at] = byte;
        }
        let cut = HEADER_SIZE + cut.index(batch.len() - HEADER_SIZE + 1);
        decode_anyhow(&repaired(batch[..cut].to_vec()));
        decode_anyhow(&repaired(batch));
    }

    #[test]
    fn noise_never_panics(noise in vec(any::<u8>(), 0..200)) {
        decode_anyhow(&Bytes::from(noise));
    }
}

#[test]
fn null_and_empty_keys_and_values_stay_apart() {
    let record = |key: Option<&'static [u8]>, value: Option<&'static [u8]>| Record {
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: vec![Header { key: String::new(), value: key.map(Bytes::from_static) }],
        timestamp_ms: 0,
    };
    let records = [record(None, None), record(None, Some(b"")), record(Some(b""), None), record(Some(b""), Some(b""))];
    let decoded = decode(build(Compression::None, &records, ProducerStamp::NONE));
    assert_eq!(decoded.into_iter().map(|decoded| decoded.record).collect::<Vec<_>>(), records);
}

#[test]
fn values_that_are_not_text_pass_untouched_and_uncopied() {
    let value = Bytes::from_static(&[0xff, 0x00, 0xc3, 0x28, 0xfe]);
    let batch = build(Compression::None, &[Record::new(value.clone(), 0).with_key(value.clone())], ProducerStamp::NONE);
    let decoded = decode(batch.clone()).remove(0).record;
    assert_eq!(decoded.value, Some(value.clone()));
    assert_eq!(decoded.key, Some(value));
    let decoded = decoded.value.unwrap();
    assert!(batch.as_ptr_range().contains(&decoded.as_ptr()), "the value is a slice of the batch");
}
