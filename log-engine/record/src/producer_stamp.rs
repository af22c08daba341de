/// What makes a producer's batch recognizable when it is sent again.
///
/// Invariant of a valid stamp: all fields are -1 ([`NONE`](Self::NONE)), or none is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProducerStamp {
    /// Id of the producer, given by the cluster; -1 is none.
    pub producer_id: i64,
    /// Epoch of the producer: a greater one fences the smaller ones. -1 is none.
    pub producer_epoch: i16,
    /// Sequence of the batch's first record, `0..=i32::MAX`, after which it starts again at 0; -1 is none.
    pub base_sequence: i32,
}

impl ProducerStamp {
    /// The stamp of a batch that is not protected against duplicates.
    pub const NONE: Self = Self { producer_id: -1, producer_epoch: -1, base_sequence: -1 };

    /// Whether the fields belong together: all -1, or none negative.
    pub fn is_valid(self) -> bool {
        self == Self::NONE || (self.producer_id >= 0 && self.producer_epoch >= 0 && self.base_sequence >= 0)
    }
}

/// The sequence that lies `count` records after `sequence`; `i32::MAX` is followed by 0, as in Kafka.
///
/// Both arguments must not be negative.
pub fn advance_sequence(sequence: i32, count: i32) -> i32 {
    debug_assert!(sequence >= 0 && count >= 0, "sequence {sequence}, count {count}");
    // Sequences count modulo 2^31: the sign bit is what must not survive.
    sequence.wrapping_add(count) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_around_after_the_greatest() {
        assert_eq!(advance_sequence(0, 0), 0);
        assert_eq!(advance_sequence(41, 1), 42);
        assert_eq!(advance_sequence(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(advance_sequence(i32::MAX, 1), 0);
        assert_eq!(advance_sequence(i32::MAX - 2, 5), 2);
        assert_eq!(advance_sequence(i32::MAX, i32::MAX), i32::MAX - 1);
    }

    #[test]
    fn a_stamp_is_whole_or_absent() {
        let whole = ProducerStamp { producer_id: 0, producer_epoch: 0, base_sequence: 0 };
        assert!(ProducerStamp::NONE.is_valid());
        assert!(whole.is_valid());
        assert!(!ProducerStamp { producer_id: -1, ..whole }.is_valid());
        assert!(!ProducerStamp { producer_epoch: -1, ..whole }.is_valid());
        assert!(!ProducerStamp { base_sequence: -1, ..whole }.is_valid());
        assert!(!ProducerStamp { base_sequence: -2, ..ProducerStamp::NONE }.is_valid());
    }
}
