//! The openraft type configuration that all groups share.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use openraft::{
    EntryPayload, OptionalSend, RaftTypeConfig,
    alias::{EntryOf, LogIdOf, StoredMembershipOf, VoteOf},
    impls::{InlineBatch, leader_id_std},
    raft::responder::Responder,
    vote::RaftLeaderId,
};
use quorate_cluster_config::{NodeId, ReplicaId};
use quorate_log_engine::FrameKind;

use crate::partition::Outcome;

/// A claim on a budget, given back when the last clone is dropped.
#[derive(Clone)]
pub struct Claim(#[expect(dead_code, reason = "held, not looked at")] Arc<dyn Any + Send + Sync>);

impl Claim {
    /// Shares what is given back when it is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Arc::new(held))
    }
}

impl PartialEq for Claim {
    /// What is claimed for it makes no difference to what is proposed.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Claim {}

/// The producers whose batches are between their proposer and the log.
#[derive(Clone, Debug, Default)]
pub struct Queue(Arc<Mutex<HashMap<i64, u32>>>);

impl Queue {
    /// Counts a batch of a producer for as long as what is returned lives.
    #[must_use]
    pub fn enter(&self, producer_id: i64) -> Queued {
        *self.lock().entry(producer_id).or_default() += 1;
        Queued { queue: self.clone(), producer_id }
    }

    /// Whether a batch of this producer is on its way: then the log does not say all of it yet.
    #[must_use]
    pub fn has(&self, producer_id: i64) -> bool {
        self.lock().contains_key(&producer_id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch that is counted; so is each clone of it.
#[derive(Debug)]
pub struct Queued {
    queue: Queue,
    producer_id: i64,
}

impl Clone for Queued {
    fn clone(&self) -> Self {
        self.queue.enter(self.producer_id)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut queue = self.queue.lock();
        if let Some(count) = queue.get_mut(&self.producer_id) {
            *count -= 1;
            if *count == 0 {
                queue.remove(&self.producer_id);
            }
        }
    }
}

impl PartialEq for Queued {
    /// Being counted makes no difference to what is proposed.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Queued {}

/// What a leader puts into a group's log.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal {
    /// [`FrameKind::Batch`], [`FrameKind::Trim`] or [`FrameKind::ProducerExpiry`] in a partition, [`FrameKind::Command`]
    /// elsewhere.
    pub kind: FrameKind,
    /// The leader's clock, milliseconds since 1970.
    pub leader_time_ms: i64,
    /// The end offset the append is conditional on.
    pub expected_end_offset: Option<u64>,
    /// A record batch, an encoded command, or what a trim or an expiry says.
    pub payload: Bytes,
    /// Counted by the leader that proposes it, until its log has it or it is refused.
    pub queued: Option<Queued>,
    /// Held by the leader that proposes it, until its log has it on stable storage or it is refused.
    pub claim: Option<Claim>,
}

impl fmt::Debug for Proposal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} of {} bytes", self.kind, self.payload.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// What applying an entry gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The entry was Raft's own.
    Nothing,
    /// An entry of a partition was taken in or refused.
    Partition(Outcome),
    /// A command's encoded reply.
    Reply(Bytes),
}

/// Answers a proposal with a closure: no task and no channel for each.
pub(crate) struct FnResponder<T>(pub(crate) Box<dyn FnOnce(T) + Send>);

impl<T: Send + 'static> Responder<TypeConfig, T> for FnResponder<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Standard Raft: one leader a term, so a log id is (term, index). openraft's node id is our replica id, its node
/// our node id; addresses come from the registry.
///
/// Written by hand, since `declare_raft_types!` takes no generic `Responder`.
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Proposal;
    type R = Applied;
    type NodeId = ReplicaId;
    type Node = NodeId;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, ReplicaId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Proposal, ReplicaId, NodeId>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft::TokioRuntime;
    type Responder<T>
        = FnResponder<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<ReplicaId, NodeId>;

/// The replicas of a group and the nodes they are placed on.
pub type Members = BTreeMap<ReplicaId, NodeId>;

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}
