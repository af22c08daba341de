//! Topics and producer ids.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::{ProducerId, limits};
use quorate_protocol::{
    ApiError, CreateTopicRequest, DeleteTopicRequest, DrainRequest, ErrorCode, TopicInfo, TopicSelector, TopicsRequest,
};
use quorate_raft::{MetadataCommand, MetadataReply};
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

pub(super) async fn allocate_producer_id(member: &Arc<Member>, deadline: Instant) -> Result<ProducerId, ApiError> {
    member.allocate_producer_id(deadline).await.map_err(|error| errors::of_execution(&error))
}
