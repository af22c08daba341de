//! What a node does by itself, from time to time: retention, the room on the disk, mending damaged logs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quorate_cluster_config::GroupId;
use quorate_raft::{PartitionGroup, Retention};
use tokio::{runtime::Handle, time::MissedTickBehavior};

use super::{AnyGroup, Member};

/// Between two looks at the room on the disk. What is taken in meanwhile is counted.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);
/// Between two tries to start replicas again that found no room on the disk.
const REVIVAL_INTERVAL: Duration = Duration::from_secs(10);
/// Between two looks for damage that is known and not mended.
const MEND_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes a second that are fetched from peers to mend damaged logs.
const MEND_BYTES_PER_SECOND: u64 = 64 << 20;
/// Partitions whose records are looked through for old ones side by side.
const RETAINED_AT_ONCE: usize = 16;

/// Deletes what the topics do not retain, and forgets idle producers, in the partitions that this node leads.
pub(crate) async fn retain(member: Arc<Member>) {
    let mut ticks = tokio::time::interval(member.config.retention.check_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let groups = member.replicas.all_running();
        for some in groups.chunks(RETAINED_AT_ONCE) {
            futures::future::join_all(some.iter().map(|group| retain_one(&member, group))).await;
        }
    }
}

async fn retain_one(member: &Member, group: &PartitionGroup) {
    let GroupId::Partition(partition) = group.group().id() else { return };
    let state = member.metadata.state();
    // A topic that this node does not know, or not any more, is not its business.
    let Some(topic) = state.topic(partition.topic) else { return };
    let retention = Retention { time: topic.config.retention_time, bytes: topic.config.retention_bytes };
    match group.retain(&retention).await {
        Ok(Some(log_start_offset)) => {
            tracing::info!(%partition, log_start_offset, "deleted records past their retention")
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%partition, %error, "retention is tried again"),
    }
    match group.expire_producers(member.config.retention.producer_expiry).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(%partition, count, "forgot idle producers"),
        Err(error) => tracing::debug!(%partition, %error, "the expiry of producers is tried again"),
    }
}

/// Keeps an eye on the room on the disk.
pub(crate) async fn watch_space(member: Arc<Member>) {
    let mut last_revival = Instant::now();
    let mut ticks = tokio::time::interval(SPACE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let environment = member.replicas.environment().clone();
        let look = move || environment.vfs.available_bytes(&environment.directory);
        let available = match tokio::task::spawn_blocking(look).await {
            Ok(Ok(available)) => available,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the room on the disk cannot be told");
                continue;
            }
            Err(_) => return,
        };
        let reserve = member.space.reserve();
        match member.space.saw(available) {
            Some(true) => tracing::error!(
                available,
                reserve,
                "the disk is nearly full: no records are taken; make room, or trim topics"
            ),
            Some(false) => tracing::info!(available, reserve, "there is room on the disk again"),
            None => {}
        }
        if last_revival.elapsed() >= REVIVAL_INTERVAL {
            revive(&member).await;
            last_revival = Instant::now();
        }
    }
}
/// Starts replicas again that have stopped for want of room on the disk, once there is some.
async fn revive(member: &Member) {
    if member.space.is_low() {
        return;
    }
    if member.metadata.group().status().storage_full {
        tracing::error!("the metadata replica found no room on the disk and has stopped: restart this node");
    }
    for group in member.replicas.all_running() {
        if group.group().status().storage_full {
            member.replicas.revive(group).await;
        }
    }
}

/// Mends damaged logs from their peers, one after the other.
pub(crate) async fn mend(member: Arc<Member>) {
    let mut ticks = tokio::time::interval(MEND_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let partitions = member.replicas.all_running().into_iter().map(AnyGroup::Partition);
        let groups = partitions.chain([AnyGroup::Metadata(member.metadata.clone())]);
        let damaged: Vec<AnyGroup> = groups.filter(|group| group.group().status().damage.is_some()).collect();
        for group in damaged {
            let runtime = Handle::current();
            let mend = move || {
                let (begun, mut fetched) = (Instant::now(), 0);
                group.group().mend(&runtime, &mut |bytes| {
                    fetched += bytes;
                    let due = Duration::from_secs_f64(fetched as f64 / MEND_BYTES_PER_SECOND as f64);
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                })
            };
            if tokio::task::spawn_blocking(mend).await.is_err() {
                return;
            }
        }
    }
}
