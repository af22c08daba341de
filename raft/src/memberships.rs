//! The memberships in a log, as far as a checkpoint may have to name one of them.

use crate::types::{LogId, StoredMembership};

/// The memberships in a log, oldest first; those older than the newest committed one may be missing.
///
/// Raft asks for the newest two only. A checkpoint asks for the one that held where a segment begins, and a truncation
/// may take a newer one away: so all that are not committed are kept, and the newest that is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memberships(Vec<StoredMembership>);

fn index_of(membership: &StoredMembership) -> Option<u64> {
    membership.log_id().as_ref().map(|id| id.index)
}

impl From<StoredMembership> for Memberships {
    /// Begins with the one that a snapshot holds.
    fn from(membership: StoredMembership) -> Self {
        Self(vec![membership])
    }
}

impl Memberships {
    /// Takes the next one in.
    pub(crate) fn push(&mut self, membership: StoredMembership) {
        let ascends = self.0.last().is_none_or(|last| index_of(last) < index_of(&membership));
        assert!(ascends, "memberships come in log order");
        self.0.push(membership);
    }

    /// The last one before this log index; the default one, which has no log id, if there is none.
    pub(crate) fn before(&self, index: u64) -> StoredMembership {
        let before = |membership: &&StoredMembership| index_of(membership) < Some(index);
        self.0.iter().rev().find(before).cloned().unwrap_or_default()
    }

    /// Forgets those from this log index on.
    pub(crate) fn truncate_from(&mut self, index: u64) {
        self.0.retain(|membership| index_of(membership) < Some(index));
    }

    /// Forgets all that are older than the newest committed one: no segment will begin before that.
    pub(crate) fn settle(&mut self, committed: Option<LogId>) {
        let committed = committed.map(|id| id.index);
        let settled = self.0.iter().rposition(|membership| index_of(membership) <= committed);
        self.0.drain(..settled.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn memberships(indexes: &[u64]) -> Memberships {
        let mut memberships = Memberships::default();
        indexes
            .iter()
            .for_each(|index| memberships.push(StoredMembership::new(Some(log_id(1, *index)), Default::default())));
        memberships
    }

    fn indexes(memberships: &Memberships) -> Vec<u64> {
        memberships.0.iter().filter_map(index_of).collect()
    }

    #[test]
    fn the_last_one_before_an_index_is_found() {
        let memberships = memberships(&[0, 4, 9]);
        let found = |index| index_of(&memberships.before(index));
        assert_eq!(
            [0, 1, 4, 5, 9, 10, u64::MAX].map(found),
            [None, Some(0), Some(0), Some(4), Some(4), Some(9), Some(9)]
        );
        assert_eq!(index_of(&Memberships::default().before(7)), None);
    }

    #[test]
    fn what_is_truncated_is_forgotten() {
        let mut memberships = memberships(&[0, 4, 9]);
        memberships.truncate_from(9);
        assert_eq!(indexes(&memberships), [0, 4]);
        memberships.push(StoredMembership::new(Some(log_id(2, 5)), Default::default()));
        memberships.truncate_from(1);
        assert_eq!(indexes(&memberships), [0]);
        memberships.truncate_from(0);
        assert_eq!(indexes(&memberships), [0; 0]);
    }

    #[test]
    fn the_newest_committed_one_and_all_after_it_are_kept() {
        for (committed, kept) in [(None, &[0, 4, 9][..]), (Some(3), &[0, 4, 9]), (Some(4), &[4, 9]), (Some(20), &[9])] {
            let mut memberships = memberships(&[0, 4, 9]);
            memberships.settle(committed.map(|index| log_id(1, index)));
            assert_eq!(indexes(&memberships), kept, "{committed:?}");
        }
    }
}
