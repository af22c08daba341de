//! Driving moves: the node that leads the metadata group asks the leaders of partitions for one step after the other, and
//! writes each one down that is done.
//!
//! *Architecture invariant:* what is to be done next is in the metadata, and asking again does no harm. The driving node
//! may die between any two lines of this file; the next metadata leader goes on from what is written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_cluster_config::{GroupId, NodeId, PartitionId};
use quorate_raft::{MetadataCommand, MoveRow, MoveStep, PartitionGroup, Role, StepError, StepProgress};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use super::Member;
use crate::peers::{PeerFailure, StepRequest};

/// Between two rounds over all moves.
const INTERVAL: Duration = Duration::from_millis(200);
/// Replicas on their way to one node at once: they share what the rate of catching up allows.
const ARRIVING_AT_ONCE: usize = 4;
/// Moves asked for at once.
const ASKED_AT_ONCE: usize = 64;
/// How long the leader of a partition may take for a step.
const STEP_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the leader of a partition waits for the metadata that it is asked by.
const METADATA_WAIT: Duration = Duration::from_secs(1);
/// How long a step that is done may take to be written down.
const NOTE_TIMEOUT: Duration = Duration::from_secs(2);

/// Drives all moves while this node leads the metadata group.
pub(crate) async fn drive_moves(member: Arc<Member>) {
    // One that hangs must not hold up the others.
    let (mut driven, mut in_work, mut turn) = (JoinSet::new(), BTreeSet::new(), 0_usize);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while let Some(done) = driven.try_join_next() {
            match done {
                Ok(partition) => _ = in_work.remove(&partition),
                // Which one it was is not known: all may be asked for again.
                Err(_) => in_work.clear(),
            }
        }
        if member.metadata.group().status().role != Role::Leader {
            continue;
        }
        // What is read next is at least as new as this.
        let metadata_index = member.metadata.applied_end().borrow().saturating_sub(1);
        let mut moves = due(member.metadata.state().moves());
        // Those that cannot go on must not keep the others from it.
        let from = turn % moves.len().max(1);
        moves.rotate_left(from);
        turn = turn.wrapping_add(ASKED_AT_ONCE);
        for row in moves {
            if in_work.len() < ASKED_AT_ONCE && in_work.insert(row.partition) {
                let member = member.clone();
                driven.spawn(async move {
                    drive(&member, row, metadata_index).await;
                    row.partition
                });
            }
        }
    }
}

/// The moves to ask for now: those that have begun before those that have not, and not too many to one node.
fn due<'a>(moves: impl Iterator<Item = &'a MoveRow>) -> Vec<MoveRow> {
    let mut moves: Vec<MoveRow> = moves.copied().collect();
    moves.sort_by_key(|row| (std::cmp::Reverse(row.step), row.partition));
    let mut arriving: BTreeMap<NodeId, usize> = BTreeMap::new();
    moves.retain(|row| match row.add {
        Some(add) if row.step < MoveStep::Switching => {
            let count = arriving.entry(add.node).or_default();
            *count += 1;
            *count <= ARRIVING_AT_ONCE
        }
        _ => true,
    });
    moves
}

async fn drive(member: &Arc<Member>, row: MoveRow, metadata_index: u64) {
    let request = StepRequest { row, metadata_index };
    match ask(member, &request).await {
        Ok(done @ (StepProgress::Done | StepProgress::TooLate)) => {
            let command = match done {
                StepProgress::TooLate => MetadataCommand::ResumeMove { row },
                _ => MetadataCommand::AdvanceMove { done: row },
            };
            match member.execute(&command, Instant::now() + NOTE_TIMEOUT).await {
                Ok((reply, _)) => {
                    tracing::info!(partition = %row.partition, step = ?row.step, ?reply, "a step of a move is done")
                }
                Err(error) => tracing::debug!(partition = %row.partition, %error, "a step of a move is noted again"),
            }
        }
        Ok(StepProgress::Waiting { .. }) => {}
        Err(error) => {
            tracing::debug!(partition = %row.partition, step = ?row.step, %error, "a step of a move is tried again")
        }
    }
}

/// Asks the leader of the partition, here or on another node.
async fn ask(member: &Arc<Member>, request: &StepRequest) -> Result<StepProgress, PeerFailure> {
    let partition = request.row.partition;
    let here = running(member, partition).is_some_and(|group| group.group().status().role == Role::Leader);
    if here {
        return take_step(member, request).await;
    }
    let leader = member.board.leader(partition).node.ok_or(PeerFailure::NotPartitionLeader(None))?;
    if leader == member.identity.node {
        return Err(PeerFailure::NotPartitionLeader(None));
    }
    let client = member.rpc.get(leader).await.map_err(PeerFailure::Unknown)?;
    match client.take_step(crate::peers::within(STEP_TIMEOUT), *request).await {
        Ok(answer) => answer,
        Err(error) => {
            member.rpc.forget(leader).await;
            Err(PeerFailure::Unknown(error.to_string()))
        }
    }
}

/// The replica of a partition that runs here.
fn running(member: &Member, partition: PartitionId) -> Option<Arc<PartitionGroup>> {
    let of_partition = |group: &Arc<PartitionGroup>| group.group().id() == GroupId::Partition(partition);
    // While a replica is moved away from a node and back there are two: the one that leads counts.
    let mut groups: Vec<_> = member.replicas.all_running().into_iter().filter(of_partition).collect();
    groups.sort_by_key(|group| group.group().status().role != Role::Leader);
    groups.into_iter().next()
}

/// Takes a step, as the leader of its partition, if the move is still at it.
pub(super) async fn take_step(member: &Member, request: &StepRequest) -> Result<StepProgress, PeerFailure> {
    let StepRequest { row, metadata_index } = request;
    let known = member.metadata.wait_applied(*metadata_index, METADATA_WAIT).await;
    if !known || member.metadata.state().move_of(row.partition) != Some(row) {
        return Err(PeerFailure::Outdated);
    }
    let group = running(member, row.partition).ok_or(PeerFailure::NotPartitionLeader(None))?;
    group.group().take_step(row.step.of_group(), row.replacement()).await.map_err(|error| match error {
        StepError::NotLeader { leader } => PeerFailure::NotPartitionLeader(leader),
        other => PeerFailure::Unknown(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use quorate_cluster_config::{ReplicaId, TopicId};
    use quorate_raft::Assignment;

    use super::*;

    #[test]
    fn what_has_begun_goes_first_and_a_node_receives_few_at_once() {
        let row = |index: u32, step, node| MoveRow {
            partition: PartitionId { topic: TopicId(1), index },
            step,
            add: Some(Assignment { replica: ReplicaId(u64::from(index)), node: NodeId(node) }),
            drop: None,
        };
        let mut moves: Vec<MoveRow> = (0..10).map(|index| row(index, MoveStep::Adding, 4)).collect();
        moves.push(row(10, MoveStep::CatchingUp, 4));
        moves.push(row(11, MoveStep::Switching, 4));
        moves.push(row(12, MoveStep::Adding, 5));
        let asked: Vec<u32> = due(moves.iter()).iter().map(|row| row.partition.index).collect();
        assert_eq!(asked, [11, 10, 0, 1, 2, 12]);
        let many: Vec<MoveRow> = (0..100).map(|index| row(index, MoveStep::Switching, 4)).collect();
        assert_eq!(due(many.iter()).len(), 100, "what does not arrive is not held up");
    }
}
