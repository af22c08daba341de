//! Reading committed batches and asking for offsets, at the leader.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use quorate_cluster_config::{PartitionId, limits};
use quorate_log_engine::Frame;
use quorate_protocol::{
    ApiError, ErrorCode, FetchRequest, FetchResponse, OffsetQuery, OffsetsRequest, OffsetsResponse,
};
use quorate_raft::PartitionGroup;
use tokio::time::Instant;

use super::{errors, produce::find};
use crate::cluster::Member;

pub(super) async fn fetch(
    member: &Arc<Member>,
    request: FetchRequest,
    deadline: Instant,
) -> Result<FetchResponse, ApiError> {
    let id = PartitionId { topic: request.topic, index: request.partition };
    let bytes_max = request.max_bytes as usize;
    if bytes_max == 0 || bytes_max > limits::FETCH_BYTES_MAX {
        let message = format!("max_bytes is {bytes_max}; it must be 1 to {}", limits::FETCH_BYTES_MAX);
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let bytes_min = (request.min_bytes as usize).min(bytes_max);
    let until = deadline.min(Instant::now() + request.max_wait.min(limits::FETCH_WAIT_MAX));
    let group = find(member, id)?;
    let mut wanted = request.offset;
    loop {
        group.check_leader().map_err(|error| errors::of_proposal(id, &error))?;
        // More is waited for only from where it could come: the high watermark seen last.
        let waited = tokio::time::timeout_at(until, group.wait_for(wanted)).await.is_ok();
        let high_watermark = group.high_watermark();
        let batches = read(&group, request.offset, bytes_max).await?;
        if batches.len() >= bytes_min && !batches.is_empty() || !waited {
            // Whoever was deposed while it waited must not tell clients that nothing more is there.
            group.check_leader().map_err(|error| errors::of_proposal(id, &error))?;
            return Ok(FetchResponse { batches, high_watermark, log_start_offset: group.log_start_offset() });
        }
        wanted = high_watermark.max(request.offset);
    }
}

/// The batches as the client gets them: one after the other, with offsets and leader epochs in place.
async fn read(group: &PartitionGroup, offset: u64, bytes_max: usize) -> Result<Bytes, ApiError> {
    let frames = group.read(offset, bytes_max).await.map_err(|error| {
        ApiError::new(ErrorCode::Storage, format!("the log cannot be read at offset {offset}: {error}"))
    })?;
    let size = frames.iter().map(|frame: &Frame| frame.payload.len()).sum();
    let mut batches = BytesMut::with_capacity(size);
    for (head, rest) in frames.iter().filter_map(Frame::stamped_batch) {
        batches.put_slice(&head);
        batches.put_slice(&rest);
    }
    Ok(batches.freeze())
}

pub(super) async fn offsets(
    member: &Arc<Member>,
    request: OffsetsRequest,
    deadline: Instant,
) -> Result<OffsetsResponse, ApiError> {
    let id = PartitionId { topic: request.topic, index: request.partition };
    let group = find(member, id)?;
    group.check_leader().map_err(|error| errors::of_proposal(id, &error))?;
    let offset = match request.query {
        OffsetQuery::First => group.log_start_offset(),
        OffsetQuery::Last => tokio::time::timeout_at(deadline, group.linearizable_end_offset())
            .await
            .map_err(|_| ApiError::new(ErrorCode::Unavailable, "no majority answered in time"))?
            .map_err(|error| errors::of_proposal(id, &error))?,
    };
    Ok(OffsetsResponse { offset })
}
