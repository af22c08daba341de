//! When records are due that are sent at a given rate, whatever becomes of those before them.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::Failure;

/// Records that are due within one such span are due together, at its end: finer steps would cost the cores that the
/// nodes need.
const TICK_MIN: Duration = Duration::from_micros(500);
const NANOS: u128 = Duration::from_secs(1).as_nanos();

/// A rate kept from an instant on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    began: Instant,
    /// Records a second, above zero.
    rate: u64,
    /// Records in all.
    pub(super) messages: u64,
}

impl Schedule {
    pub(super) fn new(began: Instant, rate: u64, time: Duration) -> Self {
        let messages = time.as_nanos().saturating_mul(rate.into()) / NANOS;
        Self { began, rate: rate.max(1), messages: u64::try_from(messages).unwrap_or(u64::MAX) }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// The tick at which a record is due.
    pub(super) fn tick_of(&self, number: u64) -> u64 {
        let due = u128::from(number) * NANOS;
        let tick = due.div_ceil(u128::from(self.rate) * self.tick().as_nanos());
        u64::try_from(tick).unwrap_or(u64::MAX)
    }

    /// When a tick is.
    pub(super) fn at(&self, tick: u64) -> Instant {
        let nanos = u64::try_from(self.tick().as_nanos()).unwrap_or(u64::MAX).saturating_mul(tick);
        self.began + Duration::from_nanos(nanos)
    }

    /// The last tick at which a record is due.
    fn last_tick(&self) -> u64 {
        self.tick_of(self.messages.saturating_sub(1))
    }

    fn tick(&self) -> Duration {
        TICK_MIN.max(Duration::from_nanos(u64::try_from(NANOS).unwrap_or(u64::MAX) / self.rate))
    }

    /// Tells the ticks as they come. A thread does it, for the runtime's timers are as coarse as a millisecond. It ends
    /// after the last tick, or when nobody listens any more.
    pub(super) fn start(self) -> Result<watch::Receiver<u64>, Failure> {
        let (ticks, listening) = watch::channel(0);
        let tell = move || {
            for tick in 0..=self.last_tick() {
                thread::sleep(self.at(tick).saturating_duration_since(Instant::now()));
                if ticks.send(tick).is_err() {
                    return;
                }
            }
        };
        match thread::Builder::new().name("schedule".to_owned()).spawn(tell) {
            Ok(_) => Ok(listening),
            Err(error) => {
                Err(Failure::message(format!("cannot start a thread, {error}, check the limits on processes")))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn schedule(rate: u64) -> Schedule {
        Schedule::new(Instant::now(), rate, Duration::from_secs(10))
    }

    fn due(schedule: &Schedule, number: u64) -> Duration {
        schedule.at(schedule.tick_of(number)) - schedule.began
    }

    #[test]
    fn the_rate_is_kept_over_the_whole_time() {
        for rate in [1, 3, 7, 1_999, 2_000, 2_001, 50_000, 1_234_567] {
            let schedule = schedule(rate);
            assert_eq!(schedule.messages, 10 * rate);
            let late = |number: u64| due(&schedule, number).as_secs_f64() - number as f64 / rate as f64;
            for number in [0, 1, rate / 2, rate, 9 * rate, 10 * rate - 1] {
                let late = late(number);
                assert!((-1e-6..0.000_501 + 1.0 / rate as f64).contains(&late), "{rate}/s, {number}: {late}");
            }
        }
    }

    #[test]
    fn slow_rates_tick_once_a_record_and_fast_ones_have_many_a_tick() {
        let slow = schedule(10);
        assert_eq!((0..4).map(|number| slow.tick_of(number)).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(due(&slow, 3), Duration::from_millis(300));
        let fast = schedule(8_000);
        assert_eq!((0..6).map(|number| fast.tick_of(number)).collect::<Vec<_>>(), [0, 1, 1, 1, 1, 2]);
    }

    #[test]
    fn the_greatest_values_do_not_overflow() {
        let schedule = Schedule::new(Instant::now(), u64::MAX, Duration::from_secs(86_400));
        assert_eq!(schedule.messages, u64::MAX);
        assert!(due(&schedule, u64::MAX) < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn all_ticks_are_told_and_none_before_its_time() {
        let schedule = Schedule::new(Instant::now(), 1_000, Duration::from_millis(50));
        let mut ticks = schedule.start().unwrap();
        for number in 0..schedule.messages {
            let tick = schedule.tick_of(number);
            assert!(*ticks.wait_for(|told| *told >= tick).await.unwrap() >= tick);
            assert!(Instant::now() >= schedule.at(tick));
        }
    }
}
