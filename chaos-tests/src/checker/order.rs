//! The order of writes: `nonmonotonic-send`, `realtime-order`.

use super::{
    AnomalyKind, Findings,
    view::{Send, View},
};
use crate::history::Value;

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    nonmonotonic_send(view, findings);
    realtime_order(view, findings);
}

/// Values ascend in the order of a process's sends.
fn nonmonotonic_send(view: &View<'_>, findings: &mut Findings) {
    let mut greatest: Option<(Value, u64)> = None;
    for (value, _, offset) in view.acknowledged() {
        match greatest {
            Some((before, at)) if value.process == before.process && offset <= at => {
                findings.add(AnomalyKind::NonmonotonicSend, view.partition, || {
                    format!("{value} is at offset {offset}, and {before}, which was sent before it, at {at}")
                });
            }
            _ => greatest = Some((value, offset)),
        }
    }
}

/// A send whose offset is known.
struct Placed<'a> {
    offset: u64,
    value: Value,
    send: &'a Send<'a>,
}

/// In the order of offsets, no acknowledgement may be earlier than the latest send so far: O(n log n).
fn realtime_order(view: &View<'_>, findings: &mut Findings) {
    let placed = view.sends.iter().filter_map(|(value, send)| {
        // A write of which its producer knows nothing has the offset at which it was drained.
        let offset = send.outcome.ok().or_else(|| view.drained.get(value))?;
        Some(Placed { offset: *offset, value: *value, send })
    });
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by_key(|placed| placed.offset);
    let mut latest: Option<&Placed<'_>> = None;
    for this in &placed {
        let early = |latest: &&Placed<'_>| this.send.completed_ns < latest.send.invoked_ns;
        if let Some(latest) = latest.filter(early).filter(|_| this.send.outcome.ok().is_some()) {
            findings.add(AnomalyKind::RealtimeOrder, view.partition, || {
                format!(
                    "{} was acknowledged at offset {}, {} ns before {} was sent, which is at offset {}",
                    this.value,
                    this.offset,
                    latest.send.invoked_ns - this.send.completed_ns,
                    latest.value,
                    latest.offset
                )
            });
        }
        if latest.is_none_or(|latest| this.send.invoked_ns > latest.send.invoked_ns) {
            latest = Some(this);
        }
    }
}
