//! Unsafe recovery: a group goes on from one of its replicas alone, after the majority is gone for good.
//!
//! The replica is not running meanwhile. A membership of which it is the only voter is put at the end of its log, in a term
//! that comes after all it knows of, and its vote goes with it. When it is started again it elects itself, and with that all
//! that its log holds is committed: what only the lost replicas had is lost, and what was never acknowledged may have come to
//! stay.
//!
//! *Safety.* What was promised by a majority is broken on purpose here, and nothing else: offsets and duplicates are decided as
//! ever. A partition goes on under a new replica id, so that the lost ones, should they come back, do not reach it; and a node
//! that comes back starts no replica before it has heard what the metadata are now. The metadata group keeps its ids; its lost
//! nodes are given up as dead by the entry before the membership, and nobody talks to them.

use std::{collections::BTreeSet, sync::mpsc, time::Duration};

use bytes::Bytes;
use openraft::EntryPayload;
use quorate_cluster_config::{GroupId, NodeId, ReplicaId};
use quorate_log_engine::{FrameKind, Vote};

use crate::{
    environment::Environment,
    log_store::LogStore,
    metadata::{MetadataCommand, MetadataMachine, MetadataState, RecoverMetadata, catch_up},
    open::{GroupOpenError, open_log},
    partition::PartitionRecovery,
    store::{ReplicaRecord, ReplicaRecords},
    types::{Entry, LogId, Members, Membership, Proposal, log_id},
};

/// The terms that are left out: elections that this replica has not heard of, and recoveries on another replica, may have
/// taken some of those that come next.
const TERMS_SKIPPED: u64 = 1_000_000;
/// How long the disk may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has a partition's replica, which is not running, be another one that is the only voter of its group. Blocks.
///
/// May be asked for again after a crash, as long as the old replica has its record. Returns the record of the new one.
///
/// # Errors
/// See [`GroupOpenError`].
pub fn go_on_alone(
    environment: &Environment,
    known: &ReplicaRecord,
    new: (ReplicaId, NodeId),
) -> Result<ReplicaRecord, GroupOpenError> {
    debug_assert!(matches!(known.group, GroupId::Partition(_)));
    let mut recovery = PartitionRecovery::default();
    let opened = open_log(environment, known, None, Some(&mut recovery))?;
    let machine = recovery.into_machine(opened.committed);
    let store = LogStore::new(opened, Some(machine), environment.catch_up.clone());
    let alone = Members::from([new]);
    let is_alone =
        store.last_membership().membership().nodes().map(|(replica, node)| (*replica, *node)).eq(alone.clone());
    if !is_alone {
        force(&store, known.replica, new.0, (&alone, &Members::new()), None)?;
    }
    close(known.replica, store)?;
    Ok(ReplicaRecords::new(environment.store.clone()).rename(known, new.0)?)
}

/// What a metadata replica that is not running holds.
#[derive(Clone, Debug)]
pub struct MetadataRemains {
    /// The metadata as it has applied them.
    pub state: MetadataState,
    /// The term and the log index of its last entry: of several replicas, the one with the greatest holds most.
    pub last: Option<(u64, u64)>,
    /// The log index of the last entry it has applied.
    pub applied: Option<u64>,
    /// The replicas that vote, as it knows.
    pub voters: Members,
    /// Those of which a majority decides; while a change is under way two sets of them, a majority of each.
    pub quorums: Vec<Members>,
    /// Those that only receive the log.
    pub learners: Members,
}

/// Looks at a metadata replica that is not running. Blocks.
///
/// # Errors
/// See [`GroupOpenError`].
pub fn metadata_remains(environment: &Environment, record: &ReplicaRecord) -> Result<MetadataRemains, GroupOpenError> {
    let (store, remains) = open_metadata(environment, record)?;
    close(record.replica, store)?;
    Ok(remains)
}

/// Has a metadata replica, which is not running, be the only voter of the metadata group, without the lost nodes. Blocks.
///
/// # Errors
/// See [`GroupOpenError`].
pub fn metadata_go_on_alone(
    environment: &Environment,
    record: &ReplicaRecord,
    decided: &RecoverMetadata,
) -> Result<(), GroupOpenError> {
    let (store, remains) = open_metadata(environment, record)?;
    let lost: BTreeSet<NodeId> = decided.lost.iter().copied().collect();
    let known = remains.voters.into_iter().chain(remains.learners);
    let stay = known.filter(|(_, node)| !lost.contains(node));
    let (voters, learners): (Members, Members) = stay.partition(|(replica, _)| *replica == record.replica);
    let command = MetadataCommand::RecoverMetadata(decided.clone());
    force(&store, record.replica, record.replica, (&voters, &learners), Some((&command, decided.decided_at_ms)))?;
    close(record.replica, store)
}

