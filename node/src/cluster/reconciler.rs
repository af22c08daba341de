//! Makes this node's replicas what the metadata says: creates what is assigned to it, deletes what has a tombstone.
//!
//! *Architecture invariant:* data is deleted only on a committed tombstone that names the replica, never because the
//! local metadata does not know it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use quorate_cluster_config::{GroupId, PartitionId, ReplicaId};
use quorate_raft::{Members, MetadataState, MoveRow, MoveStep, PartitionGroup, ReplicaPhase, ReplicaRecord};

use super::{Member, Slot};

/// Replicas opened side by side.
const OPENED_AT_ONCE: usize = 4;
/// After a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long each further replica of a new partition waits for those before it to begin the group.
const BEGIN_STAGGER: Duration = Duration::from_millis(1500);

/// Starts all replicas that this node holds, and then follows the metadata.
pub(crate) async fn run(member: Arc<Member>) {
    let records = loop {
        let records = member.replicas.records().clone();
        match tokio::task::spawn_blocking(move || records.all()).await {
            Ok(Ok(records)) => break records,
            Ok(Err(error)) => tracing::error!(%error, "the creation records cannot be read"),
            Err(_) => return,
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    };
    let partitions = records.into_iter().filter(|record| record.group != GroupId::Metadata);
    stream::iter(partitions).for_each_concurrent(OPENED_AT_ONCE, |record| start(&member, record)).await;
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
    for record in records.iter().filter(|record| state.has_tombstone(record.replica)) {
        match member.replicas.delete(record.replica).await {
            Ok(()) => tracing::info!(replica = %record.replica, group = %record.group, "deleted a replica"),
            Err(error) => {
                tracing::error!(replica = %record.replica, error, "a replica could not be deleted");
                done = false;
            }
        }
    }
    let held: BTreeSet<ReplicaId> = records.into_iter().map(|record| record.replica).collect();
    let mut missing = Vec::new();
    for topic in state.topics() {
        for (index, replicas) in (0..).zip(&topic.partitions) {
            // Only those that a partition began with may begin it.
            let first_members: Members = match topic.moved.contains(&index) {
                true => Members::new(),
                false => replicas.iter().map(|placed| (placed.replica, placed.node)).collect(),
            };
            let ours = replicas.iter().filter(|placed| placed.node == member.identity.node);
            missing.extend(ours.filter(|placed| !held.contains(&placed.replica)).map(|placed| ReplicaRecord {
                replica: placed.replica,
                group: GroupId::Partition(PartitionId { topic: topic.id, index }),
                phase: ReplicaPhase::Creating,
                first_members: first_members.clone(),
                segment_bytes: topic.config.segment_bytes,
            }));
        }
    }
    missing.extend(joining(member, &state).filter(|record| !held.contains(&record.replica)));
    stream::iter(missing).for_each_concurrent(OPENED_AT_ONCE, |record| start(member, record)).await;
    done
}

/// The replicas that are on their way here: they join groups that have begun long ago.
fn joining<'a>(member: &'a Member, state: &'a MetadataState) -> impl Iterator<Item = ReplicaRecord> + 'a {
    let here =
        |row: &MoveRow| row.add.filter(|add| add.node == member.identity.node && row.step != MoveStep::TakingBack);
    state.moves().filter_map(move |row| {
        Some(ReplicaRecord {
            replica: here(row)?.replica,
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
