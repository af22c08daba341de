//! How fast it goes, for a person who watches.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;

use crate::output::{Format, count};

const INTERVAL: Duration = Duration::from_millis(250);

/// What is acknowledged so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// A line on the terminal that is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Meter {
    bar: ProgressBar,
    task: AbortHandle,
}

impl Meter {
    /// None where nobody watches.
    pub(super) fn start(format: Format, counts: Arc<Counts>) -> Option<Self> {
        if format == Format::Json || !io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The template is a constant: it is either always good or never.
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let shown = bar.clone();
        let task = tokio::spawn(async move {
            let (mut at, mut before) = (Instant::now(), (0, 0));
            loop {
                tokio::time::sleep(INTERVAL).await;
                let now = (counts.records.load(Relaxed), counts.bytes.load(Relaxed));
                shown.set_message(line(now, before, at.elapsed()));
                (at, before) = (Instant::now(), now);
            }
        });
        Some(Self { bar, task: task.abort_handle() })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

fn line(now: (u64, u64), before: (u64, u64), took: Duration) -> String {
    let per_second = |part: u64| (part as f64 / took.as_secs_f64().max(f64::EPSILON)) as u64;
    let (records, bytes) = (per_second(now.0 - before.0), per_second(now.1 - before.1));
    format!("{} acknowledged, {records}/s, {}/s", count(now.0, "record"), ByteSize(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_all_so_far_and_the_rate_of_now() {
        let told = line((1_500, 3 << 20), (500, 1 << 20), Duration::from_millis(500));
        assert_eq!(told, "1500 records acknowledged, 2000/s, 4.0 MiB/s");
    }
}
