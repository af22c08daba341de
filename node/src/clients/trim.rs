//! Deleting records before an offset.

use std::sync::Arc;

use quorate_cluster_config::PartitionId;
use quorate_protocol::{ApiError, ErrorCode, TrimRequest, TrimResponse};
use tokio::time::Instant;

use super::{errors, produce::find_to_change};
use crate::cluster::Member;

pub(super) async fn trim(
    member: &Arc<Member>,
    request: TrimRequest,
    deadline: Instant,
) -> Result<TrimResponse, ApiError> {
    let id = PartitionId { topic: request.topic, index: request.partition };
    let group = find_to_change(member, id)?;
    group.check_leader().map_err(|error| errors::of_proposal(id, &error))?;
    let end = group.high_watermark();
    if request.before > end {
        let message = format!(
            "partition {} ends at offset {end}: nothing before {} can be deleted as a whole; name {end} to delete all",
            id.index, request.before
        );
        return Err(ApiError::new(ErrorCode::OffsetOutOfRange, message));
    }
    match tokio::time::timeout_at(deadline, group.trim(request.before)).await {
        Ok(Ok(log_start_offset)) => Ok(TrimResponse { log_start_offset }),
        Ok(Err(error)) => Err(errors::of_append(id, &error)),
        Err(_) => Err(errors::timeout("the trim")),
    }
}
