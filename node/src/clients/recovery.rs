//! Partitions that go on after a majority is gone for good.

use std::sync::Arc;

use quorate_cluster_config::{PartitionId, TopicId};
use quorate_protocol::{ApiError, ErrorCode, MissingInfo, OutlookInfo, RecoverRequest, SurvivorInfo};
use tokio::time::Instant;

use super::admin::execute;
use crate::cluster::{self, Member, Outlook};

pub(super) async fn outlook(member: &Arc<Member>, topic: TopicId) -> Result<Vec<OutlookInfo>, ApiError> {
    let outlooks = cluster::outlook(member, topic).await;
    let outlooks = outlooks.map_err(|reason| ApiError::new(ErrorCode::Unavailable, reason))?;
    Ok(outlooks.into_iter().map(info).collect())
}

fn info(outlook: Outlook) -> OutlookInfo {
    let survivors = outlook.survivors.iter().map(|survey| SurvivorInfo {
        replica: survey.replica,
        node: survey.node,
        log_end_offset: survey.log_end_offset,
        high_watermark: survey.high_watermark,
        damaged: survey.damaged,
    });
    let missing = outlook.missing.iter().map(|placed| MissingInfo { replica: placed.replica, node: placed.node });
    OutlookInfo {
        partition: outlook.partition.index,
        has_majority: outlook.has_majority,
        survivors: survivors.collect(),
        missing: missing.collect(),
    }
}

pub(super) async fn recover(member: &Arc<Member>, request: RecoverRequest, deadline: Instant) -> Result<u64, ApiError> {
    let RecoverRequest { topic, partition: index, survivor, log_end_offset } = request;
    let partition = PartitionId { topic, index };
    let state = member.metadata.state();
    // A first try whose answer was lost.
    let is_decided = |row: &&quorate_raft::RecoveryRow| {
        (row.decided.partition, row.decided.survivor, row.decided.log_end_offset)
            == (partition, survivor, log_end_offset)
    };
    if let Some(row) = state.recoveries().find(is_decided) {
        return Ok(row.index);
    }
    let decided = cluster::recover(member, partition, survivor, log_end_offset).await;
    let command = decided.map_err(|reason| ApiError::new(ErrorCode::InvalidRequest, reason))?;
    Ok(execute(member, &command, deadline).await?.1)
}
