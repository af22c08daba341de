//! Topics and producer ids.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::{ProducerId, limits};
use quorate_protocol::{
    ApiError, CreateTopicRequest, DeleteTopicRequest, DrainRequest, ErrorCode, RebalanceResponse, TopicInfo,
    TopicSelector, TopicsRequest,
};
use quorate_raft::{Goal, MetadataCommand, MetadataRefusal, MetadataReply, plan_at_most};
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

async fn execute(
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
    Ok(execute(member, &MetadataCommand::DeleteTopic { topic: request.id, name: request.name }, deadline).await?.1)
}

pub(super) async fn drain(member: &Arc<Member>, request: DrainRequest, deadline: Instant) -> Result<u64, ApiError> {
    let command = MetadataCommand::SetDrained { node: request.node, drained: request.drained };
    Ok(execute(member, &command, deadline).await?.1)
}

/// Plans from what this node knows; what does not fit any more when the command is applied is left out.
pub(super) async fn rebalance(member: &Arc<Member>, deadline: Instant) -> Result<RebalanceResponse, ApiError> {
    let planning = member.clone();
    let planned = move || {
        let (state, member) = (planning.metadata.state(), &planning);
        let (partitions, nodes) = (member.weighed(state.planned()), state.loads(&member.live_nodes()));
        plan_at_most(&partitions, &nodes, Goal::Even, limits::MOVES_PER_COMMAND_MAX)
    };
    let mut changes = tokio::task::spawn_blocking(planned)
        .await
        .map_err(|error| ApiError::new(ErrorCode::Unavailable, format!("the plan was broken off: {error}")))?;
    changes.truncate(limits::MOVES_PER_COMMAND_MAX);
    if changes.is_empty() {
        return Ok(RebalanceResponse { begun: 0, metadata_index: 0 });
    }
    match execute(member, &MetadataCommand::StartMoves { changes }, deadline).await? {
        (MetadataReply::MovesStarted { count }, metadata_index) => {
            Ok(RebalanceResponse { begun: count, metadata_index })
        }
        (reply, _) => Err(ApiError::new(ErrorCode::Unavailable, format!("unexpected reply {reply:?}"))),
    }
}

pub(super) async fn cancel_moves(member: &Arc<Member>, deadline: Instant) -> Result<u32, ApiError> {
    let mut cancelled = 0;
    let moves: Vec<_> = member.metadata.state().moves().copied().collect();
    for row in moves.iter().filter(|row| row.step.can_be_cancelled()) {
        let command = MetadataCommand::CancelMove { partition: row.partition };
        let executed = member.execute(&command, deadline).await;
        match executed.map_err(|error| errors::of_execution(&error))?.0 {
            MetadataReply::MoveAdvanced { .. } => cancelled += 1,
            // It has ended or gone on meanwhile.
            MetadataReply::Refused(MetadataRefusal::NoSuchMove(_) | MetadataRefusal::MoveTooFar(_)) => {}
            reply => return Err(ApiError::new(ErrorCode::Unavailable, format!("unexpected reply {reply:?}"))),
        }
    }
    Ok(cancelled)
}

pub(super) async fn allocate_producer_id(member: &Arc<Member>, deadline: Instant) -> Result<ProducerId, ApiError> {
    member.allocate_producer_id(deadline).await.map_err(|error| errors::of_execution(&error))
}
