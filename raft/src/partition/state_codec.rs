//! The state of a partition as bytes: see the checkpoint for the layout.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_cluster_config::limits::{BATCHES_IN_FLIGHT_MAX, PRODUCERS_PER_PARTITION_MAX};

use super::{PartitionState, ProducerEntry, ProducerTable, Written};
use crate::codec::{DecodeError, need};

/// Bytes of a producer without its batches, and of each of these.
const PRODUCER_SIZE: usize = 19;
const WRITTEN_SIZE: usize = 24;

impl PartitionState {
    /// The same bytes on every replica that has the same state.
    pub(crate) fn encode(&self, buffer: &mut BytesMut) {
        let mut producers: Vec<_> = self.producers().iter().collect();
        producers.sort_unstable_by_key(|(id, _)| *id);
        #[cfg(feature = "planted-bugs")]
        producers.retain(|_| !quorate_planted_bugs::PlantedBug::DedupLostInSnapshot.is_planted());
        buffer.reserve(20 + producers.len() * (PRODUCER_SIZE + BATCHES_IN_FLIGHT_MAX * WRITTEN_SIZE));
        buffer.put_u64_le(self.end_offset());
        buffer.put_u64_le(self.log_start_offset());
        buffer.put_u32_le(producers.len() as u32);
        for (id, producer) in producers {
            buffer.put_i64_le(id);
            buffer.put_i16_le(producer.epoch);
            buffer.put_i64_le(producer.last_time_ms);
            buffer.put_u8(producer.written().count() as u8);
            for written in producer.written() {
                buffer.put_i32_le(written.first_sequence);
                buffer.put_i32_le(written.last_sequence);
                buffer.put_u64_le(written.base_offset);
                buffer.put_u64_le(written.index);
            }
        }
    }

    /// Takes what was encoded off the front of `bytes`.
    pub(crate) fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        need(bytes, 20)?;
        let (end_offset, log_start_offset) = (bytes.get_u64_le(), bytes.get_u64_le());
        let count = bytes.get_u32_le() as usize;
        if log_start_offset > end_offset {
            return Err(DecodeError::Malformed("log start offset"));
        }
        if count > PRODUCERS_PER_PARTITION_MAX {
            return Err(DecodeError::Malformed("producer table"));
        }
        let mut producers = ProducerTable::default();
        let mut last = None;
        for _ in 0..count {
            need(bytes, PRODUCER_SIZE)?;
            let (id, epoch, time_ms) = (bytes.get_i64_le(), bytes.get_i16_le(), bytes.get_i64_le());
            let batches = usize::from(bytes.get_u8());
            if batches > BATCHES_IN_FLIGHT_MAX || last.replace(id) >= Some(id) {
                return Err(DecodeError::Malformed("producer"));
            }
            need(bytes, batches * WRITTEN_SIZE)?;
            let written = |_| Written {
                first_sequence: bytes.get_i32_le(),
                last_sequence: bytes.get_i32_le(),
                base_offset: bytes.get_u64_le(),
                index: bytes.get_u64_le(),
            };
            let remember = |producer: ProducerEntry, written| producer.with(written, time_ms);
            let producer = (0..batches).map(written).fold(ProducerEntry::new(epoch), remember);
            producers.set(id, Some(producer));
        }
        Ok(Self::new(end_offset, log_start_offset, producers))
    }
}
