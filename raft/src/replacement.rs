//! Replacing a replica of a group by another one, step by step: the only way a running group's members change.
//!
//! Each step is made by the group's leader and does nothing if it is done already: whoever drives a replacement may ask for
//! a step again, after a crash of its own, of the leader, or of both. A joint membership that a dead leader left behind is
//! completed before anything else.
//!
//! *Safety.* Raft's joint consensus (Ongaro, "Consensus: Bridging Theory and Practice", 2014, chapter 4), made by openraft. A
//! change is proposed on the condition that the membership is still the one it was derived from and that this leader still
//! leads. Replica ids are never used twice, so a replica that was removed is never taken for a member again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, Instant, Precondition, ServerState, async_runtime::watch::WatchReceiver, errors::ClientWriteError,
    errors::RaftError,
};
use quorate_cluster_config::{NodeId, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::{
    group::{Group, ProposeError},
    types::{LogId, Members, StoredMembership},
};

/// A learner that lacks at most so many of the committed entries becomes a voter: it has the rest by the time the change is
/// committed, and what is not committed yet is on its way to all.
const LAG_MAX: u64 = 64;
/// A replica that has not answered for this long may be dead: several heartbeats.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// How long a step waits for a majority before its outcome is called unknown.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// One replica that comes, one that goes, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The replica that comes, and its node.
    pub add: Option<(ReplicaId, NodeId)>,
    /// The replica that goes.
    pub drop: Option<ReplicaId>,
}

/// What is asked of a group's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplacementStep {
    /// The new replica receives the log, without a vote.
    Add,
    /// The new replica has all of the log but for what is on its way.
    CatchUp,
    /// The new replica votes and the old one is no member any more.
    Switch,
    /// Neither is the new replica a member, nor is anything else changed: a replacement that has not switched is taken back.
    TakeBack,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepProgress {
    /// It is done, and that is committed.
    Done,
    /// It goes on by itself; ask again.
    Waiting {
        /// One past the last log index that the new replica has on stable storage.
        matched: u64,
        /// One past the last log index of the leader.
        end: u64,
    },
    /// The new replica votes already: the replacement can only go on.
    TooLate,
}

/// Why a step was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StepError {
    /// This replica does not lead, or leadership was handed over so that its replica can go: ask the one that leads.
    #[error("this replica does not lead its group")]
    NotLeader {
        /// The node that does, as far as known.
        leader: Option<NodeId>,
    },
    /// What was asked for fits no membership that the group may have now.
    #[error("{0}")]
    Refused(String),
    /// Another change is under way, or no majority answers: whether the step was taken shows when it is asked for again.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The group has stopped.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
}

impl From<ProposeError> for StepError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => Self::NotLeader { leader },
            ProposeError::Unknown(reason) => Self::Unknown(reason),
            ProposeError::Stopped(reason) => Self::Stopped(reason),
        }
    }
}

/// The members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMembers {
    /// Those that vote; while a change is under way, those that will.
    pub voters: Members,
    /// Those that receive the log and have no vote, or that lose theirs.
    pub learners: Members,
    /// Whether a change is under way: majorities of the voters before and after it decide.
    pub joint: bool,
    /// Whether a majority has it.
    pub committed: bool,
}

impl GroupMembers {
    fn of(membership: &StoredMembership, committed: Option<LogId>) -> Self {
        let configs = membership.membership().get_joint_config();
        let target = configs.last().cloned().unwrap_or_default();
        let (mut voters, mut learners) = (Members::new(), Members::new());
        for (replica, node) in membership.membership().nodes() {
            let members = if target.contains(replica) { &mut voters } else { &mut learners };
            members.insert(*replica, *node);
        }
        Self { voters, learners, joint: configs.len() > 1, committed: *membership.log_id() <= committed }
    }

    fn has(&self, replica: ReplicaId) -> bool {
        self.voters.contains_key(&replica) || self.learners.contains_key(&replica)
    }
}

/// The leader's view, from one look at it.
struct View {
    members: GroupMembers,
    membership: Option<LogId>,
    term: u64,
    end: u64,
    /// One past the last committed log index.
    committed_end: u64,
    matched: BTreeMap<ReplicaId, Option<LogId>>,
    /// The replicas that have answered lately.
    answered: BTreeSet<ReplicaId>,
}

impl View {
    /// How far a learner has come: it is done when it has what is committed, and has answered lately.
    fn progress_of(&self, replica: ReplicaId) -> StepProgress {
        let matched = self.matched.get(&replica).copied().flatten().map_or(0, |id| id.index + 1);
        if matched > 0 && matched + LAG_MAX >= self.committed_end && self.answered.contains(&replica) {
            StepProgress::Done
        } else {
            StepProgress::Waiting { matched, end: self.end }
        }
    }
}

impl Group {
    /// The members as this replica knows them.
    #[must_use]
    pub fn members(&self) -> GroupMembers {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        GroupMembers::of(&metrics.membership_config, metrics.local_committed)
    }

    /// Takes a step, as the leader; waits five seconds at most.
    ///
    /// # Errors
    /// See [`StepError`]. After any of them the step may be asked for again.
    pub async fn take_step(&self, step: ReplacementStep, replacement: Replacement) -> Result<StepProgress, StepError> {
        let taking = async {
            self.complete_joint().await?;
            match step {
                ReplacementStep::Add => self.step_add(replacement).await,
                ReplacementStep::CatchUp => self.step_catch_up(replacement).await,
                ReplacementStep::Switch => self.step_switch(replacement).await,
                ReplacementStep::TakeBack => self.step_take_back(replacement).await,
            }
        };
        tokio::time::timeout(STEP_TIMEOUT, taking)
            .await
            .map_err(|_| StepError::Unknown(format!("no majority answered within {STEP_TIMEOUT:?}")))?
    }

