//! Nodes, topics and producer ids.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::{NodeId, ProducerId, limits};
use quorate_protocol::{
    AddNodeRequest, AlterTopicRequest, ApiError, CreateTopicRequest, DeleteTopicRequest, Departure, DrainRequest,
    ErrorCode, RemoveNodeRequest, TopicInfo, TopicSelector, TopicsRequest,
};
use quorate_raft::{Leaving, MetadataCommand, MetadataRefusal, MetadataReply, MoveRow, MoveStep, TopicAlteration};
use tokio::time::Instant;

use super::errors;
use crate::cluster::{ExecuteError, Member};

/// Room left of the client's deadline for the answer to travel.
const MARGIN: Duration = Duration::from_millis(100);

/// When the work for a request with this deadline must be done.
pub(super) fn work_until(deadline: std::time::Instant) -> Instant {
    let left = deadline.saturating_duration_since(std::time::Instant::now());
    Instant::now() + left.saturating_sub(MARGIN.min(left / 4))
}

pub(super) async fn execute(
    member: &Arc<Member>,
    command: &MetadataCommand,
    deadline: Instant,
) -> Result<(MetadataReply, u64), ApiError> {
    let (reply, index) =
        member.execute(command, deadline).await.map_err(|error: ExecuteError| errors::of_execution(&error))?;
    // The next question of this client may come here.
    member.metadata.wait_applied(index, limits::METADATA_WAIT_MAX).await;
    match reply {
        MetadataReply::Refused(refusal) => Err(errors::of_refusal(&refusal)),
        reply => Ok((reply, index)),
    }
}

pub(super) async fn create_topic(
    member: &Arc<Member>,
    request: CreateTopicRequest,
    deadline: Instant,
) -> Result<TopicInfo, ApiError> {
    if request.name.is_system() {
        return Err(errors::system_topic(&request.name));
    }
    let live = member.live_nodes();
    let command = MetadataCommand::CreateTopic { name: request.name, config: request.config, live };
    let (reply, min_metadata_index) = execute(member, &command, deadline).await?;
    let MetadataReply::TopicCreated { topic } = reply else {
        return Err(ApiError::new(ErrorCode::Unavailable, format!("unexpected reply {reply:?}")));
    };
    let request = TopicsRequest { selector: TopicSelector::Id(topic), min_metadata_index };
    let mut response = member.topics(&request).await?;
    response.topics.pop().ok_or_else(|| ApiError::new(ErrorCode::TopicDeleted, "the topic was deleted meanwhile"))
}

pub(super) async fn delete_topic(
    member: &Arc<Member>,
    request: DeleteTopicRequest,
    deadline: Instant,
) -> Result<u64, ApiError> {
    if request.name.is_system() {
        return Err(errors::system_topic(&request.name));
    }
    Ok(execute(member, &MetadataCommand::DeleteTopic { topic: request.id, name: request.name }, deadline).await?.1)
}

pub(super) async fn drain(member: &Arc<Member>, request: DrainRequest, deadline: Instant) -> Result<u64, ApiError> {
    let command = MetadataCommand::SetDrained { node: request.node, drained: request.drained };
    Ok(execute(member, &command, deadline).await?.1)
}

pub(super) async fn rebalance(member: &Arc<Member>, deadline: Instant) -> Result<u64, ApiError> {
    Ok(execute(member, &MetadataCommand::SetEvening { evening: true }, deadline).await?.1)
}

/// Takes back the moves that only even out. What must be moved would be begun again at once.
pub(super) async fn cancel_moves(member: &Arc<Member>, deadline: Instant) -> Result<u32, ApiError> {
    execute(member, &MetadataCommand::SetEvening { evening: false }, deadline).await?;
    let state = member.metadata.state();
    let stays = |node: NodeId| state.node(node).is_some_and(|row| row.leaving.is_none());
    // One that takes the place of a replica on its own node must come.
    let evens =
        |row: &&MoveRow| row.add.zip(row.drop).is_some_and(|(add, drop)| stays(drop.node) && add.node != drop.node);
    take_back(member, state.moves().filter(evens), deadline).await
}

