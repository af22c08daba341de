//! What a consumer sees one after the other: `nonmonotonic-poll`, `poll-skip`.

use std::collections::BTreeSet;

use super::{AnomalyKind, Findings, view::View};
use crate::history::{Call, Outcome};

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    let known: BTreeSet<u64> =
        view.read().map(|(offset, _)| *offset).chain(view.acknowledged().map(|(_, _, offset)| offset)).collect();
    for (consumer, operations) in &view.polls {
        // Where it stands; unknown until its first record or seek.
        let mut next: Option<u64> = None;
        for operation in operations {
            match &operation.call {
                Call::Seek { offset } => next = Some(*offset),
                Call::Assigned { .. } => next = None,
                Call::Poll { outcome: Outcome::Ok(reads) } => {
                    for (offset, _) in reads {
                        if let Some(next) = next {
                            step(view, findings, &known, *consumer, (next, *offset));
                        }
                        next = Some(offset + 1);
                    }
                }
                // Its client has noticed, and goes on where it stood.
                Call::BrokenPoll { expected, found } if found < expected => {
                    step(view, findings, &known, *consumer, (*expected, *found));
                }
                Call::BrokenPoll { expected, found } => findings.add(AnomalyKind::PollSkip, view.partition, || {
                    format!("consumer {consumer} asked for offset {expected} and was given {found}")
                }),
                _ => {}
            }
        }
    }
}

fn step(view: &View<'_>, findings: &mut Findings, known: &BTreeSet<u64>, consumer: u32, (next, offset): (u64, u64)) {
    if offset < next {
        findings.add(AnomalyKind::NonmonotonicPoll, view.partition, || {
            format!("consumer {consumer} had offset {next} to read next and got {offset}")
        });
    } else if let Some(skipped) = known.range(next..offset).next() {
        findings.add(AnomalyKind::PollSkip, view.partition, || {
            format!("consumer {consumer} got offset {offset} and passed over {skipped}")
        });
    }
}
