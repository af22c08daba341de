//! Which partition a record goes to.

use std::sync::atomic::{AtomicU32, Ordering};

use quorate_cluster_config::PartitionIndex;

/// Where one record should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// To this partition and no other.
    Exactly(PartitionIndex),
    /// To this partition while its batch has room, else to [`Partitioner::next_sticky`].
    Sticky(PartitionIndex),
}

/// Chooses partitions as Kafka's clients do: by the hash of the key; without a key, one partition until its batch is
/// full, then the next.
#[derive(Debug)]
pub(super) struct Partitioner {
    partition_count: u32,
    sticky: AtomicU32,
}

impl Partitioner {
    /// `partition_count` is at least 1.
    pub(super) fn new(partition_count: u32) -> Self {
        // Many short-lived producers should not all begin with partition 0.
        Self { partition_count, sticky: AtomicU32::new(rand::random_range(0..partition_count.max(1))) }
    }

    pub(super) fn choose(&self, key: Option<&[u8]>) -> Choice {
        match key {
            Some(key) => Choice::Exactly(partition_of_key(key, self.partition_count)),
            None => Choice::Sticky(self.sticky.load(Ordering::Relaxed)),
        }
    }

    /// Leaves `full` for the partition after it, unless another sender did so already.
    pub(super) fn next_sticky(&self, full: PartitionIndex) -> PartitionIndex {
        let next = (full + 1) % self.partition_count.max(1);
        match self.sticky.compare_exchange(full, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => next,
            Err(current) => current,
        }
    }
}

/// Kafka's `toPositive(murmur2(key)) % partition_count`.
fn partition_of_key(key: &[u8], partition_count: u32) -> PartitionIndex {
    (murmur2(key) & 0x7fff_ffff) % partition_count.max(1)
}

/// MurmurHash2, 32 bits, with the seed of Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // Kafka's lengths are 32 bits; keys are far below.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafka() {
        // From `UtilsTest.testMurmur2` of Apache Kafka.
        let cases: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key) as i32, expected, "{key:?}");
        }
    }

    #[test]
    fn a_key_always_goes_to_one_partition_within_the_topic() {
        for count in [1, 3, 1000] {
            assert_eq!(partition_of_key(b"foobar", count), (-790_332_482i32 as u32 & 0x7fff_ffff) % count);
        }
        assert_eq!(Partitioner::new(3).choose(Some(b"abc")), Choice::Exactly(479_470_107 % 3));
    }

    #[test]
    fn without_a_key_the_partition_changes_with_the_batch_and_visits_all() {
        let partitioner = Partitioner::new(3);
        let Choice::Sticky(first) = partitioner.choose(None) else { panic!("a null key has no hash") };
        assert_eq!(partitioner.choose(None), Choice::Sticky(first));
        let second = partitioner.next_sticky(first);
        assert_eq!(partitioner.next_sticky(first), second, "another sender that saw the same batch must not skip");
        let third = partitioner.next_sticky(second);
        let mut visited = [first, second, third];
        visited.sort_unstable();
        assert_eq!(visited, [0, 1, 2]);
    }
}
