//! What a replica does whose log is damaged while its end and its vote are sound: it votes and appends as ever, and does
//! not lead, since others can serve what it cannot.

use std::collections::BTreeMap;

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use quorate_cluster_config::ReplicaId;

use crate::{group::Group, types::LogId};

impl Group {
    /// Keeps a replica whose log is damaged from standing for leader, and makes it stop leading if it does. No replica
    /// accepts a transfer of leadership, damaged or not: none is ever sent.
    ///
    /// The only voter of its group goes on: nobody else has what it holds, damaged or sound.
    pub(crate) fn heed_damage(&self) {
        let Some(damage) = self.store().damage() else { return };
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<ReplicaId> = metrics.membership_config.membership().voter_ids().collect();
        self.raft().runtime_config().elect(voters == [self.replica()]);
        let matched = metrics.replication.as_ref().filter(|_| metrics.state == ServerState::Leader);
        let others = voters.iter().filter(|voter| **voter != self.replica());
        let Some(to) = matched.and_then(|matched| successor(others, matched, metrics.local_committed)) else { return };
        tracing::warn!(replica = %self.replica(), %to, damage, "the log of this leader is damaged: another one is to lead");
        // Without a transfer on the wire this makes Raft fall silent: it takes no more proposals and sends no more
        // heartbeats, but what it has goes on to the followers. After an election timeout they elect one of them.
        let raft = self.raft().clone();
        tokio::spawn(async move { raft.trigger().transfer_leader(to).await });
    }
}

/// The voter that has most of the log, if that is all that is committed: without such a one the group would have no
/// leader for longer than an election takes.
fn successor<'a>(
    others: impl Iterator<Item = &'a ReplicaId>,
    matched: &BTreeMap<ReplicaId, Option<LogId>>,
    committed: Option<LogId>,
) -> Option<ReplicaId> {
    let has = |voter: &ReplicaId| matched.get(voter).copied().flatten();
    let (last, voter) = others.map(|voter| (has(voter), *voter)).max()?;
    (last >= committed).then_some(voter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    #[test]
    fn the_voter_with_most_of_the_log_succeeds_if_it_has_all_that_is_committed() {
        let at = |index| Some(log_id(2, index));
        let matched =
            BTreeMap::from([(1, at(9)), (2, at(4)), (3, at(7)), (4, None)].map(|(id, at)| (ReplicaId(id), at)));
        let choose = |others: &[u64], committed| {
            let others: Vec<_> = others.iter().copied().map(ReplicaId).collect();
            successor(others.iter(), &matched, committed).map(|voter| voter.0)
        };
        assert_eq!(choose(&[2, 3, 4], at(7)), Some(3));
        assert_eq!(choose(&[2, 3, 4], at(8)), None, "all lag");
        assert_eq!(choose(&[2, 4, 5], at(4)), Some(2));
        assert_eq!(choose(&[], at(4)), None, "there is nobody else");
    }
}
