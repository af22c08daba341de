//! When a group consumer commits.

use std::time::Duration;

/// When a [`GroupConsumer`](super::GroupConsumer) commits what was processed. A record counts as processed once the next one,
/// or the next poll, is asked for. Whatever the mode, a member that gives up partitions, or leaves, first commits what it has
/// processed of them, but for [`CommitMode::Manual`].
///
/// In all modes records are delivered *at least once*: those that were processed and not committed when a member dies are
/// delivered again, to another one. Who stores the offsets with the results, in one transaction, gets *exactly once*; see
/// [`GroupConsumer::seek`](super::GroupConsumer::seek).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// Within a poll, at most so often. The default: every second.
    Interval(Duration),
    /// At the start of each poll, before anything else is handed out: of the records of one poll at most are delivered again.
    AfterProcessing,
    /// Only when [`GroupConsumer::commit`](super::GroupConsumer::commit) is called.
    Manual,
}

impl Default for CommitMode {
    fn default() -> Self {
        Self::Interval(Duration::from_secs(1))
    }
}
