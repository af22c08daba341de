//! Numbers that look random and are the same for ever.

/// The generator SplitMix64 of Sebastiano Vigna, <https://prng.di.unimi.it/splitmix64.c> (public domain): small, and
/// one seed gives one sequence whatever the version of any crate.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix64 {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of many sequences of a seed, each unlike the others.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ Self(stream).next_number());
        Self(random.next_number())
    }

    /// The next number of 64 bits.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // Lemire's multiplication without its rejection: the bias of at most end / 2^64 matters to no test.
        ((u128::from(self.next_number()) * u128::from(end)) >> 64) as u64
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    #[test]
    fn the_numbers_are_those_of_the_reference_implementation() {
        let mut random = SplitMix64::new(1_234_567);
        let numbers = [random.next_number(), random.next_number(), random.next_number()];
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn every_number_below_the_end_comes_and_no_other() {
        let mut random = SplitMix64::stream(7, 1);
        let mut counts = [0; 5];
        (0..5_000).for_each(|_| counts[random.below(5) as usize] += 1);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        assert_eq!(random.below(0), 0);
    }
}
