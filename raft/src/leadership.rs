//! Handing leadership over: when a node stops, and when another replica can serve what this one cannot.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use openraft::{Raft, ServerState, async_runtime::watch::WatchReceiver, raft::TransferLeaderRequest};
use quorate_cluster_config::ReplicaId;

use crate::{
    group::Group,
    state_machine::StateMachine,
    types::{LogId, TypeConfig},
};

/// How long a leader waits for a follower that has all of its log, before it hands over.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// How long it then waits to be followed by another leader.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);
/// How long the successor waits until what it has is on stable storage.
const TAKE_UP_MAX: Duration = Duration::from_millis(500);
/// Between two looks at how far the followers are; Raft tells of each change only by its metrics.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

impl Group {
    /// Hands leadership over to the voter with most of the log, if this replica leads and there is one that keeps up.
    /// Returns whether another replica is known to lead by then; waits four seconds at most.
    ///
    /// The leader takes no proposals while it hands over: their proposers are told to ask again.
    pub async fn hand_over(&self) -> bool {
        match self.successor(None, CATCH_UP_MAX).await {
            Some(to) => self.hand_over_to(to).await,
            None => !self.leads(),
        }
    }

    /// Hands leadership over to this voter, if this replica leads and that one keeps up; see [`Group::hand_over`]. Returns
    /// whether another replica is known to lead by then.
    pub async fn hand_over_if_it_keeps_up(&self, to: ReplicaId) -> bool {
        match self.successor(Some(to), CATCH_UP_MAX).await {
            Some(to) => self.hand_over_to(to).await,
            None => !self.leads(),
        }
    }

    /// Hands leadership over to a voter, if this replica leads; see [`Group::hand_over`].
    pub async fn hand_over_to(&self, to: ReplicaId) -> bool {
        transfer(self.raft().clone(), self.replica(), to, self.abdicated().clone()).await
    }

    fn leads(&self) -> bool {
        self.raft().metrics().borrow_watched().state == ServerState::Leader
    }

    /// The voter to hand over to, or that one; waits for one that has all that this leader has in its log when asked.
    async fn successor(&self, only: Option<ReplicaId>, patience: Duration) -> Option<ReplicaId> {
        let end = self.store().log().next_index();
        let until = tokio::time::Instant::now() + patience;
        loop {
            if !self.leads() {
                return None;
            }
            let metrics = self.raft().metrics();
            let found = {
                let metrics = metrics.borrow_watched();
                let voters: Vec<ReplicaId> = metrics.membership_config.membership().voter_ids().collect();
                if voters.iter().all(|voter| *voter == self.replica()) {
                    return None;
                }
                let others =
                    voters.iter().filter(|voter| **voter != self.replica() && only.is_none_or(|only| only == **voter));
                let matched = metrics.replication.as_ref();
                matched.and_then(|matched| successor(others, matched, metrics.local_committed))
            };
            let caught_up = found.filter(|(_, last)| last.is_some_and(|last| last.index + 1 >= end));
            if let Some((voter, _)) = caught_up.or(found.filter(|_| tokio::time::Instant::now() >= until)) {
                return Some(voter);
            }
            if tokio::time::Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Takes a transfer of leadership up, or says why not. All replicas are told of it, so that they grant the vote.
    pub(crate) async fn accept_transfer(
        &self,
        request: TransferLeaderRequest<TypeConfig>,
    ) -> io::Result<Result<(), String>> {
        if *request.to_node_id() == self.replica()
            && let Some(damage) = self.store().damage()
        {
            return Ok(Err(format!("its log is damaged: {damage}")));
        }
        let taking = tokio::time::timeout(TAKE_UP_MAX, self.raft().handle_transfer_leader(request)).await;
        let Ok(taken) = taking else { return Ok(Err("its log is not on stable storage in time".to_owned())) };
        Ok(taken.map_err(io::Error::other)?.map_err(|error| error.to_string()))
    }
}

/// Hands leadership over; tells whether another replica is known to lead by then. A leader that was asked for that takes
/// nothing any more in its term, whatever comes of it: if nobody follows it, it is noted that it has abdicated.
pub(crate) async fn transfer(
    raft: Raft<TypeConfig, StateMachine>,
    us: ReplicaId,
    to: ReplicaId,
    abdicated: Arc<AtomicU64>,
) -> bool {
    let mut metrics = raft.metrics();
    let term = metrics.borrow_watched().current_term;
    let handed = async {
        if raft.trigger().transfer_leader(to).await.is_err() {
            return;
        }
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if leader.is_some_and(|leader| leader != us) || metrics.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(HAND_OVER_MAX, handed).await.is_ok() {
        return true;
    }
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    if metrics.state == ServerState::Leader && metrics.current_term == term {
        tracing::warn!(replica = %us, %to, term, "leadership could not be handed over; another replica is to stand");
        abdicated.store(term, Relaxed);
    }
    false
}

/// The voter that has most of the log, if that is all that is committed: without such a one the group would have no
/// leader for longer than an election takes.
pub(crate) fn successor<'a>(
    others: impl Iterator<Item = &'a ReplicaId>,
    matched: &BTreeMap<ReplicaId, Option<LogId>>,
    committed: Option<LogId>,
) -> Option<(ReplicaId, Option<LogId>)> {
    let has = |voter: &ReplicaId| matched.get(voter).copied().flatten();
    let (last, voter) = others.map(|voter| (has(voter), *voter)).max()?;
    (last >= committed).then_some((voter, last))
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
            successor(others.iter(), &matched, committed).map(|(voter, _)| voter.0)
        };
        assert_eq!(choose(&[2, 3, 4], at(7)), Some(3));
        assert_eq!(choose(&[2, 3, 4], at(8)), None, "all lag");
        assert_eq!(choose(&[2, 4, 5], at(4)), Some(2));
        assert_eq!(choose(&[], at(4)), None, "there is nobody else");
    }
}
