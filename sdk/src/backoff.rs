//! How long to wait between tries.

use std::time::Duration;

/// The first pause, before jitter.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause.
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Pauses that double from [`PAUSE_MIN`] to [`PAUSE_MAX`], each between half and the whole of its value, so that
/// clients that failed together do not return together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = Self::ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Something worked: start again from the shortest pause.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling(failures: u32) -> Duration {
        PAUSE_MIN.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_within_their_jitter() {
        let mut backoff = Backoff::default();
        for expected_ms in [20, 40, 80, 160, 320, 500, 500, 500] {
            let ceiling = Duration::from_millis(expected_ms);
            let pause = backoff.next();
            assert!(pause <= ceiling && pause >= ceiling / 2, "{pause:?} of {ceiling:?}");
        }
    }

    #[test]
    fn a_success_starts_again_from_the_shortest_pause() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert!(backoff.next() >= PAUSE_MAX / 2);
        backoff.reset();
        assert!(backoff.next() <= PAUSE_MIN);
    }

    #[test]
    fn pauses_differ_between_clients() {
        let pauses: Vec<_> = (0..16).map(|_| Backoff { failures: 9 }.next()).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
