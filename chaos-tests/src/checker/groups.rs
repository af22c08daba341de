//! What groups have committed: `group-regress`, `group-skip`.

use std::collections::BTreeSet;

use super::{
    AnomalyKind, Findings,
    linear::{Known, stale},
    view::{Group, View},
};
use crate::history::{Call, Outcome};

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    for (number, group) in &view.groups {
        regress(view, *number, group, findings);
        skip(view, *number, group, findings);
    }
}

/// What is read must be at or beyond all that was committed, or read, before it was asked for.
fn regress(view: &View<'_>, number: u32, group: &Group, findings: &mut Findings) {
    let known = |at_ns, least, how| Known { at_ns, least, how };
    let committed = group.commits.iter().map(|(at, offset)| known(*at, *offset, "committed"));
    let read = group.reads.iter().map(|read| known(read.completed_ns, read.offset, "read"));
    for (read, Known { least, how, .. }) in stale(committed.chain(read), &group.reads) {
        findings.add(AnomalyKind::GroupRegress, view.partition, || {
            format!("group {number} was said to be at {}, but {least} had been {how} before", read.offset)
        });
    }
}

/// From the first record a member was given, all that is committed past was given to some member.
fn skip(view: &View<'_>, number: u32, group: &Group, findings: &mut Findings) {
    let mut given = BTreeSet::new();
    for member in &group.members {
        for operation in view.polls.get(member).into_iter().flatten() {
            if let Call::Poll { outcome: Outcome::Ok(reads) } = &operation.call {
                given.extend(reads.iter().map(|(offset, _)| *offset));
            }
        }
    }
    let reads = group.reads.iter().map(|read| read.offset);
    let come_to = group.commits.iter().map(|(_, offset)| *offset).chain(reads).max().unwrap_or_default();
    let Some(first) = given.first().copied() else { return };
    for (offset, _) in view.drain.into_iter().flatten() {
        if (first..come_to).contains(offset) && !given.contains(offset) {
            findings.add(AnomalyKind::GroupSkip, view.partition, || {
                format!("group {number} has come to {come_to}, and offset {offset} was given to none of its members")
            });
        }
    }
}
