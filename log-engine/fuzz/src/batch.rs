use bytes::Bytes;
use quorate_record::{
    BatchBuilder, BatchHeader, Compression, DecodeLimits, DecodedRecord, HEADER_SIZE, Header, decode_batch, layout,
    split_batches,
};

use super::{Mode, Outcome, bounded};

/// All fields of the header, and the first bytes behind it: those of a codec or of the first record.
pub(crate) const FIELDS: [(usize, usize); 18] = [
    (1, 8),
    (9, 4),
    (13, 4),
    (17, 1),
    (22, 2),
    (24, 4),
    (28, 8),
    (36, 8),
    (44, 8),
    (52, 2),
    (54, 4),
    (58, 4),
    (62, 4),
    (66, 1),
    (67, 1),
    (68, 4),
    (72, 1),
    (73, 1),
];

/// Texts of errors, and the counters of shared buffers.
const SMALL: usize = 2048;
/// A buffer that grows as bytes come may have twice the room it needs, and while it moves there is the old one too.
const GROWTH: usize = 3;

/// Decoding a batch takes no more memory than its bytes prove: nothing for what is not compressed, else what the codec
/// can possibly make of them and never more than the limit. A batch whose records decode is encoded again to one of the
/// same records.
///
/// In numbers: 2 KiB and three times the smaller of the limit and `255` (LZ4) or `32,768` (Zstandard) times the size; and
/// for the iteration over `n` bytes of records 2 KiB and `n * (1 + 3 * size_of::<Header>() / 2)`.
pub fn batch(data: &[u8]) -> Outcome {
    let Some((mode, bytes)) = Mode::split(data) else { return Outcome::Refused };
    let mut bytes = bytes.to_vec();
    repair(&mut bytes, mode);
    let batch = Bytes::from(bytes);
    split(&batch);
    let small = mode.has(Mode::SMALL_LIMITS);
    let limits = DecodeLimits {
        decompressed_bytes_max: if small { 256 } else { 8 << 20 },
        header_count_max: if small { 1 } else { 1 << 16 },
    };
    let header = BatchHeader::parse(&batch);
    if let Ok(header) = &header {
        assert_eq!(header.encode(), batch[..HEADER_SIZE]);
    }
    let possible = match header.map(|header| header.compression) {
        Ok(Compression::Lz4) => 255,
        // A block of 128 KiB takes four bytes at least.
        Ok(Compression::Zstd) => (128 << 10) / 4,
        Ok(Compression::None) | Err(_) => 0,
    };
    let possible = batch.len().saturating_sub(HEADER_SIZE) * possible;
    let bytes_max = SMALL + GROWTH * possible.min(limits.decompressed_bytes_max);
    let Ok(decoded) = bounded(bytes_max, || decode_batch(batch.clone(), &limits)) else { return Outcome::Refused };
    // Nothing is larger in memory than on the wire but headers, of two bytes at least; their keys are copied.
    let size = batch.len() + possible.min(limits.decompressed_bytes_max);
    bounded(SMALL + size * (GROWTH * size_of::<Header>() / 2 + 1), || decoded.clone().for_each(drop));
    let header = *decoded.header();
    match decoded.collect::<Result<Vec<_>, _>>() {
        Ok(records) => rebuild(&batch, &header, &records),
        Err(_) => return Outcome::Refused,
    }
    Outcome::Decoded
}

/// A concatenation of batches is split without a gap, and its last part is in order or an error.
fn split(bytes: &Bytes) {
    let mut at = 0;
    for batch in split_batches(bytes.clone()) {
        let Ok(batch) = batch else { return };
        assert_eq!(batch, bytes[at..at + batch.len()]);
        at += batch.len();
    }
    assert_eq!(at, bytes.len());
}

fn rebuild(batch: &Bytes, header: &BatchHeader, records: &[DecodedRecord]) {
    assert_eq!(records.len(), header.record_count as usize);
    assert!(records.iter().map(|decoded| decoded.offset).eq(header.base_offset..header.next_offset()));
    let build = |records: &[DecodedRecord], compression| {
        let mut builder = BatchBuilder::new(compression);
        for decoded in records {
            builder.push(&decoded.record);
        }
        match builder.build(header.producer()) {
            Ok(batch) => batch,
            Err(error) => panic!("what was decoded cannot be built: {error}"),
        }
    };
    let plain = build(records, Compression::None);
    for compression in [Compression::None, header.compression] {
        let rebuilt = build(records, compression);
        let again = match decode_batch(rebuilt, &DecodeLimits::default()) {
            Ok(again) => again,
            Err(error) => panic!("what was built does not decode: {error}"),
        };
        assert_eq!((again.header().producer(), again.header().record_count), (header.producer(), header.record_count));
        let again: Vec<DecodedRecord> = match again.collect() {
            Ok(records) => records,
            Err(error) => panic!("what was built does not decode: {error}"),
        };
        assert!(again.iter().map(|again| &again.record).eq(records.iter().map(|decoded| &decoded.record)));
        assert_eq!(build(&again, Compression::None), plain);
    }
    // Ours is the shortest encoding of times that are relative to the first.
    let from_first = records.first().is_some_and(|first| first.record.timestamp_ms == header.base_timestamp);
    assert!(header.compression != Compression::None || !from_first || plain.len() <= batch.len());
}

/// Makes length and CRC of a batch right.
pub(crate) fn repair(batch: &mut [u8], mode: Mode) {
    if batch.len() < HEADER_SIZE {
        return;
    }
    if mode.has(Mode::SIZES) {
        let batch_length = (batch.len() - layout::LENGTH_OVERHEAD) as i32;
        batch[layout::BATCH_LENGTH..layout::LEADER_EPOCH].copy_from_slice(&batch_length.to_be_bytes());
    }
    if mode.has(Mode::CHECKSUMS) {
        let crc = crc32c::crc32c(&batch[layout::ATTRIBUTES..]);
        batch[layout::CRC..layout::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    }
}
