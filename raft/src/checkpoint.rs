//! What a replica derives from its log, kept where a segment begins: an open reads the log from there on only.
//!
//! ```text
//!  0  version u8 = 2       1  what follows u8: 0 nothing, 1 a partition's state, 2 the metadata
//!  2  log id of the membership (see the codec)      19  bytes of the membership u32, and the membership
//!  …  the partition's end offset u64                 …  its log start offset u64        …  producers u32
//!  …  each producer, ascending by id: id i64, epoch i16, leader time of its last batch i64, batches u8; each batch,
//!     oldest first: first sequence i32, last sequence i32, base offset u64, log index u64
//!  …  or the metadata: bincode of its rows
//! ```
//! Little-endian. The log engine keeps it in a file of its own with a checksum over all of it. What the metadata group
//! has applied is in the keyed store, which is never ahead of the log; only snapshots hold it, too.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    codec::{self, DecodeError},
    metadata::MetadataState,
    partition::PartitionState,
    types::StoredMembership,
};

const VERSION: u8 = 2;

/// What a replica knew before the entry of some log index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The last membership in the log.
    pub(crate) membership: StoredMembership,
    /// What else.
    pub(crate) state: GroupState,
}

/// What a group's entries up to some log index have made, as far as it is in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum GroupState {
    /// It is elsewhere.
    #[default]
    Elsewhere,
    /// Of a partition: its end offset and producers.
    Partition(PartitionState),
    /// All metadata.
    Metadata(Arc<MetadataState>),
}

impl GroupState {
    fn code(&self) -> u8 {
        match self {
            Self::Elsewhere => 0,
            Self::Partition(_) => 1,
            Self::Metadata(_) => 2,
        }
    }
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Bytes {
        let membership = match self.membership.log_id() {
            Some(_) => codec::encode_membership(self.membership.membership()),
            None => Bytes::new(),
        };
        let mut buffer = BytesMut::new();
        buffer.put_u8(VERSION);
        buffer.put_u8(self.state.code());
        codec::put_log_id(&mut buffer, self.membership.log_id().as_ref());
        buffer.put_u32_le(membership.len() as u32);
        buffer.put(membership);
        match &self.state {
            GroupState::Elsewhere => {}
            GroupState::Partition(partition) => partition.encode(&mut buffer),
            GroupState::Metadata(metadata) => buffer.put(metadata.encode().as_slice()),
        }
        buffer.freeze()
    }

    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        codec::need(&bytes, 2)?;
        if bytes.get_u8() != VERSION {
            return Err(DecodeError::Malformed("checkpoint: this build does not know its version"));
        }
        let code = bytes.get_u8();
        let id = codec::get_log_id(&mut bytes)?;
        codec::need(&bytes, 4)?;
        let size = bytes.get_u32_le() as usize;
        codec::need(&bytes, size)?;
        let membership = bytes.split_to(size);
        let membership = match id {
            Some(_) => StoredMembership::new(id, codec::decode_membership(membership)?),
            None => StoredMembership::default(),
        };
        let state = match code {
            0 => GroupState::Elsewhere,
            1 => GroupState::Partition(PartitionState::decode(&mut bytes)?),
            2 => GroupState::Metadata(Arc::new(MetadataState::decode(&bytes.split_off(0))?)),
            _ => return Err(DecodeError::Malformed("checkpoint")),
        };
        codec::end(&bytes, "checkpoint")?;
        Ok(Self { membership, state })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use quorate_cluster_config::{NodeId, ReplicaId, limits::PRODUCERS_PER_PARTITION_MAX};
    use quorate_record::{BatchBuilder, BatchHeader, Compression, ProducerStamp, Record};

    use super::*;
    use crate::{
        partition::Append,
        types::{Membership, log_id},
    };

    fn membership() -> StoredMembership {
        let nodes = BTreeMap::from([4, 5, 9].map(|id| (ReplicaId(id), NodeId(id * 10))));
        let voters = vec![BTreeSet::from([ReplicaId(4), ReplicaId(5)])];
        StoredMembership::new(Some(log_id(3, 17)), Membership::new(voters, nodes).unwrap())
    }

