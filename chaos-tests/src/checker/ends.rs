//! Linearizable end offsets: `stale-end`.

use super::{AnomalyKind, Findings, view::View};

/// An end offset must lie beyond all that was known to be committed before it was asked for: what was acknowledged, what
/// was polled, and what lay below an end offset already given.
pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    let acknowledged = view.acknowledged().map(|(_, send, offset)| (send.completed_ns, offset + 1, "acknowledged"));
    let polled = view.polled_with_times().map(|((offset, _), at)| (at, offset + 1, "polled"));
    let given = view.ends.iter().map(|end| (end.completed_ns, end.offset, "below an end offset given"));
    let mut known: Vec<_> = acknowledged.chain(polled).chain(given).collect();
    known.sort_unstable();
    // From here on, each holds the greatest end so far.
    for at in 1..known.len() {
        if known[at - 1].1 > known[at].1 {
            (known[at].1, known[at].2) = (known[at - 1].1, known[at - 1].2);
        }
    }
    for end in &view.ends {
        let before = known.partition_point(|(at, ..)| *at < end.invoked_ns);
        let Some((_, least, how)) = before.checked_sub(1).map(|at| known[at]).filter(|known| known.1 > end.offset)
        else {
            continue;
        };
        findings.add(AnomalyKind::StaleEnd, view.partition, || {
            format!("the end was given as {}, but offset {} had been {how} before", end.offset, least - 1)
        });
    }
}
