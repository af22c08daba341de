//! From what is wanted to moves: the node that leads the metadata group plans them, again and again, until the replicas are
//! where they should be and the nodes that are to leave have nothing any more.
//!
//! What is wanted is in the metadata (nodes that leave, replication factors, whether replicas are to be evened out), so any
//! later metadata leader wants the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_cluster_config::{NodeId, PartitionId, ReplicaId, TopicName, limits};
use quorate_raft::{
    Change, Goal, Leaving, MetadataCommand, MetadataReply, MetadataState, MoveStep, Role, TopicAlteration, plan_at_most,
};
use tokio::time::{Instant, MissedTickBehavior};

use super::Member;
use crate::coordinators;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// While there are moves under way, the metadata changes with each step; it is not planned anew at each.
const PLAN_INTERVAL: Duration = Duration::from_secs(2);
/// A replica whose log is in doubt is replaced after so long.
const REPLACE_AFTER: Duration = Duration::from_secs(10);
/// And not again on the same node for so long.
const REPLACED_AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// If more replicas of a node are in doubt at once than these, and than this part of all it has, none is replaced.
const DOUBTED_MAX: usize = 3;
const DOUBTED_SHARE_MAX: usize = 10;
/// How long a change of the metadata may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a plan was made of.
type Outlook = (u64, BTreeSet<NodeId>);

/// Plans and begins what is wanted, while this node leads the metadata group.
pub(crate) async fn drive_desired(member: Arc<Member>) {
    let mut planned: Option<(Outlook, Instant)> = None;
    // The new replicas whose moves were to be taken back although they were switching: those that vote already are not
    // asked for again.
    let mut asked_back: BTreeSet<ReplicaId> = BTreeSet::new();
    let mut doubts = Doubts::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if member.metadata.group().status().role != Role::Leader {
            planned = None;
            continue;
        }
        let state = member.metadata.state();
        let moved: BTreeSet<ReplicaId> = state.moves().filter_map(|row| Some(row.add?.replica)).collect();
        asked_back.retain(|replica| moved.contains(replica));
        let replaced = doubts.replacements(&member, &state);
        for command in due(&member, &state, &mut asked_back).into_iter().chain(replaced) {
            change(&member, &command).await;
        }
        let outlook = (*member.metadata.applied_end().borrow(), member.live_nodes().into_iter().collect());
        let wait = |(before, at): &(Outlook, Instant)| {
            *before == outlook || state.moves().next().is_some() && at.elapsed() < PLAN_INTERVAL
        };
        if planned.as_ref().is_some_and(wait) {
            continue;
        }
        if begin(&member).await {
            planned = Some((outlook, Instant::now()));
        }
    }
}

/// What is to be changed without a plan: moves to nodes that leave are taken back, nodes that have nothing any more are
/// forgotten.
fn due(member: &Member, state: &MetadataState, asked_back: &mut BTreeSet<ReplicaId>) -> Vec<MetadataCommand> {
    let is_leaving = |node: NodeId| state.node(node).is_some_and(|row| row.leaving.is_some());
    let taken_back = state.moves().filter(|row| match (row.step, row.add) {
        (MoveStep::Adding | MoveStep::CatchingUp, Some(add)) => is_leaving(add.node),
        // One that answers is let through: it will be moved on from there.
        (MoveStep::Switching, Some(add)) => {
            is_leaving(add.node) && !member.board.is_up(add.node) && asked_back.insert(add.replica)
        }
        _ => false,
    });
    let taken_back = taken_back.map(|row| MetadataCommand::CancelMove { partition: row.partition });
    let taken_back: Vec<MetadataCommand> = taken_back.collect();
    let members = member.metadata.group().members();
    let is_member = |node: NodeId| members.voters.values().chain(members.learners.values()).any(|at| *at == node);
    let gone = state.nodes().filter(|row| row.leaving.is_some() && !state.carries(row.id));
    let gone = gone.filter(|row| members.committed && !members.joint && !is_member(row.id));
    let forgotten = gone.map(|row| MetadataCommand::ForgetNode { node: row.id });
    let level = state.level_within_reach().filter(|level| understood_by_all(member, state, *level));
    let level = level.map(|level| MetadataCommand::RaiseLevel { level });
    taken_back.into_iter().chain(forgotten).chain(level).chain(more_coordinators(member, state)).collect()
}

