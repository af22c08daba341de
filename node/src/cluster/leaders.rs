//! Who leads what: each node hands over what another one should lead, gently.
//!
//! Which node should lead a partition is a pure function of the metadata and of which nodes are up ([`prefer_leaders`]), so
//! nodes that see the same agree without a word. A drained node, and only such a one, hands over without waiting for the
//! cluster to be calm.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use quorate_cluster_config::{GroupId, NodeId, ReplicaId};
use quorate_protocol::ReplicaRole;
use quorate_raft::{PartitionGroup, Role, prefer_leaders};
use tokio::time::MissedTickBehavior;

use super::Member;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the nodes that are up, and the metadata, must have been the same before leadership is moved for evenness.
const CALM: Duration = Duration::from_secs(5);
/// Partitions handed over at each look for evenness, and by a drained node.
const EVENED_AT_ONCE: usize = 2;
const DRAINED_AT_ONCE: usize = 16;

/// What must stay the same for the cluster to be calm.
type Outlook = (BTreeSet<NodeId>, u64);

/// Hands over what others should lead, until the node stops.
pub(crate) async fn balance(member: Arc<Member>) {
    let mut seen: Option<(Outlook, Instant)> = None;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outlook = (member.live_nodes().into_iter().collect(), *member.metadata.applied_end().borrow());
        let since = match seen.take() {
            Some((before, since)) if before == outlook => since,
            _ => Instant::now(),
        };
        seen = Some((outlook, since));
        let state = member.metadata.state();
        let Some(us) = state.node(member.identity.node) else { continue };
        let at_once = match us.drained {
            true => DRAINED_AT_ONCE,
            false if since.elapsed() >= CALM => EVENED_AT_ONCE,
            false => continue,
        };
        let moves = better_led_elsewhere(&member, at_once);
        join_all(moves.iter().map(|(group, to)| async move {
            let moved = group.group().hand_over_if_it_keeps_up(*to).await;
            tracing::debug!(group = %group.group().id(), %to, moved, "handed over leadership");
        }))
        .await;
        if us.drained && member.metadata.group().status().role == Role::Leader {
            member.metadata.group().hand_over().await;
        }
    }
}

/// Partitions that this node leads and another node should, with the replicas there; at most that many.
fn better_led_elsewhere(member: &Member, at_most: usize) -> Vec<(Arc<PartitionGroup>, ReplicaId)> {
    let state = member.metadata.state();
    let placed = state.placed();
    let preferred = prefer_leaders(&placed, &state.loads(&member.live_nodes()));
    let statuses = member.board.up();
    let ready = |node: NodeId, replica: ReplicaId| {
        let of_node = statuses.iter().filter(|status| status.node == node).flat_map(|status| &status.replicas);
        of_node
            .into_iter()
            .any(|status| status.replica == replica && status.role == ReplicaRole::Follower && status.failure.is_none())
    };
    let led = member.replicas.all_running().into_iter().filter(|group| group.group().status().role == Role::Leader);
    let better = led.filter_map(|group| {
        let GroupId::Partition(id) = group.group().id() else { return None };
        let at = placed.iter().position(|placed| placed.partition == id)?;
        let node = preferred[at].filter(|node| *node != member.identity.node)?;
        let assignments = state.topic(id.topic)?.partitions.get(id.index as usize)?;
        let replica = assignments.iter().find(|assignment| assignment.node == node)?.replica;
        ready(node, replica).then_some((group, replica))
    });
    better.take(at_most).collect()
}
