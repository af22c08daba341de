//! What a replica does whose log is damaged while its end and its vote are sound: it votes and appends as ever, and does
//! not lead, since others can serve what it cannot. Its damage is mended from its peers: see `repair`.

use std::sync::atomic::Ordering::Relaxed;

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use quorate_cluster_config::ReplicaId;

use crate::{
    group::{Group, Role},
    leadership::{successor, transfer},
};

impl Group {
    /// Keeps a replica whose log is damaged from standing for leader, and makes it hand leadership over if it leads; lets
    /// it stand again once all is mended. It takes no leadership that is handed to it meanwhile.
    ///
    /// The only voter of its group goes on: nobody else has what it holds, damaged or sound.
    pub(crate) fn heed_damage(&self) {
        let damage = self.store().damage();
        let Some(damage) = damage else {
            if self.damaged().swap(false, Relaxed) {
                tracing::info!(replica = %self.replica(), "the log of this replica is mended: it may lead again");
                self.raft().runtime_config().elect(true);
            }
            return;
        };
        self.damaged().store(true, Relaxed);
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<ReplicaId> = metrics.membership_config.membership().voter_ids().collect();
        self.raft().runtime_config().elect(voters == [self.replica()]);
        let matched = metrics.replication.as_ref();
        // One that has tried in vain waits to be deposed.
        let leads =
            metrics.state == ServerState::Leader && self.role_in(metrics.state, metrics.current_term) == Role::Leader;
        let matched = matched.filter(|_| leads);
        let others = voters.iter().filter(|voter| **voter != self.replica());
        let found = matched.and_then(|matched| successor(others, matched, metrics.local_committed));
        let Some((to, _)) = found else { return };
        tracing::warn!(replica = %self.replica(), %to, damage, "the log of this leader is damaged: another one is to lead");
        tokio::spawn(transfer(self.raft().clone(), self.replica(), to, self.abdicated().clone()));
    }
}