/// The consumer groups get more replicas once there are nodes for them.
fn more_coordinators(member: &Member, state: &MetadataState) -> Option<MetadataCommand> {
    let topic = state.topic_named(&TopicName::consumer_groups())?;
    let staying = state.nodes().filter(|row| row.leaving.is_none()).count();
    let wanted = coordinators::replication_factor(staying);
    let alteration = TopicAlteration { replication_factor: Some(wanted), ..TopicAlteration::default() };
    let (topic, name, has) = (topic.id, topic.name.clone(), topic.config.replication_factor);
    (has < wanted).then(|| MetadataCommand::AlterTopic { topic, name, alteration, live: member.live_nodes() })
}

/// Whether all nodes say now that they understand a level, and not only when they were registered: the one that is down may
/// come back as an older build.
fn understood_by_all(member: &Member, state: &MetadataState, level: u32) -> bool {
    let statuses = member.board.up();
    let says_so = |node: NodeId| {
        let said = statuses.iter().find(|status| status.node == node).map(|status| status.levels);
        let ours = (node == member.identity.node).then(|| member.replicas.environment().levels);
        ours.or(said).is_some_and(|levels| levels.understands(level))
    };
    let members = member.metadata.group().members();
    let of_metadata = members.voters.values().chain(members.learners.values()).copied();
    let registered = state.nodes().filter(|row| row.leaving != Some(Leaving::Dead)).map(|row| row.id);
    registered.chain(of_metadata.filter(|node| !state.is_shunned(*node))).all(says_so)
}

/// The replicas whose logs are in doubt.
#[derive(Debug, Default)]
struct Doubts {
    since: BTreeMap<ReplicaId, Instant>,
    /// When one was last replaced: a disk that spoils each new one must not be filled with them.
    replaced: BTreeMap<(NodeId, PartitionId), Instant>,
    /// The nodes of which so many are in doubt that none is replaced, as was said.
    held: BTreeSet<NodeId>,
}

impl Doubts {
    /// Has those that have been in doubt for a while replaced by new ones on their own nodes, if the others can bring these up
    /// to date; takes back the moves of new ones that came to nothing.
    fn replacements(&mut self, member: &Member, state: &MetadataState) -> Vec<MetadataCommand> {
        let statuses = member.board.up();
        let of_others = statuses.iter().flat_map(|status| {
            let doubted = status.replicas.iter().filter(|replica| replica.in_doubt);
            doubted.map(|replica| (status.node, replica.partition, replica.replica))
        });
        let ours = member.replicas.in_doubt().into_iter();
        let ours = ours.map(|(partition, replica)| (member.identity.node, partition, replica));
        let doubted: Vec<(NodeId, PartitionId, ReplicaId)> = of_others.chain(ours).collect();
        self.since.retain(|known, _| doubted.iter().any(|(_, _, replica)| replica == known));
        self.replaced.retain(|_, at| at.elapsed() < REPLACED_AGAIN_AFTER);
        let mut commands = Vec::new();
        let mut changes = Vec::new();
        for (node, partition, replica) in &doubted {
            if self.since.entry(*replica).or_insert_with(Instant::now).elapsed() < REPLACE_AFTER {
                continue;
            }
            let of_node = doubted.iter().filter(|(other, _, _)| other == node).count();
            let all = state.replicas_of(*node);
            let is_held = of_node > DOUBTED_MAX && of_node * DOUBTED_SHARE_MAX > all;
            if !is_held {
                self.held.remove(node);
            } else if self.held.insert(*node) {
                // Its disk is not there, or it runs another build: that is not mended by filling it with new ones.
                tracing::warn!(%node, of_node, all, "many replicas of a node are in doubt at once; is its disk mounted, is it the right build? They are not replaced: restart the node or remove it");
            }
            if is_held {
                continue;
            }
            match state.move_of(*partition) {
                Some(row) if row.add.is_some_and(|add| add.replica == *replica) => {
                    if row.step < MoveStep::Switching {
                        commands.push(MetadataCommand::CancelMove { partition: *partition });
                    }
                    continue;
                }
                Some(_) => continue,
                None => {}
            }
            let is_placed = state.places(*partition, *replica);
            let stays = state.node(*node).is_some_and(|row| row.leaving.is_none());
            let is_led = member.board.leader(*partition).node.is_some_and(|leader| leader != *node)
                || member.replicas.leads(*partition);
            if is_placed && stays && is_led && !self.replaced.contains_key(&(*node, *partition)) {
                changes.push(Change { partition: *partition, add: Some(*node), drop: Some(*node) });
            }
        }
        changes.truncate(limits::MOVES_PER_COMMAND_MAX.saturating_sub(state.moves().count()));
        let now = Instant::now();
        self.replaced.extend(changes.iter().filter_map(|change| Some(((change.drop?, change.partition), now))));
        if !changes.is_empty() {
            commands.push(MetadataCommand::StartMoves { changes });
        }
        commands
    }
}

