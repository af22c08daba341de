//! What the drain did not return: `lost-write`, `unseen`, `uncommitted-read`.

use std::collections::BTreeMap;

use super::{AnomalyKind, Findings, view::View};

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    if view.drain.is_none() {
        return;
    }
    // Whatever was to be deleted: from the first record that is there, none may be missing.
    let first = view.drain.and_then(|drain| drain.first()).map_or(u64::MAX, |(offset, _)| *offset);
    let kept_from = view.kept_from(u64::MAX).min(first);
    let mut polled = BTreeMap::new();
    for (offset, value) in view.polled().filter(|(offset, _)| *offset >= kept_from) {
        if let Some(value) = value.filter(|value| !view.drained.contains_key(value)) {
            polled.insert(value, *offset);
        }
    }
    let mut lost = BTreeMap::new();
    for (value, offset) in polled {
        findings.add(AnomalyKind::UncommittedRead, view.partition, || {
            format!("{value} was polled at offset {offset} and is gone")
        });
        lost.insert(value, (offset, "polled"));
    }
    let missing = view.acknowledged().filter(|(value, ..)| !view.drained.contains_key(value));
    for (value, _, offset) in missing.filter(|(_, _, offset)| *offset >= kept_from) {
        if view.polled_max.is_some_and(|max| offset <= max) {
            lost.insert(value, (offset, "acknowledged"));
        } else {
            findings.add(AnomalyKind::Unseen, view.partition, || {
                format!("{value} was acknowledged at offset {offset} and nobody ever read it")
            });
        }
    }
    for (value, (offset, how)) in lost {
        findings.add(AnomalyKind::LostWrite, view.partition, || {
            format!("{value} was {how} at offset {offset}, and the drain did not return it")
        });
    }
}
