//! The record batch format of Quorate: Kafka's RecordBatch v2, byte for byte.
//!
//! One batch is what a producer sends, Raft replicates, the disk holds and a consumer gets: the same bytes. This
//! crate builds batches ([`BatchBuilder`]), checks them where they enter the system ([`validate`]), stamps a position
//! into them ([`stamp`]) and takes them apart again ([`split_batches`], [`decode_batch`]).
//!
//! A batch is a 61-byte big-endian header ([`layout`]) followed by its records, which may be compressed. The CRC-32C
//! covers everything from byte 21 on; the bytes before it ([`UNPROTECTED_SIZE`]) change as the leader assigns offsets.
//!
//! Every decoder here takes hostile input: it returns an error and never panics, and it checks each length against
//! what remains, or against a limit, before it allocates.
//!
//! Deliberately not here: frames on disk and on the wire (`quorate-log-engine`), transactions, control batches,
//! log-append timestamps and the older message formats of Kafka, none of which Quorate has.
//!
//! ```
//! use quorate_record::{BatchBuilder, Compression, DecodeLimits, ProducerStamp, Record, decode_batch};
//!
//! let mut builder = BatchBuilder::new(Compression::Zstd);
//! builder.push(&Record::new("the value", 1_700_000_000_000).with_key("the key"));
//! let batch = builder.build(ProducerStamp::NONE)?;
//!
//! for decoded in decode_batch(batch, &DecodeLimits::default())? {
//!     let decoded = decoded?;
//!     assert_eq!(decoded.offset, 0);
//!     assert_eq!(decoded.record.value.as_deref(), Some(&b"the value"[..]));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attributes;
mod batch_builder;
mod batch_error;
mod batch_header;
mod batches;
mod build_error;
mod compression;
mod cursor;
pub mod layout;
mod producer_stamp;
mod record;
mod record_encoding;
mod record_error;
mod records_iter;
mod stamp;
mod validate;
mod varint;

pub use batch_builder::BatchBuilder;
pub use batch_error::BatchError;
pub use batch_header::BatchHeader;
pub use batches::{Batches, split_batches};
pub use build_error::BuildError;
pub use compression::{Compression, ParseCompressionError};
pub use layout::{HEADER_SIZE, UNPROTECTED_SIZE};
pub use producer_stamp::{ProducerStamp, advance_sequence};
pub use record::{Header, Record};
pub use record_error::RecordError;
pub use records_iter::{DecodeLimits, DecodedRecord, RecordsIter, decode_batch};
pub use stamp::{UNSTAMPED_BASE_OFFSET, UNSTAMPED_LEADER_EPOCH, stamp};
pub use validate::{BatchLimits, validate, verify_crc};
