//! `report.html`: one file that says in a minute what a run was and what came of it, and needs nothing else.

mod chart;
mod page;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    nemesis::{Entry, State},
    verdict::Verdict,
};
use crate::history::{Call, Operation, Outcome, PartitionKey, Value};
use chart::{Bar, Chart, Line, Mark};

/// Columns of the rate and of the latencies.
const BINS: usize = 240;

/// Who led a partition from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Led {
    /// Nanoseconds since the run began.
    pub(super) at_ns: u64,
    pub(super) partition: PartitionKey,
    pub(super) term: u64,
    pub(super) node: u64,
}

/// All a report is made of.
#[derive(Debug)]
pub(super) struct Material<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) history: &'a [Operation],
    pub(super) journal: &'a [Entry],
    /// In the order of times.
    pub(super) leaders: &'a [Led],
}

/// The page.
pub(super) fn html(material: &Material<'_>) -> String {
    let end_ns = material.history.iter().map(|operation| operation.completed_ns).max().unwrap_or(1).max(1);
    let mut charts = vec![rate(material, end_ns), latencies(material, end_ns), faults(material, end_ns)];
    charts.push(leaders(material, end_ns));
    let lost = lost(material.history);
    charts.push(losses(&lost, end_ns));
    for partition in concerned(material, &lost) {
        charts.push(offsets(material.history, partition, &lost, end_ns));
    }
    page::render(material.verdict, &charts)
}

fn bin(at_ns: u64, end_ns: u64) -> usize {
    ((at_ns as f64 / end_ns as f64) * BINS as f64).min((BINS - 1) as f64) as usize
}

fn acknowledged(history: &[Operation]) -> impl Iterator<Item = (&Operation, u64)> {
    history.iter().filter_map(|operation| Some((operation, operation.call.acknowledged()?)))
}

fn rate(material: &Material<'_>, end_ns: u64) -> Chart {
    let mut counts = vec![0.0; BINS];
    let per_second = BINS as f64 / (end_ns as f64 / 1e9);
    for (operation, _) in acknowledged(material.history) {
        counts[bin(operation.completed_ns, end_ns)] += per_second;
    }
    Chart::lines("Acknowledged writes a second", end_ns, vec![Line::filled("acknowledged", "a", counts)])
}

fn latencies(material: &Material<'_>, end_ns: u64) -> Chart {
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); BINS];
    for (operation, _) in acknowledged(material.history) {
        times[bin(operation.invoked_ns, end_ns)].push(operation.completed_ns - operation.invoked_ns);
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let percentile = |percent: usize| -> Vec<f64> {
        let at = |count: usize| (count * percent / 100).min(count.saturating_sub(1));
        times.iter().map(|times| times.get(at(times.len())).map_or(0.0, |ns| *ns as f64 / 1e6)).collect()
    };
    let lines = vec![Line::plain("p99", "b", percentile(99)), Line::plain("p50", "a", percentile(50))];
    Chart::logarithmic("Latency of acknowledged writes by the time they were sent, ms", end_ns, lines)
}

fn faults(material: &Material<'_>, end_ns: u64) -> Chart {
    let mut bars = Vec::new();
    for entry in material.journal.iter().filter(|entry| matches!(entry.state, State::Installed | State::Indeterminate))
    {
        let healed = material.journal.iter().find(|other| other.fault == entry.fault && other.state == State::Healed);
        bars.push(Bar {
            lane: entry.kind.name().to_owned(),
            from_ns: entry.at_ns,
            to_ns: healed.map_or(end_ns, |healed| healed.at_ns),
            class: "fault".to_owned(),
            title: format!("fault {}: {}", entry.fault, entry.detail),
        });
    }
    Chart::lanes("Faults", end_ns, bars)
}

fn leaders(material: &Material<'_>, end_ns: u64) -> Chart {
    let mut by_partition: BTreeMap<PartitionKey, Vec<Led>> = BTreeMap::new();
    for led in material.leaders {
        by_partition.entry(led.partition).or_default().push(*led);
    }
    let mut bars = Vec::new();
    for (partition, leds) in by_partition {
        for (at, led) in leds.iter().enumerate() {
            bars.push(Bar {
                lane: format!("{}/{}", partition.topic, partition.index),
                from_ns: led.at_ns,
                to_ns: leds.get(at + 1).map_or(end_ns, |next| next.at_ns),
                class: format!("node n{}", led.node % 8),
                title: format!("{partition}: node {} in term {}", led.node, led.term),
            });
        }
    }
    Chart::lanes("Leaders: a colour for each node, a boundary for each term", end_ns, bars)
}

/// An acknowledged record that the drain did not return.
#[derive(Clone, Copy, Debug)]
struct Lost {
    partition: PartitionKey,
    offset: u64,
    sent_ns: u64,
    value: Value,
}

fn lost(history: &[Operation]) -> Vec<Lost> {
    let mut drained: BTreeMap<PartitionKey, BTreeSet<Value>> = BTreeMap::new();
    for operation in history {
        if let Call::Drain { outcome: Outcome::Ok(reads) } = &operation.call {
            let values = reads.iter().filter_map(|(_, value)| *value);
            drained.entry(operation.partition).or_default().extend(values);
        }
    }
    let lost = acknowledged(history).filter_map(|(operation, offset)| {
        let (Call::Send { number, .. } | Call::Append { number, .. }) = &operation.call else { return None };
        let value = Value { process: operation.process, number: *number };
        let gone = drained.get(&operation.partition).is_some_and(|drained| !drained.contains(&value));
        gone.then_some(Lost { partition: operation.partition, offset, sent_ns: operation.invoked_ns, value })
    });
    lost.collect()
}

fn losses(lost: &[Lost], end_ns: u64) -> Chart {
    let bars = lost.iter().map(|lost| Bar {
        lane: format!("{}/{}", lost.partition.topic, lost.partition.index),
        from_ns: lost.sent_ns,
        to_ns: lost.sent_ns,
        class: "bad".to_owned(),
        title: format!("{} at offset {}", lost.value, lost.offset),
    });
    Chart::lanes("Lost and unseen records, by the time they were sent", end_ns, bars.collect())
}

/// The partitions something is wrong with.
fn concerned(material: &Material<'_>, lost: &[Lost]) -> BTreeSet<PartitionKey> {
    let examples = material.verdict.anomalies.iter().flat_map(|(_, found)| &found.examples);
    examples.map(|example| example.partition).chain(lost.iter().map(|lost| lost.partition)).collect()
}

/// Offsets over time: what was acknowledged, and what of it is gone.
fn offsets(history: &[Operation], partition: PartitionKey, lost: &[Lost], end_ns: u64) -> Chart {
    let of = acknowledged(history).filter(|(operation, _)| operation.partition == partition);
    let mark = |at_ns, offset: u64, class: &str| Mark { at_ns, value: offset as f64, class: class.to_owned() };
    let all: Vec<Mark> = of.map(|(operation, offset)| mark(operation.completed_ns, offset, "ok")).collect();
    // Enough to see a line.
    let every = all.len().div_ceil(2_000).max(1);
    let mut marks: Vec<Mark> = all.into_iter().step_by(every).collect();
    let gone = lost.iter().filter(|lost| lost.partition == partition);
    marks.extend(gone.map(|lost| mark(lost.sent_ns, lost.offset, "bad")));
    Chart::marks(&format!("Offsets acknowledged in {partition}; red: not there in the end"), end_ns, marks)
}

#[cfg(test)]
mod tests;
