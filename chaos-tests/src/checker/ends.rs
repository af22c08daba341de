//! Linearizable end offsets: `stale-end`.

use super::{
    AnomalyKind, Findings,
    linear::{Known, stale},
    view::View,
};

/// An end offset must lie beyond all that was known to be committed before it was asked for: what was acknowledged, what
/// was polled, and what lay below an end offset already given.
pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    let known = |at_ns, least, how| Known { at_ns, least, how };
    let acknowledged =
        view.acknowledged().map(|(_, send, offset)| known(send.completed_ns, offset + 1, "acknowledged"));
    let polled = view.polled_with_times().map(|((offset, _), at)| known(at, offset + 1, "polled"));
    let given = view.ends.iter().map(|end| known(end.completed_ns, end.offset, "below an end offset given"));
    for (end, Known { least, how, .. }) in stale(acknowledged.chain(polled).chain(given), &view.ends) {
        findings.add(AnomalyKind::StaleEnd, view.partition, || {
            format!("the end was given as {}, but offset {} had been {how} before", end.offset, least - 1)
        });
    }
}
