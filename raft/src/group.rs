//! A replica's membership in a Raft group of any kind: starting it, serving its peers, proposing, reading.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use openraft::{
    LinearizerOption, Raft, ReadPolicy, ServerState,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, Fatal, InitializeError, LinearizableReadError, RaftError},
};
use quorate_cluster_config::{GroupId, GroupKind, NodeId, ReplicaId};
use tokio::sync::oneshot;

use crate::{
    checkpoint::{Checkpoint, GroupState},
    codec::{self, Call},
    disk_space::DiskSpace,
    environment::Environment,
    log_store::{LogStore, lock},
    network::NetworkFactory,
    open::GroupOpenError,
    state_machine::StateMachine,
    store::{CommittedMarks, KvError, ReplicaRecord},
    transport::PeerTransport,
    types::{Applied, FnResponder, LogId, Members, Proposal, TypeConfig},
};

/// How long a stopping group may take before it is left behind.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a proposal has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead, or not safely yet; nothing was proposed.
    #[error("this replica does not lead its group")]
    NotLeader {
        /// The node that does, as far as known.
        leader: Option<NodeId>,
    },
    /// The proposal may or may not be committed, now or later.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The group has stopped.
    #[error("the replica has stopped: {0}")]
    Stopped(String),
}

/// A committed and applied proposal.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// Its log index.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// What applying it gave.
    pub applied: Applied,
}

/// The result of a proposal, once it is known.
pub type ProposalResult = oneshot::Receiver<Result<Proposed, ProposeError>>;

/// What a replica is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads.
    Leader,
    /// It follows and votes.
    Follower,
    /// It receives the log but has no vote, or has not heard of any membership.
    Learner,
    /// It stands for election.
    Candidate,
    /// It has stopped; see [`GroupStatus::failure`].
    Stopped,
}

impl Role {
    pub(crate) fn of(state: ServerState) -> Self {
        match state {
            ServerState::Leader => Self::Leader,
            ServerState::Follower => Self::Follower,
            ServerState::Candidate => Self::Candidate,
            ServerState::Learner => Self::Learner,
            ServerState::Shutdown => Self::Stopped,
        }
    }
}

/// A replica's view of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// What it is doing.
    pub role: Role,
    /// The term.
    pub term: u64,
    /// The replica that leads, if known.
    pub leader: Option<ReplicaId>,
    /// The node of that replica.
    pub leader_node: Option<NodeId>,
    /// Why it has stopped.
    pub failure: Option<String>,
    /// Whether it has stopped for want of room on the disk: then it may be started again once there is some.
    pub storage_full: bool,
    /// What of its log is damaged. It votes and appends as ever, but stands for leader only if it is the only voter, and
    /// serves nothing across the damage.
    pub damage: Option<String>,
}

/// A running replica.
pub struct Group {
    id: GroupId,
    replica: ReplicaId,
    raft: Raft<TypeConfig, StateMachine>,
    store: LogStore,
    marks: CommittedMarks,
    marked: Mutex<Option<LogId>>,
    transport: Arc<dyn PeerTransport>,
    space: DiskSpace,
    /// Whether the log was damaged when that was last heeded.
    damaged: AtomicBool,
    /// Whether it takes no proposals, since nobody would hear them.
    muted: AtomicBool,
    /// The term in which it led and tried in vain to hand over: Raft takes nothing from it in that term any more.
    abdicated: Arc<AtomicU64>,
    /// How long a read waits for a majority.
    read_patience: Duration,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Group").field("id", &self.id).field("replica", &self.replica).finish_non_exhaustive()
    }
}

impl Group {
    pub(crate) async fn start(
        environment: &Environment,
        record: &ReplicaRecord,
        store: LogStore,
        machine: StateMachine,
    ) -> Result<Self, GroupOpenError> {
        let replica = record.replica;
        let failed = |reason: String| GroupOpenError::Raft { replica, reason };
        let config = environment.raft_config(record.group, store.damage().is_none()).map_err(failed)?;
        let transport = environment.transport.clone();
        let log = store.clone();
        let network = NetworkFactory {
            transport: transport.clone(),
            kind: record.group.kind(),
            replica,
            is_old: Arc::new(move |index| log.is_old(index)),
        };
        let marked = Mutex::new(store.committed());
        let raft = Raft::new(replica, config, network, store.clone(), machine).await.map_err(|error| {
            match store.damage() {
                // What it cannot read does not come back: only a replica that runs is mended.
                Some(_) => GroupOpenError::Inconsistent { replica, reason: error.to_string() },
                None => failed(error.to_string()),
            }
        })?;
        let marks = CommittedMarks(environment.store.clone());
        let space = environment.space.clone();
        let damaged = AtomicBool::new(false);
        let read_patience = environment.raft.election_timeout_max;
        let id = record.group;
        let muted = AtomicBool::new(false);
        let abdicated = Arc::default();
        let group = Self {
            id,
            replica,
            raft,
            store,
            marks,
            marked,
            transport,
            space,
            damaged,
            muted,
            abdicated,
            read_patience,
        };
        group.heed_damage();
        Ok(group)
    }

