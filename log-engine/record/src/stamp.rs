//! Stamping a position into a batch, without touching what its CRC covers.

use crate::layout::{BASE_OFFSET, BATCH_LENGTH, LEADER_EPOCH, MAGIC, UNPROTECTED_SIZE};

/// Base offset of a batch that has not been appended yet.
pub const UNSTAMPED_BASE_OFFSET: i64 = 0;
/// Leader epoch of a batch that has not been appended yet.
pub const UNSTAMPED_LEADER_EPOCH: i32 = -1;

/// The unprotected bytes of a batch with base offset and leader epoch replaced.
///
/// `head` is the start of a batch; only its first [`UNPROTECTED_SIZE`] bytes are read. Written in front of the batch's
/// bytes from [`UNPROTECTED_SIZE`] on, the result is the stamped batch: its CRC still holds, and nothing is copied but
/// these 21 bytes.
///
/// # Panics
///
/// If `head` is shorter than [`UNPROTECTED_SIZE`]: stamp only what [`validate`](crate::validate) has accepted.
pub fn stamp(head: &[u8], base_offset: i64, leader_epoch: i32) -> [u8; UNPROTECTED_SIZE] {
    let mut stamped = [0; UNPROTECTED_SIZE];
    stamped.copy_from_slice(&head[..UNPROTECTED_SIZE]);
    stamped[BASE_OFFSET..BATCH_LENGTH].copy_from_slice(&base_offset.to_be_bytes());
    stamped[LEADER_EPOCH..MAGIC].copy_from_slice(&leader_epoch.to_be_bytes());
    stamped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{BatchBuilder, BatchHeader, BatchLimits, Compression, ProducerStamp, Record, validate};

    #[test]
    fn a_stamped_batch_is_still_valid_and_differs_in_position_only() {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&Record::new("value", 7));
        let batch = builder.build(ProducerStamp::NONE).unwrap();
        let before = BatchHeader::parse(&batch).unwrap();
        assert_eq!((before.base_offset, before.leader_epoch), (UNSTAMPED_BASE_OFFSET, UNSTAMPED_LEADER_EPOCH));

        let mut stamped = stamp(&batch, 1 << 40, 12).to_vec();
        stamped.extend_from_slice(&batch[UNPROTECTED_SIZE..]);

        let limits = BatchLimits { batch_bytes_max: stamped.len(), record_count_max: 1 };
        let after = validate(&stamped, &limits).unwrap();
        assert_eq!(after, BatchHeader { base_offset: 1 << 40, leader_epoch: 12, ..before });
        assert_eq!(stamp(&stamped, UNSTAMPED_BASE_OFFSET, UNSTAMPED_LEADER_EPOCH), batch[..UNPROTECTED_SIZE]);
    }
}
