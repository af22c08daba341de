//! What was deleted: `false-trim`, `trimmed-read`.

use super::{
    AnomalyKind, Findings,
    view::{Deleted, View},
};

pub(super) fn judge(view: &View<'_>, findings: &mut Findings) {
    let of_trims = view.trims.iter().filter_map(|trim| Some((trim.completed_ns, trim.done?)));
    let of_trims = of_trims.map(|(completed_ns, log_start)| Deleted { completed_ns, log_start });
    for Deleted { completed_ns, log_start } in view.deleted.iter().copied().chain(of_trims) {
        let kept_from = view.kept_from(completed_ns);
        if log_start > kept_from {
            findings.add(AnomalyKind::FalseTrim, view.partition, || {
                format!("offsets before {log_start} are said to be deleted, and nobody had asked for any from {kept_from} on")
            });
        }
    }
    let deleted = view.trims.iter().filter_map(|trim| trim.done.map(|left| left.max(trim.before))).max();
    let first = view.drain.and_then(|drain| drain.first()).map(|(offset, _)| *offset);
    if let (Some(deleted), Some(first)) = (deleted, first)
        && first < deleted
    {
        findings.add(AnomalyKind::TrimmedRead, view.partition, || {
            format!("the drain returned offset {first}, though all before {deleted} had been deleted")
        });
    }
}
