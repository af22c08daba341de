//! What the drain did not return: `lost-write`, `unseen`, `uncommitted-read`.

use std::collections::BTreeMap;

use super::{AnomalyKind, Findings, view::View};

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    if view.drain.is_none() {
        return;
    }
    let mut polled = BTreeMap::new();
    for (offset, value) in view.polled() {
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
    for (value, _, offset) in view.acknowledged().filter(|(value, ..)| !view.drained.contains_key(value)) {
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