    /// The group.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// This replica.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The first log index that was read when the log was opened: that of the checkpoint it began at, or 0.
    #[must_use]
    pub fn scanned_from(&self) -> u64 {
        self.store.scanned_from()
    }

    pub(crate) fn store(&self) -> &LogStore {
        &self.store
    }

    pub(crate) fn damaged(&self) -> &AtomicBool {
        &self.damaged
    }

    pub(crate) fn abdicated(&self) -> &Arc<AtomicU64> {
        &self.abdicated
    }

    /// What this replica is doing; a leader that has tried in vain to hand over follows, as far as others are told: then
    /// they elect another one.
    pub(crate) fn role_in(&self, state: ServerState, term: u64) -> Role {
        match Role::of(state) {
            Role::Leader if self.abdicated.load(Relaxed) == term => Role::Follower,
            role => role,
        }
    }

    pub(crate) fn muted(&self) -> &AtomicBool {
        &self.muted
    }

    pub(crate) fn transport(&self) -> &Arc<dyn PeerTransport> {
        &self.transport
    }

    pub(crate) fn space(&self) -> &DiskSpace {
        &self.space
    }

    pub(crate) fn raft(&self) -> &Raft<TypeConfig, StateMachine> {
        &self.raft
    }

    /// What this replica is doing.
    #[must_use]
    pub fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let log_failure = self.store.log().failure();
        let storage_full = log_failure.as_ref().is_some_and(|failure| failure.storage_full);
        let failure = match (log_failure, &metrics.running_state) {
            (Some(failure), _) => Some(failure.to_string()),
            (None, Err(fatal)) => Some(fatal.to_string()),
            (None, Ok(())) => None,
        };
        let role = match failure {
            Some(_) => Role::Stopped,
            None => self.role_in(metrics.state, metrics.current_term),
        };
        let leader = metrics.current_leader;
        let leader_node = leader.and_then(|leader| metrics.membership_config.membership().get_node(&leader).copied());
        GroupStatus {
            role,
            term: metrics.current_term,
            leader,
            leader_node,
            failure,
            storage_full,
            damage: self.store.damage(),
        }
    }

    /// Whether the group has ever had a membership, as this replica knows.
    ///
    /// # Errors
    /// When the replica has stopped.
    pub async fn is_initialized(&self) -> Result<bool, ProposeError> {
        self.raft.is_initialized().await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))
    }

    /// Gives a group that has none its first membership; harmless if it has one. Every first replica may do this, with
    /// exactly the members of its creation record.
    ///
    /// # Errors
    /// When the replica has stopped.
    pub async fn initialize(&self, members: &Members) -> Result<(), ProposeError> {
        match self.raft.initialize(members.clone()).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(ProposeError::Stopped(error.to_string())),
        }
    }

    /// Adds a replica that receives the log and has no vote; this replica must lead. Returns once that is committed, however
    /// far the new one has come by then.
    ///
    /// # Errors
    /// When this replica does not lead, or the outcome is unknown.
    pub async fn add_learner(&self, replica: ReplicaId, node: NodeId) -> Result<(), ProposeError> {
        match self.raft.add_learner(replica, node, false).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_node })
            }
            Err(RaftError::APIError(error)) => Err(ProposeError::Unknown(error.to_string())),
            Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
        }
    }

    /// Proposes. Returns once Raft's core has taken it, so that proposals made one after the other keep their order;
    /// the result comes when it is applied. Dropping the result does not take the proposal back.
    ///
    /// `claim` is dropped when the proposal has left Raft's hands, however long its proposer waits: a claim on a
    /// budget of memory, say.
    ///
    /// # Errors
    /// When the replica has stopped.
    pub async fn propose(
        &self,
        proposal: Proposal,
        claim: impl Send + 'static,
    ) -> Result<ProposalResult, ProposeError> {
        if self.muted.load(Relaxed) {
            return Err(ProposeError::NotLeader { leader: None });
        }
        let (answer, result) = oneshot::channel();
        let respond = move |written: openraft::raft::ClientWriteResult<TypeConfig>| {
            drop(claim);
            let result = match written {
                Ok(response) => Ok(Proposed {
                    index: response.log_id.index,
                    term: response.log_id.leader_id.term,
                    applied: response.data,
                }),
                Err(ClientWriteError::ForwardToLeader(forward)) => {
                    Err(ProposeError::NotLeader { leader: forward.leader_node })
                }
                Err(error) => Err(ProposeError::Unknown(error.to_string())),
            };
            drop(answer.send(result));
        };
        self.raft.write(proposal).responder(FnResponder(Box::new(respond))).await.map_err(stopped)?;
        Ok(result)
    }

    /// Returns once this replica has applied everything that was committed anywhere when this was called; proves
    /// leadership by asking a majority (ReadIndex), never by a clock.
    ///
    /// # Errors
    /// When this replica does not lead, or no majority answers.
    pub async fn linearize(&self) -> Result<(), ProposeError> {
        let read_index = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(self.read_patience);
        match self.raft.ensure_linearizable(read_index).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_node })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ProposeError::NotLeader { leader: None })
            }
            Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
        }
    }

    /// Answers a peer's call.
    ///
    /// # Errors
    /// When the call is malformed or refused, or the replica has stopped.
    pub async fn call(&self, request: Bytes) -> Result<Bytes, io::Error> {
        let answer = match codec::decode_call(request).map_err(io::Error::other)? {
            Call::Vote(request) => {
                codec::encode_vote_response(&self.raft.vote(request).await.map_err(io::Error::other)?)
            }
            Call::PreVote(request) => {
                codec::encode_vote_response(&self.raft.pre_vote(request).await.map_err(io::Error::other)?)
            }
            Call::Snapshot(vote, snapshot) => {
                // Raft must not begin what it cannot finish.
                let checkpoint = Checkpoint::decode(snapshot.snapshot.clone()).map_err(io::Error::other)?;
                let fits = match checkpoint.state {
                    GroupState::Partition(_) => self.id.kind() == GroupKind::Partition,
                    GroupState::Metadata(_) => self.id.kind() == GroupKind::Metadata,
                    GroupState::Elsewhere => false,
                };
                if !fits {
                    return Err(io::Error::other("a snapshot of another kind of group"));
                }
                let through = snapshot.meta.last_log_id.map(|last| last.index);
                let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(io::Error::other)?;
                if response.vote == vote {
                    tracing::info!(replica = %self.replica(), through, "took a snapshot: the leader has given up what came before");
                }
                codec::encode_snapshot_response(&response)
            }
            Call::Transfer(request) => codec::encode_transfer_response(&self.accept_transfer(request).await?),
            Call::Entries { start, end, bytes_max } => self.committed_entries(start, end, bytes_max).await?,
        };
        Ok(answer)
    }

    /// Work of about once a second, on a thread of a Tokio runtime: marks an idle log as durable, heeds damage found or
    /// mended since, and writes down how far the log is committed. The caller flushes the store. Returns whether anything was
    /// written there.
    ///
    /// # Errors
    /// When the store fails.
    pub fn tick(&self) -> Result<bool, KvError> {
        self.store.log().mark_if_idle();
        self.heed_damage();
        let committed = self.store.durable_committed();
        let mut marked = lock(&self.marked);
        match committed {
            Some(committed) if Some(committed) > *marked => {
                self.marks.set(self.replica, committed)?;
                *marked = Some(committed);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Stops Raft and waits until all queued writes are done; tells whether they are: otherwise the log must not be opened again
    /// by this process.
    pub async fn shutdown(&self) -> bool {
        let (done, drained) = oneshot::channel();
        let stop = async {
            drop(self.raft.shutdown().await);
            self.store.log().barrier(move || _ = done.send(()));
            drop(drained.await);
        };
        let stopped = tokio::time::timeout(SHUTDOWN_TIMEOUT, stop).await.is_ok();
        if !stopped {
            tracing::warn!(replica = %self.replica, "the replica did not stop in time");
        }
        stopped
    }
}

fn stopped(fatal: Fatal<TypeConfig>) -> ProposeError {
    ProposeError::Stopped(fatal.to_string())
}
