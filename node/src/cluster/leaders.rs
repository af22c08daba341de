//! Who leads what: each node hands over what another one should lead, gently.
//!
//! Which node should lead a partition is a pure function of the metadata and of which nodes are up ([`prefer_leaders`]), so
//! nodes that see the same agree without a word. A drained node, and only such a one, hands over without waiting for the
//! cluster to be calm.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use quorate_cluster_config::{GroupId, NodeId, PartitionId, ReplicaId};
use quorate_protocol::ReplicaRole;
use quorate_raft::{PartitionGroup, Role, prefer_leaders};
use tokio::time::MissedTickBehavior;

use super::Member;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the nodes that are up, and the metadata, must have been the same before leadership is moved for evenness.
const CALM: Duration = Duration::from_secs(5);
/// How long a partition is led before it is handed over for evenness: nodes that see each other differently must not hand it
/// to and fro without end.
const HELD_MIN: Duration = Duration::from_secs(10);
/// Partitions handed over at each look for evenness, and by a drained node.
const EVENED_AT_ONCE: usize = 2;
const DRAINED_AT_ONCE: usize = 16;

/// What must stay the same for the cluster to be calm.
type Outlook = (BTreeSet<NodeId>, u64);

/// Hands over what others should lead, until the node stops.
pub(crate) async fn balance(member: Arc<Member>) {
    let mut seen: Option<(Outlook, Instant)> = None;
    let mut preferred_before: Option<(Outlook, BTreeMap<PartitionId, NodeId>)> = None;
    let mut led_since: BTreeMap<ReplicaId, Instant> = BTreeMap::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let outlook = (member.live_nodes().into_iter().collect(), *member.metadata.applied_end().borrow());
        let since = match seen.take() {
            Some((before, since)) if before == outlook => since,
            _ => Instant::now(),
        };
        seen = Some((outlook.clone(), since));
        let led = led(&member);
        let led_before = std::mem::take(&mut led_since);
        let since_when = |replica: ReplicaId| led_before.get(&replica).copied().unwrap_or_else(Instant::now);
        led_since.extend(led.iter().map(|group| group.group().replica()).map(|replica| (replica, since_when(replica))));
        let state = member.metadata.state();
        let Some(us) = state.node(member.identity.node) else { continue };
        let to_lead_nothing = us.drained || us.leaving.is_some();
        let at_once = match to_lead_nothing {
            true => DRAINED_AT_ONCE,
            false if since.elapsed() >= CALM => EVENED_AT_ONCE,
            false => continue,
        };
        let preferred = match preferred_before.take() {
            Some((before, preferred)) if before == outlook => preferred,
            _ => prefer(&member).await,
        };
        let settled = |group: &Arc<PartitionGroup>| {
            let since = led_since.get(&group.group().replica());
            to_lead_nothing || since.is_some_and(|since| since.elapsed() >= HELD_MIN)
        };
        let mut moves = better_led_elsewhere(&member, led.into_iter().filter(settled), &preferred);
        moves.truncate(at_once);
        join_all(moves.iter().map(|(group, to)| async move {
            let moved = group.group().hand_over_if_it_keeps_up(*to).await;
            tracing::debug!(group = %group.group().id(), %to, moved, "handed over leadership");
        }))
        .await;
        if to_lead_nothing
            && member.metadata.group().status().role == Role::Leader
            && let Some(replica) = undrained_voter(&member)
        {
            member.metadata.group().hand_over_if_it_keeps_up(replica).await;
        }
        preferred_before = Some((outlook, preferred));
    }
}

/// What this node leads.
fn led(member: &Member) -> Vec<Arc<PartitionGroup>> {
    let mut led = member.replicas.all_running();
    led.retain(|group| group.group().status().role == Role::Leader);
    led
}

/// Who should lead each partition. With many partitions that takes a while: not on the threads that must not block.
async fn prefer(member: &Arc<Member>) -> BTreeMap<PartitionId, NodeId> {
    let member = member.clone();
    let prefer = move || {
        let state = member.metadata.state();
        let placed = state.placed();
        let leaders = prefer_leaders(&placed, &state.loads(&member.live_nodes()));
        placed.iter().zip(leaders).filter_map(|(placed, leader)| Some((placed.partition, leader?))).collect()
    };
    tokio::task::spawn_blocking(prefer).await.unwrap_or_default()
}

/// A voter of the metadata group on a node that is up and not drained: two drained nodes must not hand it to and fro.
fn undrained_voter(member: &Member) -> Option<ReplicaId> {
    let state = member.metadata.state();
    let members = member.metadata.group().members();
    let fit = |node: NodeId| {
        member.board.is_up(node) && state.node(node).is_some_and(|row| !row.drained && row.leaving.is_none())
    };
    members.voters.iter().find(|(_, node)| fit(**node)).map(|(replica, _)| *replica)
}

/// Of these partitions, which this node leads, those that another node should, with the replicas there.
fn better_led_elsewhere(
    member: &Member,
    led: impl Iterator<Item = Arc<PartitionGroup>>,
    preferred: &BTreeMap<PartitionId, NodeId>,
) -> Vec<(Arc<PartitionGroup>, ReplicaId)> {
    let state = member.metadata.state();
    let statuses = member.board.up();
    let ready = |node: NodeId, replica: ReplicaId| {
        let fit = statuses.iter().filter(|status| status.node == node && !status.low_on_disk);
        fit.flat_map(|status| &status.replicas)
            .any(|status| status.replica == replica && status.role == ReplicaRole::Follower && status.failure.is_none())
    };
    let better = led.filter_map(|group| {
        let GroupId::Partition(id) = group.group().id() else { return None };
        let node = preferred.get(&id).copied().filter(|node| *node != member.identity.node)?;
        let assignments = state.topic(id.topic)?.partitions.get(id.index as usize)?;
        let replica = assignments.iter().find(|assignment| assignment.node == node)?.replica;
        ready(node, replica).then_some((group, replica))
    });
    better.collect()
}
