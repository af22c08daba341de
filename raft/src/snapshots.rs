//! Snapshots of a partition: its state where a segment begins, which stands for all entries before. Those of the metadata are
//! made where they are asked for: see `state_machine`.
//!
//! A trim entry alone says which records are deleted. Each replica then gives up whole segments by itself: at the newest
//! of its own checkpoints whose end offset is at or below the log start offset, and which is committed, it has Raft take a
//! snapshot, and Raft purges the log up to there. So a snapshot is small, and a new replica that installs one receives
//! the whole retained log behind it.
//!
//! *Architecture invariant:* nothing is purged that the current snapshot does not stand for.

use std::sync::Mutex;

use bytes::Bytes;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use quorate_log_engine::Log;

use crate::{
    checkpoint::Checkpoint,
    log_store::lock,
    types::{LogId, TypeConfig, log_id},
};

/// What names a snapshot: the last entry it stands for, and the last membership up to there.
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
/// A snapshot: its data is an encoded [`Checkpoint`].
pub(crate) type Snapshot = SnapshotOf<TypeConfig, Bytes>;

/// The snapshots of one replica.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// The newest one.
    current: Mutex<Option<Current>>,
    /// One that is about to become the newest.
    next: Mutex<Option<Snapshot>>,
}

#[derive(Clone, Debug)]
enum Current {
    /// The log has a checkpoint there.
    OnDisk(SnapshotMeta),
    /// A leader sent it while the log went beyond it, and no segment begins there. After a restart the log begins where
    /// it did before.
    InMemory(Snapshot),
}

fn last_of(current: Option<&Current>) -> Option<LogId> {
    match current? {
        Current::OnDisk(meta) | Current::InMemory(Snapshot { meta, .. }) => meta.last_log_id,
    }
}

fn meta_of(last_log_id: LogId, checkpoint: &Checkpoint) -> SnapshotMeta {
    SnapshotMeta { last_log_id: Some(last_log_id), last_membership: checkpoint.membership.clone() }
}

/// The newest checkpoint of a log at or before `next_index`, as a snapshot. Blocks.
pub(crate) fn of_checkpoint(log: &Log, next_index: u64) -> Option<Snapshot> {
    let (next_index, data) = log.last_checkpoint(next_index)?;
    let last = next_index.checked_sub(1)?;
    let checkpoint = Checkpoint::decode(data.clone()).ok()?;
    let meta = meta_of(log_id(log.term_of(last)?, last), &checkpoint);
    Some(Snapshot { meta, snapshot: data })
}

impl Snapshots {
    /// Finds the snapshot of a log whose first entries were trimmed away, right after it was opened: that where the log
    /// starts or, if its file is damaged, the next one that skips no retained record. Blocks.
    ///
    /// # Errors
    /// If there is none: then this replica could never bring another one up to date.
    pub(crate) fn open(log: &Log, committed: Option<LogId>, log_start_offset: u64) -> Result<Self, String> {
        let start = log.start().index;
        if start == 0 {
            return Ok(Self::default());
        }
        let end = committed.map_or(0, |id| id.index + 1);
        let segments = log.segments();
        let could_be = segments.iter().filter(|segment| {
            let in_reach = segment.base_index >= start && segment.base_index <= end;
            in_reach && (segment.base_index == start || segment.base_offset <= log_start_offset)
        });
        let begins_there = |base_index: u64| {
            let snapshot = of_checkpoint(log, base_index)?;
            snapshot.meta.last_log_id.is_some_and(|last| last.index + 1 == base_index).then_some(snapshot)
        };
        let found = could_be.map(|segment| segment.base_index).find_map(begins_there);
        let found = found.ok_or_else(|| format!("it has no sound checkpoint where its log starts, at {start}"))?;
        Ok(Self { current: Mutex::new(Some(Current::OnDisk(found.meta))), next: Mutex::default() })
    }

    /// The newest snapshot. Blocks.
    ///
    /// # Errors
    /// If the checkpoint it is made of cannot be read any more.
    pub(crate) fn current(&self, log: &Log) -> Result<Option<Snapshot>, String> {
        let current = lock(&self.current).clone();
        match current {
            None => Ok(None),
            Some(Current::InMemory(snapshot)) => Ok(Some(snapshot)),
            Some(Current::OnDisk(meta)) => {
                let next_index = meta.last_log_id.map_or(0, |last| last.index + 1);
                let found = of_checkpoint(log, next_index).filter(|found| found.meta == meta);
                found.map(Some).ok_or_else(|| format!("the checkpoint at {next_index} cannot be read"))
            }
        }
    }

    /// Makes a snapshot the one that is built next, unless there is a newer one; tells whether it did.
    pub(crate) fn offer(&self, snapshot: Snapshot) -> bool {
        let current = lock(&self.current);
        let newer = snapshot.meta.last_log_id > last_of(current.as_ref());
        if newer {
            *lock(&self.next) = Some(snapshot);
        }
        newer
    }

    /// Takes what was offered; it is the newest from now on.
    pub(crate) fn take_offered(&self) -> Option<Snapshot> {
        let mut current = lock(&self.current);
        // A leader may have sent a newer one since it was offered.
        let offered = lock(&self.next).take().filter(|next| next.meta.last_log_id > last_of(current.as_ref()))?;
        *current = Some(Current::OnDisk(offered.meta.clone()));
        Some(offered)
    }

    /// Takes over what a leader sent; `on_disk` if the log now begins there.
    pub(crate) fn install(&self, snapshot: Snapshot, on_disk: bool) {
        let current = if on_disk { Current::OnDisk(snapshot.meta) } else { Current::InMemory(snapshot) };
        *lock(&self.current) = Some(current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StoredMembership;

    fn snapshot(last: u64) -> Snapshot {
        let meta = SnapshotMeta { last_log_id: Some(log_id(1, last)), last_membership: StoredMembership::default() };
        Snapshot { meta, snapshot: Bytes::new() }
    }

    fn last(snapshot: Option<Snapshot>) -> Option<u64> {
        Some(snapshot?.meta.last_log_id?.index)
    }

    #[test]
    fn an_offer_is_taken_once_and_an_older_one_is_none() {
        let snapshots = Snapshots::default();
        assert_eq!(last(snapshots.take_offered()), None);
        assert!(snapshots.offer(snapshot(5)));
        assert_eq!(last(snapshots.take_offered()), Some(5));
        assert_eq!(last(snapshots.take_offered()), None);
        assert!(!snapshots.offer(snapshot(5)) && !snapshots.offer(snapshot(3)));
    }

    #[test]
    fn what_a_leader_sent_since_is_not_given_up_for_an_older_offer() {
        for on_disk in [false, true] {
            let snapshots = Snapshots::default();
            assert!(snapshots.offer(snapshot(5)));
            snapshots.install(snapshot(9), on_disk);
            assert_eq!(last(snapshots.take_offered()), None);
            assert!(!snapshots.offer(snapshot(8)) && snapshots.offer(snapshot(10)));
            assert_eq!(last(snapshots.take_offered()), Some(10));
        }
    }
}
