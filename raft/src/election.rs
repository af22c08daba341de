//! Elections of groups that have no timers of their own: the node notices that a leader is gone, for all groups together,
//! and has the replica stand that has most of the log.
//!
//! *Safety* is Raft's own: a leader needs the votes of a majority whose logs do not go beyond its own. The only rule set
//! aside is that a voter keeps to a leader it has heard from lately, which protects against disturbance, not against loss. A
//! replica stands on the condition that its vote is still the one that was looked at.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use openraft::{
    ServerState,
    async_runtime::watch::WatchReceiver,
    raft::TransferLeaderRequest,
    vote::{RaftLeaderId, RaftVote},
};
use quorate_cluster_config::{NodeId, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::{
    group::{Group, Role},
    types::{LogId, Members, Vote},
};

/// How long a replica waits until its own vote is on stable storage, before it stands.
const VOTE_SAVED_WITHIN: Duration = Duration::from_millis(500);

/// How long Raft may take to take an order: its queue is full when its disk hangs.
const TRIGGER_MAX: Duration = Duration::from_millis(100);
/// How long the first try of a leader that was started anew may take.
const FIRST_TRY: Duration = Duration::from_millis(250);

/// How far a log goes: of two logs, the greater one may be elected by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogTail {
    /// The term of the last entry.
    pub term: u64,
    /// One past its index.
    pub end: u64,
}

/// What a replica knows of its group's leader, from one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    vote: Vote,
    /// What the voters are of.
    membership: Option<LogId>,
    /// What the replica is doing.
    pub role: Role,
    /// Those that vote, while a change is under way those that did or will.
    pub voters: Members,
    /// The voters of which a majority decides; while a change is under way two sets of them, a majority of each.
    pub quorums: Vec<Members>,
    /// Whether the replica's log is damaged and there are others: then it does not stand.
    pub unfit: bool,
    leader_node: Option<NodeId>,
}

impl Ballot {
    /// The term the replica is in.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.vote.leader_id().term()
    }

    /// The replica that it votes for or follows.
    #[must_use]
    pub fn candidate(&self) -> ReplicaId {
        *RaftLeaderId::node_id(self.vote.leader_id())
    }

    /// Whether a replica is the only voter.
    fn is_alone(&self, replica: ReplicaId) -> bool {
        self.voters.len() == 1 && self.voters.contains_key(&replica)
    }

    /// Whether that one was elected, as far as the replica knows.
    #[must_use]
    pub fn is_elected(&self) -> bool {
        RaftVote::is_committed(&self.vote)
    }

    /// The node of that one, if it is a member.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        self.leader_node
    }
}

impl Group {
    /// Whether a ballot is what this replica still knows; cheaper than a new one.
    #[must_use]
    pub fn is_current(&self, ballot: &Ballot) -> bool {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow_watched();
        let same = metrics.vote == ballot.vote && *metrics.membership_config.log_id() == ballot.membership;
        same && self.role_now(metrics.state, ballot.term()) == ballot.role
            && (self.store().damage().is_some() && !ballot.is_alone(self.replica())) == ballot.unfit
    }

    fn role_now(&self, state: ServerState, term: u64) -> Role {
        if self.store().log().failure().is_some() { Role::Stopped } else { self.role_in(state, term) }
    }

    /// What this replica knows of its group's leader.
    #[must_use]
    pub fn ballot(&self) -> Ballot {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let node_of = |replica: &ReplicaId| membership.get_node(replica).copied();
        let voters: Members = membership.voter_ids().filter_map(|voter| Some((voter, node_of(&voter)?))).collect();
        let of_config = |config: &std::collections::BTreeSet<ReplicaId>| {
            config.iter().filter_map(|voter| Some((*voter, node_of(voter)?))).collect()
        };
        let quorums: Vec<Members> = membership.get_joint_config().iter().map(of_config).collect();
        let vote = metrics.vote;
        let ballot = Ballot {
            vote,
            membership: *metrics.membership_config.log_id(),
            role: self.role_now(metrics.state, vote.leader_id().term()),
            leader_node: node_of(RaftLeaderId::node_id(vote.leader_id())),
            unfit: false,
            voters,
            quorums,
        };
        let unfit = self.store().damage().is_some() && !ballot.is_alone(self.replica());
        Ballot { unfit, ..ballot }
    }

    /// How far this replica's log goes.
    #[must_use]
    pub fn log_tail(&self) -> LogTail {
        let metrics = self.raft().data_metrics();
        let last = metrics.borrow_watched().last_log;
        last.map_or_else(LogTail::default, |id| LogTail { term: id.leader_id.term, end: id.index + 1 })
    }

    /// Stands for leader, if this replica's vote is still that of the ballot. Returns once the votes are asked for.
    pub async fn stand(&self, ballot: &Ballot) {
        if ballot.is_elected() && ballot.candidate() == self.replica() {
            // It led before it was started anew: what is on its disk says so still. Those that were not started anew keep to
            // what they last heard, and refuse; that they set aside at the second try.
            drop(tokio::time::timeout(TRIGGER_MAX, self.raft().trigger().elect(false)).await);
            tokio::time::sleep(FIRST_TRY).await;
            let now = self.ballot();
            if now.is_elected() || now.candidate() != self.replica() {
                return;
            }
            return self.stand_as(&now).await;
        }
        self.stand_as(ballot).await;
    }

    async fn stand_as(&self, ballot: &Ballot) {
        let request = TransferLeaderRequest::new(ballot.vote, self.replica(), None);
        let standing = tokio::time::timeout(VOTE_SAVED_WITHIN, self.raft().handle_transfer_leader(request)).await;
        if !matches!(standing, Ok(Ok(Ok(())))) {
            tracing::debug!(replica = %self.replica(), ?standing, "did not stand for leader");
        }
    }

    /// Has a leader tell its followers how far the log is committed, and hear whether they are there.
    pub async fn heartbeat(&self) {
        drop(tokio::time::timeout(TRIGGER_MAX, self.raft().trigger().heartbeat()).await);
    }

    /// Has this replica take no proposals while it leads, since no majority would hear of them; or take them again.
    pub fn mute(&self, muted: bool) {
        if self.muted().swap(muted, Relaxed) != muted {
            tracing::info!(replica = %self.replica(), muted, "whether a majority of the replicas can be reached has changed");
        }
    }

    /// Has a leader try at once to reach replicas that could not be reached.
    pub async fn retry(&self, replicas: Vec<ReplicaId>) {
        let metrics = self.raft().server_metrics();
        if metrics.borrow_watched().state == ServerState::Leader {
            drop(tokio::time::timeout(TRIGGER_MAX, self.raft().trigger().reset_backoff(replicas)).await);
        }
    }
}