fn open_metadata(
    environment: &Environment,
    record: &ReplicaRecord,
) -> Result<(LogStore, MetadataRemains), GroupOpenError> {
    let mut loaded = MetadataMachine::load(environment.store.clone(), environment.levels)?;
    let opened = open_log(environment, record, loaded.applied, None)?;
    let inconsistent = |reason| GroupOpenError::Inconsistent { replica: record.replica, reason };
    catch_up(&mut loaded, &opened.log).map_err(inconsistent)?;
    let store = LogStore::new(opened, None, environment.catch_up.clone());
    let in_log = store.last_membership();
    let membership = if in_log.log_id() > loaded.membership.log_id() { in_log } else { loaded.membership };
    let (mut voters, mut learners) = (Members::new(), Members::new());
    let votes: BTreeSet<ReplicaId> = membership.membership().voter_ids().collect();
    for (replica, node) in membership.membership().nodes() {
        let members = if votes.contains(replica) { &mut voters } else { &mut learners };
        members.insert(*replica, *node);
    }
    let of_config = |config: &BTreeSet<ReplicaId>| -> Members {
        let node_of = |replica: &ReplicaId| Some((*replica, *membership.membership().get_node(replica)?));
        config.iter().filter_map(node_of).collect()
    };
    let remains = MetadataRemains {
        state: MetadataState::clone(&loaded.machine.state()),
        last: store.last_log_id().map(|last| (last.leader_id.term, last.index)),
        applied: loaded.applied.map(|applied| applied.index),
        quorums: membership.membership().get_joint_config().iter().map(of_config).collect(),
        voters,
        learners,
    };
    Ok((store, remains))
}

/// Puts the membership, and a command behind it, at the end of the log.
fn force(
    store: &LogStore,
    replica: ReplicaId,
    leader: ReplicaId,
    (voters, learners): (&Members, &Members),
    command: Option<(&MetadataCommand, i64)>,
) -> Result<(), GroupOpenError> {
    let refused = |reason: String| GroupOpenError::Inconsistent { replica, reason };
    let last = store.last_log_id();
    let voted = store.log().vote().map_or(0, |vote| vote.term);
    let term = voted.max(last.map_or(0, |last: LogId| last.leader_id.term)) + TERMS_SKIPPED;
    let index = last.map_or(0, |last| last.index + 1);
    let nodes: Members = voters.iter().chain(learners).map(|(replica, node)| (*replica, *node)).collect();
    let membership = Membership::new(vec![voters.keys().copied().collect()], nodes);
    let membership = membership.map_err(|error| refused(error.to_string()))?;
    let mut payloads = Vec::new();
    // Before the membership: without that, all this has to be done again.
    if let Some((command, leader_time_ms)) = command {
        let payload = bincode::serialize(command).map_err(|error| refused(error.to_string()))?;
        payloads.push(EntryPayload::Normal(Proposal {
            kind: FrameKind::Command,
            leader_time_ms,
            expected_end_offset: None,
            payload: Bytes::from(payload),
            queued: None,
            claim: None,
        }));
    }
    payloads.push(EntryPayload::Membership(membership));
    let entry = |(index, payload)| Entry { log_id: log_id(term, index), payload };
    let entries = (index..).zip(payloads).map(entry).collect();
    let forced = store.force(entries, Vote { term, voted_for: leader.0, committed: true });
    let forced = forced.map_err(|error| refused(error.to_string()))?;
    tracing::warn!(%replica, as_replica = %leader, term, index, "goes on alone: what only the lost replicas had is lost");
    match forced.blocking_recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(refused(failure.to_string())),
        Err(_) => Err(refused("its log was closed".to_owned())),
    }
}

/// Waits until nothing writes to the log any more: it is going to be opened again.
fn close(replica: ReplicaId, store: LogStore) -> Result<(), GroupOpenError> {
    let (done, drained) = mpsc::channel();
    store.log().barrier(move || _ = done.send(()));
    let late = |_| GroupOpenError::Inconsistent { replica, reason: "its log could not be closed in time".to_owned() };
    drained.recv_timeout(PATIENCE).map_err(late)
}