/// Has moves taken back; returns how many are to be. Whether their replicas vote already shows later.
async fn take_back(
    member: &Arc<Member>,
    moves: impl Iterator<Item = &MoveRow>,
    deadline: Instant,
) -> Result<u32, ApiError> {
    let mut cancelled = 0;
    for row in moves.filter(|row| row.step != MoveStep::TakingBack) {
        let command = MetadataCommand::CancelMove { partition: row.partition };
        let executed = member.execute(&command, deadline).await;
        match executed.map_err(|error| errors::of_execution(&error))?.0 {
            MetadataReply::MoveAdvanced { .. } => cancelled += 1,
            // It has ended meanwhile.
            MetadataReply::Refused(MetadataRefusal::NoSuchMove(_) | MetadataRefusal::MoveTooFar(_)) => {}
            reply => return Err(ApiError::new(ErrorCode::Unavailable, format!("unexpected reply {reply:?}"))),
        }
    }
    Ok(cancelled)
}

pub(super) async fn add_node(
    member: &Arc<Member>,
    request: AddNodeRequest,
    deadline: Instant,
) -> Result<NodeId, ApiError> {
    let invited = tokio::time::timeout_at(deadline, crate::cluster::invite(member, &request.peer_address)).await;
    let late = |_| ApiError::new(ErrorCode::Timeout, "the node did not join in time; it may still do so");
    let node = invited.map_err(late)?.map_err(|error| errors::of_invitation(&error))?;
    // The next question of this client may come here.
    let mut applied = member.metadata.applied_end();
    let known = async { while member.metadata.state().node(node).is_none() && applied.changed().await.is_ok() {} };
    drop(tokio::time::timeout(limits::METADATA_WAIT_MAX, known).await);
    Ok(node)
}

pub(super) async fn remove_node(
    member: &Arc<Member>,
    request: RemoveNodeRequest,
    deadline: Instant,
) -> Result<u64, ApiError> {
    let RemoveNodeRequest { node, departure } = request;
    let up = node == member.identity.node || member.board.is_up(node);
    let known = member.metadata.state().node(node).is_some();
    let leaving = match departure {
        Some(Departure::Serving) if known && !up => {
            let message = format!(
                "node {node} does not answer, so that it can hand nothing over; start it, or, if it is gone for good, remove it as dead (--dead): what it had is rebuilt from the other replicas"
            );
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        Some(Departure::Dead) if known && up => {
            let message =
                format!("node {node} answers, so it is not dead; remove it without --dead, or stop it for good first");
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        Some(Departure::Serving) => Some(Leaving::Serving),
        Some(Departure::Dead) => Some(Leaving::Dead),
        None => None,
    };
    let index = execute(member, &MetadataCommand::SetLeaving { node, leaving }, deadline).await?.1;
    if leaving.is_none() {
        let state = member.metadata.state();
        let goes =
            |row: &&MoveRow| row.add.zip(row.drop).is_some_and(|(add, drop)| drop.node == node && add.node != node);
        let away = state.moves().filter(goes);
        take_back(member, away, deadline).await?;
    }
    Ok(index)
}

pub(super) async fn alter_topic(
    member: &Arc<Member>,
    request: AlterTopicRequest,
    deadline: Instant,
) -> Result<u64, ApiError> {
    let AlterTopicRequest { id, name, partitions, replication_factor, retention_time, retention_bytes } = request;
    if name.is_system() && (partitions.is_some() || retention_time.is_some() || retention_bytes.is_some()) {
        return Err(errors::system_topic(&name));
    }
    let alteration = TopicAlteration { partitions, replication_factor, retention_time, retention_bytes };
    let command = MetadataCommand::AlterTopic { topic: id, name, alteration, live: member.live_nodes() };
    Ok(execute(member, &command, deadline).await?.1)
}

pub(super) async fn allocate_producer_id(member: &Arc<Member>, deadline: Instant) -> Result<ProducerId, ApiError> {
    member.allocate_producer_id(deadline).await.map_err(|error| errors::of_execution(&error))
}