    fn view(&self) -> Result<View, StepError> {
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            let leader = metrics.current_leader;
            let nodes = metrics.membership_config.membership();
            return Err(StepError::NotLeader { leader: leader.and_then(|leader| nodes.get_node(&leader).copied()) });
        }
        let heard = metrics.heartbeat.iter().flatten();
        Ok(View {
            members: GroupMembers::of(&metrics.membership_config, metrics.local_committed),
            membership: *metrics.membership_config.log_id(),
            term: metrics.current_term,
            end: metrics.last_log_index.map_or(0, |index| index + 1),
            committed_end: metrics.local_committed.map_or(0, |id| id.index + 1),
            matched: metrics.replication.clone().unwrap_or_default(),
            answered: heard
                .filter(|(_, at)| at.is_some_and(|at| at.elapsed() < ANSWERED_WITHIN))
                .map(|(id, _)| *id)
                .collect(),
        })
    }

    /// A change of what the view shows, if it still holds.
    async fn change(&self, view: &View, change: ChangeMembers<ReplicaId, NodeId>) -> Result<StepProgress, StepError> {
        let conditions = [
            Precondition::LastMembershipLogId { last_membership_log_id: view.membership },
            Precondition::CommittedLeaderId { committed_leader_id: view.term.into() },
        ];
        match self.raft().change_membership_if(change, false, conditions).await {
            Ok(_) => Ok(StepProgress::Done),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(StepError::NotLeader { leader: forward.leader_node })
            }
            Err(RaftError::APIError(error)) => Err(StepError::Unknown(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(StepError::Stopped(fatal.to_string())),
        }
    }

    /// A view whose membership is committed: what is not may still be taken back by another leader.
    async fn committed_view(&self) -> Result<View, StepError> {
        let mut metrics = self.raft().metrics();
        loop {
            let view = self.view()?;
            if view.members.committed {
                return Ok(view);
            }
            metrics.changed().await.map_err(|_| StepError::Stopped("it is shutting down".to_owned()))?;
        }
    }

    async fn complete_joint(&self) -> Result<(), StepError> {
        let view = self.committed_view().await?;
        if view.members.joint {
            let voters = view.members.voters.keys().copied().collect();
            self.change(&view, ChangeMembers::ReplaceAllVoters(voters)).await?;
        }
        Ok(())
    }

    async fn step_add(&self, replacement: Replacement) -> Result<StepProgress, StepError> {
        let view = self.committed_view().await?;
        match replacement.add {
            Some((replica, node)) if !view.members.has(replica) => {
                self.change(&view, ChangeMembers::AddNodes(BTreeMap::from([(replica, node)]))).await
            }
            _ => Ok(StepProgress::Done),
        }
    }

    async fn step_catch_up(&self, replacement: Replacement) -> Result<StepProgress, StepError> {
        let view = self.committed_view().await?;
        let Some((replica, _)) = replacement.add else { return Ok(StepProgress::Done) };
        // Where nothing is appended, nothing else would show that it is there.
        self.heartbeat().await;
        if view.members.voters.contains_key(&replica) {
            return Ok(StepProgress::Done);
        }
        if !view.members.has(replica) {
            return Err(StepError::Refused(format!("replica {replica} is no member, it is to be added first")));
        }
        Ok(view.progress_of(replica))
    }

    async fn step_switch(&self, replacement: Replacement) -> Result<StepProgress, StepError> {
        let view = self.committed_view().await?;
        let mut voters: BTreeSet<ReplicaId> = view.members.voters.keys().copied().collect();
        let now = voters.clone();
        if let Some((replica, _)) = replacement.add
            && voters.insert(replica)
        {
            if !view.members.has(replica) {
                return Err(StepError::Refused(format!("replica {replica} is no member, it is to be added first")));
            }
            // It may have died since it had caught up: the group would wait for it.
            self.heartbeat().await;
            if let waiting @ StepProgress::Waiting { .. } = view.progress_of(replica) {
                return Ok(waiting);
            }
        }
        if let Some(replica) = replacement.drop {
            voters.remove(&replica);
        }
        if voters == now {
            return Ok(StepProgress::Done);
        }
        if voters.is_empty() {
            return Err(StepError::Refused("the last replica of a group cannot go".to_owned()));
        }
        // A leader that goes hands over first: the group would be without one until an election. One that is alone cannot.
        if replacement.drop == Some(self.replica()) && now.len() > 1 && self.hand_over().await {
            return Err(StepError::NotLeader { leader: None });
        }
        self.change(&view, ChangeMembers::ReplaceAllVoters(voters)).await
    }

    async fn step_take_back(&self, replacement: Replacement) -> Result<StepProgress, StepError> {
        // What was asked of Raft before and is not taken up yet comes before this.
        self.linearize().await?;
        let view = self.committed_view().await?;
        match replacement.add {
            Some((replica, _)) if view.members.voters.contains_key(&replica) => Ok(StepProgress::TooLate),
            Some((replica, _)) if view.members.has(replica) => {
                self.change(&view, ChangeMembers::RemoveNodes(BTreeSet::from([replica]))).await
            }
            _ => Ok(StepProgress::Done),
        }
    }
}
