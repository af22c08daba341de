//! Whether a history is one that a replicated log may have: pure functions of it.
//!
//! Each partition is judged by itself, as a `View`. Names and definitions of the anomalies follow Jepsen's workloads
//! for Kafka and NATS; [`AnomalyKind::definition`] has them.
//!
//! Not here: whether faults were injected (the run knows), and how long anything took.

mod anomaly;
mod ends;
mod groups;
mod linear;
mod loss;
mod order;
mod polls;
mod replicas;
mod trims;
mod values;
mod view;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::{Call, Operation, Outcome};

pub use anomaly::{Anomaly, AnomalyKind, Findings, Found};
use view::View;

/// Fewer acknowledged writes prove nothing.
pub const ACKNOWLEDGED_MIN: u64 = 1_000;

/// What a history holds and what is wrong with it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// How many operations of each kind it has.
    pub counts: Counts,
    /// What is wrong.
    pub findings: Findings,
    /// Why the history proves little even if nothing is wrong.
    pub inconclusive: Vec<String>,
}

/// How many operations there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Those of them that had an offset for a condition.
    pub conditional: u64,
    /// Writes of which nobody knows.
    pub unknown: u64,
    /// Writes that provably were not done.
    pub failed: u64,
    /// Polls that brought records.
    pub polls: u64,
    /// Records they brought.
    pub records_polled: u64,
    /// Linearizable end offsets.
    pub end_offsets: u64,
    /// Linearizable reads of what a group has committed.
    pub committed_offsets: u64,
    /// Partitions given to members of groups.
    pub assignments: u64,
    /// Deletions of records that were done.
    pub trims: u64,
    /// Consumers that were told that what they were to read next is deleted.
    pub overtaken: u64,
    /// Records of all drains.
    pub records_drained: u64,
    /// Replicas of which all that readers get was read.
    pub replicas_read: u64,
    /// Replicas whose logs were read from their files.
    pub replicas: u64,
}

/// Judges a history.
#[must_use]
pub fn check(history: &[Operation]) -> Report {
    let mut partitions: BTreeMap<_, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        partitions.entry(operation.partition).or_default().push(operation);
    }
    let mut report = Report { counts: count(history), ..Report::default() };
    for (partition, operations) in partitions {
        let view = View::new(partition, &operations);
        if view.drain.is_none() {
            report.inconclusive.push(format!("the drain of {partition} did not finish"));
        }
        judge(&view, &mut report.findings);
    }
    if report.counts.acknowledged < ACKNOWLEDGED_MIN {
        let acknowledged = report.counts.acknowledged;
        report.inconclusive.push(format!("{acknowledged} writes were acknowledged, fewer than {ACKNOWLEDGED_MIN}"));
    }
    report
}

fn judge(view: &View<'_>, findings: &mut Findings) {
    values::judge(view, findings);
    loss::judge(view, findings);
    order::judge(view, findings);
    polls::judge(view, findings);
    ends::judge(view, findings);
    replicas::judge(view, findings);
    groups::judge(view, findings);
    trims::judge(view, findings);
}

fn count(history: &[Operation]) -> Counts {
    let mut counts = Counts::default();
    for operation in history {
        match &operation.call {
            Call::Send { outcome, .. } | Call::Append { outcome, .. } => match outcome {
                Outcome::Ok(_) => {
                    counts.acknowledged += 1;
                    counts.conditional += u64::from(matches!(operation.call, Call::Append { .. }));
                }
                Outcome::Info(_) => counts.unknown += 1,
                Outcome::Fail(_) => counts.failed += 1,
            },
            Call::Poll { outcome: Outcome::Ok(reads) } => {
                counts.polls += 1;
                counts.records_polled += reads.len() as u64;
            }
            Call::EndOffset { outcome: Outcome::Ok(_) } => counts.end_offsets += 1,
            Call::Committed { outcome: Outcome::Ok(Some(_)), .. } => counts.committed_offsets += 1,
            Call::Assigned { .. } => counts.assignments += 1,
            Call::Trim { outcome: Outcome::Ok(_), .. } => counts.trims += 1,
            Call::Deleted { .. } => counts.overtaken += 1,
            Call::Drain { outcome: Outcome::Ok(reads) } => counts.records_drained += reads.len() as u64,
            Call::DrainOfNode { outcome: Outcome::Ok(_), .. } => counts.replicas_read += 1,
            Call::Replica { outcome: Outcome::Ok(_), .. } => counts.replicas += 1,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
