//! What the replicas hold, as they give it to readers and in their logs: `replica-divergence`.

use super::{AnomalyKind, Findings, view::View};
use crate::history::{Digest, LogEntry};

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    judge_reads(view, findings);
    judge_logs(view, findings);
}

/// Each replica gives what the drain was given, no record more or less.
fn judge_reads(view: &View<'_>, findings: &mut Findings) {
    let Some(drain) = view.drain.map(Digest::of) else { return };
    for (node, read) in view.drains_of_nodes.iter().filter(|(_, read)| **read != drain) {
        findings.add(AnomalyKind::ReplicaDivergence, view.partition, || {
            format!("node {node} gives {read:?} where the leader gave {drain:?}")
        });
    }
}

/// Compares the logs entry by entry up to the last one known to be committed that each of them has. All that the drain
/// returned is committed; what lies behind it may differ until the next leader has settled it.
fn judge_logs(view: &View<'_>, findings: &mut Findings) {
    let committed = view.drain.and_then(|drain| drain.last()).map_or(0, |(offset, _)| offset + 1);
    let mut reference: Option<(u64, &[LogEntry])> = None;
    for (node, log) in &view.replicas {
        let log = match log {
            Ok(log) => settled(log, committed),
            Err(why) => {
                findings.add(AnomalyKind::ReplicaDivergence, view.partition, || {
                    format!("the log of the replica on node {node} cannot be read: {why}")
                });
                continue;
            }
        };
        if let Some((other, reference)) = reference {
            let differs = reference.iter().zip(log).find(|(theirs, ours)| theirs != ours);
            if let Some((theirs, ours)) = differs {
                findings.add(AnomalyKind::ReplicaDivergence, view.partition, || {
                    format!("node {other} has {theirs:?} where node {node} has {ours:?}")
                });
            }
        }
        // The longest so far, since all are compared with it.
        if reference.is_none_or(|(_, longest)| longest.len() < log.len()) {
            reference = Some((*node, log));
        }
    }
}

/// The entries up to the last that brought the end offset to `committed` or less.
fn settled(log: &[LogEntry], committed: u64) -> &[LogEntry] {
    let within = log.partition_point(|entry| entry.end_offset <= committed);
    let end = log[..within].last().map_or(0, |entry| entry.end_offset);
    if end == 0 {
        return &[];
    }
    // What follows without moving the end, as a new leader's blank entry, may be uncommitted.
    let first_at_end = log[..within].partition_point(|entry| entry.end_offset < end);
    &log[..within.min(first_at_end + 1)]
}
