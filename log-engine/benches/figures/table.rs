//! The lines of the table.

use std::time::Duration;

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Required {
    AtLeast(f64),
    AtMost(f64),
    /// It is only told.
    Nothing,
}

pub(crate) fn title(group: &str) {
    println!("\n{group}");
}

/// Prints one figure.
pub(crate) fn line(name: &str, value: f64, unit: &str, required: Required, note: &str) {
    let (bound, verdict) = match required {
        Required::AtLeast(least) => (format!(">= {least}"), if value >= least { "ok" } else { "MISSED" }),
        Required::AtMost(most) => (format!("<= {most}"), if value <= most { "ok" } else { "MISSED" }),
        Required::Nothing => (String::new(), ""),
    };
    println!("  {name:<58} {value:>10.2} {unit:<12} {bound:>9} {verdict:<7} {note}");
}

/// The value below which this part of the values lies. Sorts them.
pub(crate) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

pub(crate) fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Least, median and greatest of latencies in microseconds.
pub(crate) fn latencies(name: &str, values: &mut [f64], note: &str) {
    let (p50, p99, max) = (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1.0));
    let rest = format!("p99 {p99:.0}, max {max:.0}, of {} {note}", values.len());
    line(&format!("{name}: p50"), p50, "us", Required::Nothing, &rest);
}
