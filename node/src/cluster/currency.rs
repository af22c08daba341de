//! Whether this node's metadata are those of now.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Member;
use crate::peers::PeerFailure;

/// How long a node that starts waits for a leader of the metadata. After that its partitions go on as it knew them: a majority
/// of their replicas can do without the metadata.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns once this node has applied all metadata that were committed when it was called, or when there is no leader for long.
pub(super) async fn confirm(member: &Arc<Member>) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(end) = committed_end(member).await {
            let left = deadline.saturating_duration_since(Instant::now());
            if end == 0 || member.metadata.wait_applied(end - 1, left).await {
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::warn!("the metadata have no leader: replicas are started as this node last knew them");
}

/// One past the last log index that is committed, as the metadata leader says.
async fn committed_end(member: &Arc<Member>) -> Result<u64, PeerFailure> {
    let leader = member.metadata.group().status().leader_node.ok_or(PeerFailure::NotLeader(None))?;
    if leader == member.identity.node {
        return here(member).await;
    }
    let client = member.rpc.get(leader).await.map_err(PeerFailure::Unknown)?;
    let answer = client.metadata_end(crate::peers::within(CALL_TIMEOUT)).await;
    answer.map_err(|error| PeerFailure::Unknown(error.to_string()))?
}

/// As the leader.
pub(super) async fn here(member: &Member) -> Result<u64, PeerFailure> {
    let proven = tokio::time::timeout(CALL_TIMEOUT, member.metadata.group().linearize()).await;
    match proven {
        Ok(Ok(())) => Ok(*member.metadata.applied_end().borrow()),
        Ok(Err(error)) => Err(PeerFailure::Unknown(error.to_string())),
        Err(_) => Err(PeerFailure::Unknown("no majority answered in time".to_owned())),
    }
}
