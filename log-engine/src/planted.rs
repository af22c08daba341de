//! What planted bugs have in common.

use quorate_planted_bugs::PlantedBug;

use crate::Completion;

/// What is to be told once something is synced; with the bug it is told at once.
pub(crate) fn told_early(bug: PlantedBug, done: Completion) -> Completion {
    if !bug.is_planted() {
        return done;
    }
    done(Ok(()));
    Box::new(|_| ())
}
