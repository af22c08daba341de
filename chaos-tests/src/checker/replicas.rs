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

/// Compares the logs entry by entry up to the last one known to be committed that each of them has: what lies behind it
/// may differ until the next leader has settled it. What was deleted, one replica may have given up, and another not yet.
fn judge_logs(view: &View<'_>, findings: &mut Findings) {
    let committed = view.known_end();
    let kept_from = view.kept_from(u64::MAX);
    let mut logs: Vec<(u64, &[LogEntry])> = Vec::new();
    for (node, log) in &view.replicas {
        match log {
            Ok(log) => logs.push((*node, settled(log, committed))),
            Err(why) => findings.add(AnomalyKind::ReplicaDivergence, view.partition, || {
                format!("the log of the replica on node {node} cannot be read: {why}")
            }),
        }
    }
    for (at, one) in logs.iter().enumerate() {
        for other in &logs[..at] {
            if let Some(detail) = difference(*one, *other, kept_from) {
                findings.add(AnomalyKind::ReplicaDivergence, view.partition, || detail);
            }
        }
    }
}

/// How two logs differ, other than by what one of them has given up and by how far they go.
fn difference(one: (u64, &[LogEntry]), other: (u64, &[LogEntry]), kept_from: u64) -> Option<String> {
    let begins = |log: &[LogEntry]| log.first().map(|entry| entry.index);
    let (early, late) = if begins(one.1) <= begins(other.1) { (one, other) } else { (other, one) };
    let begin = begins(late.1)?;
    let given_up = early.1.partition_point(|entry| entry.index < begin);
    if let Some(last) = early.1[..given_up].last()
        && (kept_from == 0 || last.end_offset > kept_from)
    {
        let ((early, _), (late, _)) = (early, late);
        return Some(format!("node {late} has nothing before log index {begin}, where node {early} has {last:?}"));
    }
    let differs = early.1[given_up..].iter().zip(late.1).find(|(theirs, ours)| theirs != ours);
    differs.map(|(theirs, ours)| format!("node {} has {theirs:?} where node {} has {ours:?}", early.0, late.0))
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