    /// The state after these appends: (producer, epoch, sequence). What a producer may not write changes nothing.
    fn state(script: &[(i64, i16, i32)]) -> PartitionState {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(&Record::new("value", 1));
        let any = BatchHeader::parse(&builder.build(ProducerStamp::NONE).unwrap()).unwrap();
        let mut state = PartitionState::default();
        for (index, (producer_id, producer_epoch, base_sequence)) in (0..).zip(script.iter().copied()) {
            let batch = BatchHeader { producer_id, producer_epoch, base_sequence, ..any };
            state.advance(&Append { index, batch: &batch, expected_end_offset: None, leader_time_ms: 7 });
        }
        state
    }

    #[test]
    fn a_full_producer_table_survives_the_encoding() {
        let each = |producer: usize| (0..7).map(move |sequence| (producer as i64 * 3, 2, sequence));
        let script: Vec<_> = (0..PRODUCERS_PER_PARTITION_MAX).flat_map(each).collect();
        let checkpoint = Checkpoint { membership: membership(), state: GroupState::Partition(state(&script)) };
        let bytes = checkpoint.encode();
        assert!(bytes.len() < 2 << 20, "{}", bytes.len());
        assert_eq!(Checkpoint::decode(bytes).unwrap(), checkpoint);
    }

    #[test]
    fn a_cut_a_tail_or_another_version_is_refused() {
        let checkpoint = Checkpoint {
            membership: membership(),
            state: GroupState::Partition(state(&[(1, 0, 0), (1, 0, 1), (2, 0, 0)])),
        };
        let bytes = checkpoint.encode();
        for cut in 0..bytes.len() {
            assert!(Checkpoint::decode(bytes.slice(..cut)).is_err(), "cut at {cut}");
        }
        assert!(Checkpoint::decode([&bytes[..], &[0]].concat().into()).is_err());
        let other = [&[VERSION + 1], &bytes[1..]].concat();
        assert!(Checkpoint::decode(other.into()).is_err());
    }

    #[test]
    fn producers_out_of_order_or_beyond_their_bound_are_refused() {
        let empty =
            Checkpoint { state: GroupState::Partition(PartitionState::default()), ..Checkpoint::default() }.encode();
        let with = |count: u32, ids: &[i64]| {
            let mut bytes = BytesMut::from(&empty[..empty.len() - 4]);
            bytes.put_u32_le(count);
            for id in ids {
                bytes.put_i64_le(*id);
                bytes.put_i16_le(0);
                bytes.put_i64_le(0);
                bytes.put_u8(0);
            }
            Checkpoint::decode(bytes.freeze())
        };
        assert!(with(2, &[1, 2]).is_ok());
        assert!(with(2, &[2, 1]).is_err() && with(2, &[1, 1]).is_err(), "not ascending");
        assert!(with(u32::MAX, &[1, 2]).is_err(), "a count without its bytes");
        let many: Vec<i64> = (0..=PRODUCERS_PER_PARTITION_MAX as i64).collect();
        assert!(with(many.len() as u32, &many).is_err(), "one more than there may be");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            script in prop::collection::vec((0i64..4, 0i16..3, 0i32..4), 0..40),
            has_membership: bool,
            of_partition: bool,
        ) {
            let membership = if has_membership { membership() } else { StoredMembership::default() };
            let state = if of_partition { GroupState::Partition(state(&script)) } else { GroupState::Elsewhere };
            let checkpoint = Checkpoint { membership, state };
            prop_assert_eq!(Checkpoint::decode(checkpoint.encode()).unwrap(), checkpoint);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), known: bool) {
            if let (true, Some(version)) = (known, bytes.first_mut()) {
                *version = VERSION;
            }
            let _ = Checkpoint::decode(bytes.into());
        }

        /// Closer to what is real: what is still taken says no more than it was given.
        #[test]
        fn no_damage_makes_the_decoder_panic_or_take_more_than_it_was_given(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let state = GroupState::Partition(state(&[(1, 0, 0), (1, 0, 1), (2, 0, 0), (5, 1, 0)]));
            let mut bytes = Checkpoint { membership: membership(), state }.encode().to_vec();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let size = bytes.len();
            if let Ok(taken) = Checkpoint::decode(bytes.into()) {
                prop_assert!(taken.encode().len() <= size);
            }
        }
    }
}
