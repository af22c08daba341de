//! Which value is at which offset: `duplicate`, `inconsistent-offsets`, `aborted-read`, `unexpected`, `ack-mismatch`.

use std::collections::{BTreeMap, BTreeSet};

use super::{AnomalyKind, Findings, view::View};
use crate::history::{Outcome, Value};

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    let mut at_offset: BTreeMap<u64, BTreeSet<Value>> = BTreeMap::new();
    let mut offsets: BTreeMap<Value, BTreeSet<u64>> = BTreeMap::new();
    let mut foreign = BTreeSet::new();
    for (offset, value) in view.read() {
        match value {
            Some(value) => {
                at_offset.entry(*offset).or_default().insert(*value);
                offsets.entry(*value).or_default().insert(*offset);
            }
            None => drop(foreign.insert(*offset)),
        }
    }
    for offset in foreign {
        findings.add(AnomalyKind::Unexpected, view.partition, || format!("offset {offset} holds bytes nobody sent"));
    }
    for (offset, values) in at_offset.iter().filter(|(_, values)| values.len() > 1) {
        findings.add(AnomalyKind::InconsistentOffsets, view.partition, || {
            format!("offset {offset} was read as {}", listed(values))
        });
    }
    for (value, offsets) in &offsets {
        if offsets.len() > 1 {
            let detail = || format!("{value} was read at offsets {}", listed(offsets));
            findings.add(AnomalyKind::Duplicate, view.partition, detail);
        }
        match view.sends.get(value).map(|send| send.outcome) {
            None => findings.add(AnomalyKind::Unexpected, view.partition, || {
                format!("{value} was read at offset {}, but never sent", listed(offsets))
            }),
            Some(Outcome::Fail(why)) => findings.add(AnomalyKind::AbortedRead, view.partition, || {
                format!("{value} was read at offset {}, but its write failed: {why}", listed(offsets))
            }),
            Some(Outcome::Ok(_) | Outcome::Info(_)) => {}
        }
    }
    for (value, send) in &view.sends {
        let placed = send.outcome.ok().or_else(|| view.drained.get(value));
        if let (Some(expected), Some(offset)) = (send.expected, placed)
            && expected != *offset
        {
            findings.add(AnomalyKind::AckMismatch, view.partition, || {
                format!("{value} was to be appended at offset {expected} or not at all, and is at {offset}")
            });
        }
    }
    for (value, _, offset) in view.acknowledged() {
        let others = at_offset.get(&offset).into_iter().flatten().filter(|other| **other != value);
        let others: BTreeSet<Value> = others.copied().collect();
        if !others.is_empty() {
            findings.add(AnomalyKind::AckMismatch, view.partition, || {
                format!("{value} was acknowledged at offset {offset}, which holds {}", listed(&others))
            });
        }
    }
}

fn listed<T: ToString>(things: &BTreeSet<T>) -> String {
    things.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}
