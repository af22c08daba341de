//! Makes this node's replicas what the metadata says: creates what is assigned to it, deletes what has a tombstone, and has a
//! partition go on from what is here where that was decided.
//!
//! *Architecture invariant:* data is deleted only on a committed tombstone that names the replica, never because the
//! local metadata does not know it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all, stream};
use quorate_cluster_config::{GroupId, PartitionId, ReplicaId};
use quorate_raft::{
    Assignment, Members, MetadataState, MoveRow, MoveStep, PartitionGroup, RecoveryRow, ReplicaPhase, ReplicaRecord,
};

use super::{Member, Slot, currency};

/// Replicas opened side by side.
const OPENED_AT_ONCE: usize = 4;
/// After a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long each further replica of a new partition waits for those before it to begin the group.
const BEGIN_STAGGER: Duration = Duration::from_millis(1500);

/// Starts all replicas that this node holds, and then follows the metadata.
///
/// Before that it waits until its metadata are those of now: a replica that was replaced while the node was away must not
/// come back to others that were.
pub(crate) async fn run(member: Arc<Member>) {
    currency::confirm(&member).await;
    let records = loop {
        let records = member.replicas.records().clone();
        match tokio::task::spawn_blocking(move || records.all()).await {
            Ok(Ok(records)) => break records,
            Ok(Err(error)) => tracing::error!(%error, "the creation records cannot be read"),
            Err(_) => return,
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    };
    let state = member.metadata.state();
    let is_started = |record: &ReplicaRecord| match record.group {
        GroupId::Partition(partition) => {
            record.phase != ReplicaPhase::SetAside && !state.is_no_replica_of(record.replica, partition)
        }
        _ => false,
    };
    let partitions = records.into_iter().filter(is_started);
    stream::iter(partitions).for_each_concurrent(OPENED_AT_ONCE, |record| start(&member, record)).await;
    member.replicas.set_started();
    let mut applied = member.metadata.applied_end();
    loop {
        applied.borrow_and_update();
        if !reconcile(&member).await {
            tokio::time::sleep(RETRY_PAUSE).await;
            continue;
        }
        if applied.changed().await.is_err() {
            return;
        }
    }
}

async fn reconcile(member: &Arc<Member>) -> bool {
    let state = member.metadata.state();
    let records = member.replicas.records().clone();
    let Ok(Ok(records)) = tokio::task::spawn_blocking(move || records.all()).await else { return false };
    let mut done = true;
    for record in records.iter().filter(|record| record.phase != ReplicaPhase::SetAside) {
        let Some(tombstone) = state.tombstone(record.replica) else { continue };
        // Damage never deletes.
        let is_refused = matches!(member.replicas.slot(record.replica), Some(Slot::Refused(_)));
        let gone = match tombstone.keep_files || is_refused {
            true => member.replicas.set_aside(record).await,
            false => member.replicas.delete(record).await,
        };
        match gone {
            Ok(()) => tracing::info!(replica = %record.replica, group = %record.group, "gave a replica up"),
            Err(error) => {
                tracing::error!(replica = %record.replica, error, "a replica could not be given up");
                done = false;
            }
        }
    }
    let held: BTreeSet<ReplicaId> = records.iter().map(|record| record.replica).collect();
    let mut missing = Vec::new();
    let mut recovered = Vec::new();
    for topic in state.topics() {
        for (index, replicas) in (0..).zip(&topic.partitions) {
            // Only those that a partition began with may begin it.
            let first_members: Members = match topic.moved.contains(&index) {
                true => Members::new(),
                false => replicas.iter().map(|placed| (placed.replica, placed.node)).collect(),
            };
            let ours = replicas.iter().filter(|placed| placed.node == member.identity.node);
            let ours = ours.filter(|placed| !held.contains(&placed.replica));
            let (going_on, new): (Vec<_>, Vec<_>) =
                ours.partition(|placed| state.recovery_of(placed.replica).is_some());
            recovered
                .extend(going_on.iter().filter_map(|placed: &&Assignment| state.recovery_of(placed.replica).cloned()));
            missing.extend(new.into_iter().map(|placed| ReplicaRecord {
                replica: placed.replica,
                log: placed.replica,
                group: GroupId::Partition(PartitionId { topic: topic.id, index }),
                phase: ReplicaPhase::Creating,
                first_members: first_members.clone(),
                segment_bytes: topic.config.segment_bytes,
            }));
        }
    }
    missing.extend(joining(member, &state).filter(|record| !held.contains(&record.replica)));
    for gone_on in recovered.chunks(OPENED_AT_ONCE) {
        done &=
            join_all(gone_on.iter().map(|row| go_on(member, &records, row))).await.into_iter().all(|gone_on| gone_on);
    }
    let start_wanted = async |record: ReplicaRecord| {
        // Much may have been decided since this pass began.
        let now = member.metadata.state();
        let is_wanted = matches!(record.group, GroupId::Partition(at) if !now.is_no_replica_of(record.replica, at));
        if is_wanted {
            start(member, record).await;
        }
    };
    stream::iter(missing).for_each_concurrent(OPENED_AT_ONCE, start_wanted).await;
    // Each applied entry brings a pass: the records are read again only where there is something to be forgotten.
    if done && state.tombstones_of(member.identity.node).next().is_some() {
        let known = member.replicas.records().clone();
        if let Ok(Ok(records)) = tokio::task::spawn_blocking(move || known.all()).await {
            let live = records.iter().filter(|record| record.phase != ReplicaPhase::SetAside);
            let live: BTreeSet<ReplicaId> = live.map(|record| record.replica).collect();
            let served = state.tombstones_of(member.identity.node).map(|tombstone| tombstone.replica);
            member.replicas.set_served(served.filter(|replica| !live.contains(replica)).collect());
        }
    }
    done
}

/// Has a partition go on from the replica that is here; tells whether that is done. What was decided to go on is never made anew.
async fn go_on(member: &Arc<Member>, records: &[ReplicaRecord], row: &RecoveryRow) -> bool {
    let (partition, survivor) = (row.decided.partition, row.decided.survivor);
    let Some(record) = records.iter().find(|record| record.replica == survivor) else {
        let reason = format!("replica {survivor}, from which the partition is to go on, is not here any more");
        tracing::error!(%partition, reason);
        member.replicas.refuse(row.to.replica, partition, reason);
        return true;
    };
    match member.replicas.go_on_alone(record, (row.to.replica, row.to.node)).await {
        Ok(()) => {
            tracing::warn!(%partition, replica = %row.to.replica, log_end_offset = row.decided.log_end_offset, high_watermark = row.decided.high_watermark, lost = row.lost.len(), "a partition goes on from this node's replica alone, as was decided: records that only the lost replicas had are lost");
            true
        }
        Err(error) => {
            tracing::error!(%partition, replica = %survivor, error, "a partition cannot go on from its replica yet");
            let reason = format!("the partition cannot go on from replica {survivor} yet: {error}");
            member.replicas.refuse(row.to.replica, partition, reason);
            false
        }
    }
}

/// The replicas that are on their way here: they join groups that have begun long ago.
fn joining<'a>(member: &'a Member, state: &'a MetadataState) -> impl Iterator<Item = ReplicaRecord> + 'a {
    let here =
        |row: &MoveRow| row.add.filter(|add| add.node == member.identity.node && row.step != MoveStep::TakingBack);
    state.moves().filter_map(move |row| {
        let replica = here(row)?.replica;
        Some(ReplicaRecord {
            replica,
            log: replica,
            group: GroupId::Partition(row.partition),
            phase: ReplicaPhase::Creating,
            first_members: Members::new(),
            segment_bytes: state.topic(row.partition.topic)?.config.segment_bytes,
        })
    })
}

async fn start(member: &Arc<Member>, record: ReplicaRecord) {
    if let Slot::Running(group) = member.replicas.start(&record).await {
        tokio::spawn(begin(member.clone(), group, record));
    }
}

/// Begins the group of a new partition. The preferred leader does so at once; the others, one after the other, if it
/// does not: its node may be down. All of them begin with the same members, so it is one beginning.
async fn begin(member: Arc<Member>, group: Arc<PartitionGroup>, record: ReplicaRecord) {
    let GroupId::Partition(partition) = record.group else { return };
    if record.first_members.is_empty() {
        // It joins a group that has begun.
        return;
    }
    loop {
        if !matches!(group.group().is_initialized().await, Ok(false)) {
            return;
        }
        let state = member.metadata.state();
        if state.is_no_replica_of(record.replica, partition) {
            return;
        }
        let placed = state.topic(partition.topic).and_then(|topic| topic.partitions.get(partition.index as usize));
        let rank = placed.and_then(|placed| placed.iter().position(|placed| placed.replica == record.replica));
        if let Some(rank) = rank {
            tokio::time::sleep(BEGIN_STAGGER * u32::try_from(rank).unwrap_or(u32::MAX)).await;
            if member.replicas.running(record.replica).is_none() {
                return;
            }
            if !matches!(group.group().is_initialized().await, Ok(false)) {
                return;
            }
            if let Err(error) = group.group().initialize(&record.first_members).await {
                tracing::error!(replica = %record.replica, %error, "the group of a partition cannot begin");
            }
            // Nobody else will for a while.
            group.group().stand(&group.group().ballot()).await;
            return;
        }
        // The metadata this node has is older than the record: wait for it.
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
