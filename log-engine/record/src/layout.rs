//! Where each field of the batch header lies, in bytes from the start of the batch. All fields are big-endian.

/// First offset of the batch, `i64`.
pub const BASE_OFFSET: usize = 0;
/// Size of everything after this field, in bytes, `i32`.
pub const BATCH_LENGTH: usize = BASE_OFFSET + size_of::<i64>();
/// Leader epoch under which the batch was appended, `i32`.
pub const LEADER_EPOCH: usize = BATCH_LENGTH + size_of::<i32>();
/// Version of the format, `i8`: always [`MAGIC_V2`].
pub const MAGIC: usize = LEADER_EPOCH + size_of::<i32>();
/// CRC-32C (Castagnoli) of all bytes from [`ATTRIBUTES`] to the end of the batch, `u32`.
pub const CRC: usize = MAGIC + size_of::<i8>();
/// Flags, `i16`: the codec in the lowest three bits, everything else zero.
pub const ATTRIBUTES: usize = CRC + size_of::<u32>();
/// Offset of the last record minus the base offset, `i32`.
pub const LAST_OFFSET_DELTA: usize = ATTRIBUTES + size_of::<i16>();
/// Timestamp of the first record, milliseconds since the Unix epoch, `i64`.
pub const BASE_TIMESTAMP: usize = LAST_OFFSET_DELTA + size_of::<i32>();
/// Greatest timestamp of the records, milliseconds since the Unix epoch, `i64`.
pub const MAX_TIMESTAMP: usize = BASE_TIMESTAMP + size_of::<i64>();
/// Producer id, `i64`; -1 is none.
pub const PRODUCER_ID: usize = MAX_TIMESTAMP + size_of::<i64>();
/// Producer epoch, `i16`; -1 is none.
pub const PRODUCER_EPOCH: usize = PRODUCER_ID + size_of::<i64>();
/// Sequence of the first record, `i32`; -1 is none.
pub const BASE_SEQUENCE: usize = PRODUCER_EPOCH + size_of::<i16>();
/// Number of records, `i32`.
pub const RECORD_COUNT: usize = BASE_SEQUENCE + size_of::<i32>();
/// First byte after the header: the records, compressed as [`ATTRIBUTES`] says.
pub const RECORDS: usize = RECORD_COUNT + size_of::<i32>();

/// Size of the batch header, in bytes.
pub const HEADER_SIZE: usize = 61;
/// Size of the head of the batch that lies outside the CRC, in bytes: base offset, batch length, leader epoch, magic
/// and the CRC itself.
pub const UNPROTECTED_SIZE: usize = 21;
/// What the batch length does not count: the base offset and the length itself, in bytes.
pub const LENGTH_OVERHEAD: usize = 12;
/// Least value of the batch length: a header and nothing behind it.
pub const BATCH_LENGTH_MIN: i32 = 49;
/// The only version of the format there is here.
pub const MAGIC_V2: i8 = 2;

// These numbers are the format. A change of one is a change of every batch ever written.
const _: () = {
    assert!(BATCH_LENGTH == 8);
    assert!(LEADER_EPOCH == 12);
    assert!(MAGIC == 16);
    assert!(CRC == 17);
    assert!(ATTRIBUTES == 21 && ATTRIBUTES == UNPROTECTED_SIZE);
    assert!(LAST_OFFSET_DELTA == 23);
    assert!(BASE_TIMESTAMP == 27);
    assert!(MAX_TIMESTAMP == 35);
    assert!(PRODUCER_ID == 43);
    assert!(PRODUCER_EPOCH == 51);
    assert!(BASE_SEQUENCE == 53);
    assert!(RECORD_COUNT == 57);
    assert!(RECORDS == HEADER_SIZE);
    assert!(LENGTH_OVERHEAD == LEADER_EPOCH);
    assert!(BATCH_LENGTH_MIN as usize == HEADER_SIZE - LENGTH_OVERHEAD);
};
