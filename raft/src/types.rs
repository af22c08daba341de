//! The openraft type configuration that all groups share.

use std::{collections::BTreeMap, fmt};

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

/// What a leader puts into a group's log.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal {
    /// [`FrameKind::Batch`] in a partition, [`FrameKind::Command`] elsewhere.
    pub kind: FrameKind,
    /// The leader's clock, milliseconds since 1970.
    pub leader_time_ms: i64,
    /// The end offset the append is conditional on.
    pub expected_end_offset: Option<u64>,
    /// A record batch or an encoded command.
    pub payload: Bytes,
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
    /// A record batch was appended or refused.
    Append(Outcome),
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
