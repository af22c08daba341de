//! Appending: admission in arrival order, then the wait for the majority.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use quorate_cluster_config::{PartitionId, limits};
use quorate_protocol::{ApiError, ErrorCode, ProduceRequest, ProduceResponse};
use quorate_raft::{AppendTicket, MetadataState, PartitionGroup};
use quorate_record::BatchLimits;

use super::errors;
use crate::{
    cluster::{Member, Slot},
    metrics::counters,
};

/// Records in one batch: as many as its bytes can hold, but not more than this.
const RECORDS_PER_BATCH_MAX: i32 = 1 << 20;

/// How long a batch may wait for its place in a group's queue.
const ADMISSION_MAX: Duration = Duration::from_secs(1);
/// How long a client may have the node wait for a majority.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// The replica of a partition on this node.
pub(crate) fn find(member: &Member, id: PartitionId) -> Result<Arc<PartitionGroup>, ApiError> {
    find_in(&member.metadata.state(), member, id)
}

/// As [`find`], for clients that change something: what belongs to the cluster itself only the cluster changes.
pub(super) fn find_to_change(member: &Member, id: PartitionId) -> Result<Arc<PartitionGroup>, ApiError> {
    let state = member.metadata.state();
    match state.topic(id.topic) {
        Some(topic) if topic.name.is_system() => Err(errors::system_topic(&topic.name)),
        _ => find_in(&state, member, id),
    }
}

fn find_in(state: &MetadataState, member: &Member, id: PartitionId) -> Result<Arc<PartitionGroup>, ApiError> {
    let Some(topic) = state.topic(id.topic) else {
        return Err(match state.was_deleted(id.topic) {
            true => ApiError::new(ErrorCode::TopicDeleted, format!("the topic of id {} was deleted", id.topic)),
            false => ApiError::new(ErrorCode::UnknownTopic, format!("no topic has the id {}", id.topic)),
        });
    };
    let Some(placed) = topic.partitions.get(id.index as usize) else {
        let message =
            format!("topic {} has partitions 0 to {}, not {}", topic.name, topic.partitions.len() - 1, id.index);
        return Err(ApiError::new(ErrorCode::UnknownPartition, message));
    };
    let elsewhere = || {
        let message = format!("node {} has no replica of partition {}", member.identity.node, id.index);
        ApiError::not_leader(message, member.board.leader(id).node)
    };
    // A replica on its way here may lead before the metadata say that it has come.
    let joining = state.move_of(id).and_then(|row| row.add);
    let ours = placed.iter().copied().chain(joining).filter(|placed| placed.node == member.identity.node);
    // Of two, one takes the place of the other.
    let ours = ours.max_by_key(|placed| matches!(member.replicas.slot(placed.replica), Some(Slot::Running(_))));
    let ours = ours.ok_or_else(elsewhere)?;
    match member.replicas.slot(ours.replica) {
        Some(Slot::Running(group)) => Ok(group),
        Some(Slot::Refused(_)) => Err(elsewhere()),
        Some(Slot::Starting) | None => {
            Err(ApiError::new(ErrorCode::NotReady, format!("the replica of partition {} is being started", id.index)))
        }
    }
}

/// An append that has its place in the order.
pub(super) struct Admitted {
    partition: PartitionId,
    ticket: AppendTicket,
    timeout: Duration,
    batch_bytes: u64,
}

/// Checks a batch and hands it to Raft. Called in the order in which requests arrived on their connection; what can be
/// refused is refused here, before anything is queued.
pub(super) async fn admit(member: &Arc<Member>, request: ProduceRequest) -> Result<Admitted, ApiError> {
    let partition = PartitionId { topic: request.topic, index: request.partition };
    let group = find_to_change(member, partition)?;
    group.check_leader().map_err(|error| errors::of_proposal(partition, &error))?;
    let batch_limits =
        BatchLimits { batch_bytes_max: limits::BATCH_BYTES_MAX, record_count_max: RECORDS_PER_BATCH_MAX };
    let header = quorate_record::validate(&request.batch, &batch_limits).map_err(|error| errors::of_batch(&error))?;
    if member.space.is_low() {
        let message = format!(
            "node {} has {} bytes left on its disk and keeps {} free; make room there, or trim topics",
            member.identity.node,
            member.space.available(),
            member.space.reserve()
        );
        return Err(ApiError::new(ErrorCode::DiskFull, message));
    }
    check_followers(member, partition)?;
    let size = u32::try_from(request.batch.len()).unwrap_or(u32::MAX);
    let bytes = member.append_bytes.clone().try_acquire_many_owned(size).map_err(|_| {
        let message = format!(
            "node {} has {} bytes of appends in flight, its maximum; try again",
            member.identity.node, member.config.limits.append_bytes_in_flight
        );
        ApiError::new(ErrorCode::Overloaded, message)
    })?;
    member.space.take(u64::from(size));
    let batch_bytes = request.batch.len() as u64;
    let append = group.append_claiming(request.batch, &header, request.expected_end_offset, bytes);
    // A group whose queue is full must not hold up the other requests of this connection.
    let ticket = tokio::time::timeout(ADMISSION_MAX, append).await.map_err(|_| errors::timeout("the append"))?;
    Ok(Admitted { partition, ticket, timeout: request.timeout.min(ANSWER_WAIT_MAX), batch_bytes })
}

/// Refuses batches while the disks of so many replicas are nearly full that the others are no majority: what is taken in
/// now would stand before the trim that is to make room.
fn check_followers(member: &Member, id: PartitionId) -> Result<(), ApiError> {
    let low = member.board.low_on_disk();
    if low.is_empty() {
        return Ok(());
    }
    let state = member.metadata.state();
    let Some(placed) = state.topic(id.topic).and_then(|topic| topic.partitions.get(id.index as usize)) else {
        return Ok(());
    };
    let low = placed.iter().filter(|placed| low.contains(&placed.node)).count();
    if low == 0 || placed.len() - low > placed.len() / 2 {
        return Ok(());
    }
    let message = format!(
        "the disks of {low} of {} replicas of partition {} are nearly full; make room there, or trim topics",
        placed.len(),
        id.index
    );
    Err(ApiError::new(ErrorCode::DiskFull, message))
}

impl Admitted {
    /// Waits until the batch is on stable storage of a majority.
    pub(super) async fn finish(self) -> Result<ProduceResponse, ApiError> {
        match tokio::time::timeout(self.timeout, self.ticket.finish()).await {
            Ok(Ok(appended)) => {
                counters().produced_batches.fetch_add(1, Relaxed);
                counters().produced_bytes.fetch_add(self.batch_bytes, Relaxed);
                Ok(ProduceResponse {
                    base_offset: appended.base_offset,
                    leader_epoch: appended.leader_epoch,
                    duplicate: appended.duplicate,
                })
            }
            Ok(Err(error)) => Err(errors::of_append(self.partition, &error)),
            Err(_) => Err(errors::timeout("the append")),
        }
    }
}
