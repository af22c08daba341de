//! Learners that belong to no move any more are removed: a request to add one may have waited for a majority while its move
//! was taken back.

use std::{sync::Arc, time::Duration};

use quorate_cluster_config::GroupId;
use quorate_raft::{MetadataState, PartitionGroup, Replacement, ReplacementStep, Role};
use tokio::time::MissedTickBehavior;

use super::Member;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(10);

/// Removes them from the groups that this node leads.
pub(crate) async fn remove_strays(member: Arc<Member>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for group in member.replicas.all_running() {
            if group.group().status().role == Role::Leader {
                remove(&member.metadata.state(), &group).await;
            }
        }
    }
}

async fn remove(state: &MetadataState, group: &PartitionGroup) {
    let GroupId::Partition(partition) = group.group().id() else { return };
    let strays = group.group().members().learners.into_iter();
    for (replica, node) in strays.filter(|(replica, _)| state.is_no_replica_of(*replica, partition)) {
        let replacement = Replacement { add: Some((replica, node)), drop: None };
        let removed = group.group().take_step(ReplacementStep::TakeBack, replacement).await;
        tracing::info!(%partition, %replica, ?removed, "a replica that is no part of the partition any more left its group");
    }
}
