//! How much of a partition is kept: a pure function of its segments and the leader's clock.

use std::time::Duration;

use quorate_log_engine::SegmentInfo;

/// What is kept at least; whole segments beyond it are deleted. `None` keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records younger than this, by the leader's clock when they were appended.
    pub time: Option<Duration>,
    /// The last so many bytes of a partition's log.
    pub bytes: Option<u64>,
}

/// The end of a log, as far as retention asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    /// The first offset not yet committed.
    pub(crate) high_watermark: u64,
    /// The greatest leader time of all entries, milliseconds since 1970; 0 if none has one.
    pub(crate) time_ms: i64,
}

impl Retention {
    /// The offset before which records are to be deleted: the first one of the oldest segment that is kept, or the high
    /// watermark if all are too old. Never beyond the high watermark.
    pub(crate) fn log_start_offset(&self, segments: &[SegmentInfo], end: LogEnd, now_ms: i64) -> u64 {
        let Some(last) = segments.len().checked_sub(1) else { return 0 };
        let too_old = |newest_ms: i64| {
            let age = u64::try_from(now_ms.saturating_sub(newest_ms)).unwrap_or(0);
            self.time.is_some_and(|time| u128::from(age) > time.as_millis())
        };
        let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let mut first_kept = 0;
        for (segment, next) in segments.iter().zip(&segments[1..]) {
            // What is newest in a segment is not newer than what the next one begins behind.
            let too_much = self.bytes.is_some_and(|kept| bytes - segment.bytes >= kept);
            if !too_much && !too_old(next.base_time_ms) {
                break;
            }
            bytes -= segment.bytes;
            first_kept += 1;
        }
        let kept = match first_kept {
            all_old if all_old == last && too_old(end.time_ms) => end.high_watermark,
            first_kept => segments[first_kept].base_offset,
        };
        kept.min(end.high_watermark)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Segments of 100 bytes and 10 records each; the newest record of each has the time given.
    fn segments(times_ms: &[i64]) -> Vec<SegmentInfo> {
        let before = std::iter::once(0).chain(times_ms.iter().copied());
        (0..)
            .zip(before)
            .take(times_ms.len())
            .map(|(at, base_time_ms)| SegmentInfo {
                number: at,
                base_index: at * 20,
                base_offset: at * 10,
                base_time_ms,
                bytes: 100,
                checkpointed: true,
                durable: true,
            })
            .collect()
    }

    fn start(retention: Retention, times_ms: &[i64], now_ms: i64) -> u64 {
        let end = LogEnd { high_watermark: times_ms.len() as u64 * 10, time_ms: times_ms.last().copied().unwrap_or(0) };
        retention.log_start_offset(&segments(times_ms), end, now_ms)
    }

    #[test]
    fn segments_whose_newest_record_is_too_old_go() {
        let hour = Retention { time: Some(Duration::from_millis(1_000)), bytes: None };
        let times = [100, 200, 900, 1_500];
        assert_eq!(start(hour, &times, 1_100), 0);
        assert_eq!(start(hour, &times, 1_101), 10);
        assert_eq!(start(hour, &times, 1_900), 20);
        assert_eq!(start(hour, &times, 1_901), 30);
        assert_eq!(start(hour, &times, 2_500), 30);
        assert_eq!(start(hour, &times, 2_501), 40, "the active segment too, when all of it is too old");
    }

    #[test]
    fn at_least_the_last_so_many_bytes_stay_and_the_active_segment_always() {
        let kept = |bytes| Retention { time: None, bytes: Some(bytes) };
        let times = [1, 2, 3, 4];
        assert_eq!(
            [401, 400, 301, 300, 299, 100, 1].map(|bytes| start(kept(bytes), &times, 9)),
            [0, 0, 0, 10, 10, 30, 30]
        );
    }

    #[test]
    fn a_clock_that_went_back_deletes_nothing() {
        let retention = Retention { time: Some(Duration::from_millis(1)), bytes: None };
        assert_eq!(start(retention, &[1_000, 2_000], 500), 0);
        assert_eq!(start(Retention::default(), &[1, 2], i64::MAX), 0);
    }

    proptest! {
        #[test]
        fn never_beyond_what_is_committed_and_later_never_less(
            times in prop::collection::vec(0..1_000_i64, 0..20), high_watermark in 0..250_u64,
            time in prop::option::of(0..1_000_u64), bytes in prop::option::of(0..2_000_u64), now in 0..3_000_i64,
        ) {
            let mut times = times;
            times.sort_unstable();
            let retention = Retention { time: time.map(Duration::from_millis), bytes };
            let end = LogEnd { high_watermark, time_ms: times.last().copied().unwrap_or(0) };
            let at = |now_ms| retention.log_start_offset(&segments(&times), end, now_ms);
            prop_assert!(at(now) <= high_watermark);
            prop_assert!(at(now) <= at(now + 100));
        }
    }
}