/// Nodes that stay and do not answer: until they do, nothing is evened out, for all of it might have to be undone.
pub(super) fn awaited(member: &Member, state: &MetadataState) -> Vec<NodeId> {
    let live = member.live_nodes();
    let awaited = state.nodes().filter(|row| row.leaving.is_none() && !live.contains(&row.id));
    awaited.map(|row| row.id).collect()
}

/// Plans and begins moves; tells whether all went well.
async fn begin(member: &Arc<Member>) -> bool {
    let planning = member.clone();
    let plan = move || {
        let state = planning.metadata.state();
        let even = state.is_evening() && awaited(&planning, &state).is_empty();
        let room = limits::MOVES_PER_COMMAND_MAX.saturating_sub(state.moves().count());
        let goal = if even { Goal::Even } else { Goal::Required };
        let (partitions, nodes) = (planning.weighed(state.planned()), state.loads(&planning.live_nodes()));
        let mut changes: Vec<Change> = plan_at_most(&partitions, &nodes, goal, room);
        // Nothing can be brought up to date across what is damaged and cannot be mended.
        if !changes.is_empty() {
            let damaged = planning.damaged_alone(&state);
            changes.retain(|change| !damaged.contains(&change.partition));
        }
        // What is on its way already comes first.
        changes.retain(|change| state.move_of(change.partition).is_none());
        changes.truncate(room);
        let settled = even && changes.is_empty() && state.moves().next().is_none();
        (changes, settled)
    };
    let Ok((changes, settled)) = tokio::task::spawn_blocking(plan).await else { return false };
    match (settled, changes.is_empty()) {
        (true, _) => change(member, &MetadataCommand::SetEvening { evening: false }).await,
        (false, true) => true,
        (false, false) => change(member, &MetadataCommand::StartMoves { changes }).await,
    }
}

impl Member {
    /// The partitions whose only replica is damaged: until their records up to there are trimmed, they stay alone.
    fn damaged_alone(&self, state: &MetadataState) -> BTreeSet<PartitionId> {
        let statuses = self.board.up().into_iter().chain([Arc::new(self.status())]);
        let damaged = statuses.flat_map(|status| {
            let damaged = status.replicas.iter().filter(|replica| replica.failure.is_some());
            damaged.map(|replica| (replica.partition, replica.replica)).collect::<Vec<_>>()
        });
        damaged.filter(|(partition, replica)| state.is_alone(*partition, *replica)).map(|(at, _)| at).collect()
    }
}

async fn change(member: &Arc<Member>, command: &MetadataCommand) -> bool {
    match member.execute(command, Instant::now() + CHANGE_TIMEOUT).await {
        Ok((MetadataReply::Refused(refusal), _)) => {
            tracing::debug!(?command, %refusal, "a change that was due is not any more");
            true
        }
        Ok((reply, _)) => {
            tracing::info!(?reply, "changed where replicas are to be, or which nodes there are");
            true
        }
        Err(error) => {
            tracing::debug!(?command, %error, "a change is tried again");
            false
        }
    }
}
