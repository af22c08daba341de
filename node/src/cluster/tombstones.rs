//! Tombstones are forgotten once their node says that nothing of the replicas is there any more.
//!
//! *Safety.* No replica of that id is ever made again on the node. The reconciler alone says what was served: of the tombstones
//! in the metadata of a pass, those without a creation record at its end; later passes know these metadata or newer ones, in
//! which nothing assigns the replica. This node's store has the tombstone on stable storage before it says so.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::{ReplicaId, limits::TOMBSTONES_PER_COMMAND_MAX};
use quorate_raft::{KvError, MetadataCommand};
use tokio::time::{Instant, MissedTickBehavior};

use super::Member;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long the metadata group may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Has the tombstones of this node's replicas forgotten, as they have served their purpose.
pub(crate) async fn forget(member: Arc<Member>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looking = member.clone();
        match tokio::task::spawn_blocking(move || served(&looking)).await {
            Ok(Ok(replicas)) if replicas.is_empty() => {}
            Ok(Ok(replicas)) => {
                let command = MetadataCommand::ForgetTombstones { node: member.identity.node, replicas };
                if let Err(error) = member.execute(&command, Instant::now() + PATIENCE).await {
                    tracing::debug!(%error, "tombstones are forgotten later");
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "the creation records cannot be read"),
            Err(_) => return,
        }
    }
}

/// The replicas of this node with tombstones that have served their purpose. Blocks.
fn served(member: &Member) -> Result<Vec<ReplicaId>, KvError> {
    let state = member.metadata.state();
    let mut replicas = member.replicas.served();
    replicas.retain(|replica| state.tombstone(*replica).is_some());
    replicas.truncate(TOMBSTONES_PER_COMMAND_MAX);
    if !replicas.is_empty() {
        // The tombstones themselves, before anybody forgets them.
        member.replicas.environment().store.flush()?;
    }
    Ok(replicas)
}
