//! The members of the metadata group: the node that leads it has new nodes follow it, chosen ones vote, and those that are
//! gone leave it. One step at a time, each of which may be repeated; the next leader goes on from what it finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_cluster_config::{NodeId, ReplicaId};
use quorate_raft::{
    GroupMembers, Leaving, MetadataState, NodeLoad, Replacement, ReplacementStep, Role, StepProgress, choose_voters,
};
use tokio::time::{Instant, MissedTickBehavior};

use super::Member;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// A node that has said nothing for so long gives its vote to another one, if there is one.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// Keeps the members of the metadata group as they should be, while this node leads it.
pub(crate) async fn keep_voters(member: Arc<Member>) {
    let mut leads_since: Option<Instant> = None;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let group = member.metadata.group();
        if group.status().role != Role::Leader {
            leads_since = None;
            continue;
        }
        let leads_since = *leads_since.get_or_insert_with(Instant::now);
        let heard = |node: NodeId| {
            let last = member.board.last_heard(node).map_or(leads_since, |last| last.max(leads_since));
            node == member.identity.node || last.elapsed() < GONE_AFTER
        };
        let Some((step, replacement)) = next_step(&group.members(), &member.metadata.state(), heard) else { continue };
        match group.take_step(step, replacement).await {
            Ok(StepProgress::Done) => {
                tracing::info!(?step, ?replacement, members = ?group.members(), "changed who has the metadata");
            }
            Ok(progress) => tracing::debug!(?step, ?replacement, ?progress, "a change of who has the metadata goes on"),
            Err(error) => {
                tracing::debug!(?step, ?replacement, %error, "a change of who has the metadata is tried again")
            }
        }
    }
}

/// What is to be changed next. Nodes are heard if they have answered lately.
fn next_step(
    members: &GroupMembers,
    state: &MetadataState,
    heard: impl Fn(NodeId) -> bool,
) -> Option<(ReplacementStep, Replacement)> {
    let wanted = wanted(members, state);
    if let Some((replica, node)) = members.learners.iter().find(|(replica, node)| wanted.get(node) != Some(replica)) {
        return Some((ReplacementStep::TakeBack, Replacement { add: Some((*replica, *node)), drop: None }));
    }
    let voting: BTreeMap<NodeId, ReplicaId> = members.voters.iter().map(|(replica, node)| (*node, *replica)).collect();
    let is_member =
        |replica: &ReplicaId| members.voters.contains_key(replica) || members.learners.contains_key(replica);
    if let Some((node, replica)) = wanted.iter().find(|(_, replica)| !is_member(replica)) {
        return Some((ReplacementStep::Add, Replacement { add: Some((*replica, *node)), drop: None }));
    }
    let candidate = |node: &NodeId| NodeLoad {
        node: *node,
        rack: state.node(*node).and_then(|row| row.place.rack.as_ref()).map(ToString::to_string),
        live: heard(*node),
        takes_replicas: state.node(*node).is_none_or(|row| row.leaving.is_none()),
        takes_leaders: true,
        replicas: 0,
        leaders: 0,
    };
    let candidates: Vec<NodeLoad> = wanted.keys().map(candidate).collect();
    let chosen = choose_voters(&candidates, &voting.keys().copied().collect::<BTreeSet<_>>());
    if chosen.is_empty() {
        return None;
    }
    // Those that do not come back go first and alone: nothing is gained by waiting for others in their place.
    let switch = |add, drop| Some((ReplacementStep::Switch, Replacement { add, drop }));
    if let Some((_, replica)) = voting.iter().find(|(node, _)| !wanted.contains_key(node)) {
        return switch(None, Some(*replica));
    }
    let missing: Vec<NodeId> = chosen.iter().copied().filter(|node| !voting.contains_key(node)).collect();
    let add = missing.iter().find(|node| heard(**node)).and_then(|node| Some((*wanted.get(node)?, *node)));
    let mut drops: Vec<NodeId> = voting.keys().copied().filter(|node| !chosen.contains(node)).collect();
    drops.sort_by_key(|node| (heard(*node), *node));
    // One that leaves does not wait for another one that is not there; others do.
    let leaves = |node: &NodeId| state.node(*node).is_some_and(|row| row.leaving.is_some());
    let drop = drops.iter().find(|node| add.is_some() || missing.is_empty() || leaves(node));
    let drop = drop.and_then(|node| voting.get(node)).copied();
    if add.is_none() && drop.is_none() {
        return None;
    }
    switch(add, drop)
}

/// The nodes that are to have the metadata, with their replicas of it: all that are registered, but for those that are dead
/// or only wait to be forgotten. Members that have not registered yet have just formed the cluster.
fn wanted(members: &GroupMembers, state: &MetadataState) -> BTreeMap<NodeId, ReplicaId> {
    let both = members.voters.iter().chain(&members.learners);
    let forming = both.filter(|(_, node)| state.node(**node).is_none() && !state.is_retired(**node));
    let stays = |leaving: Option<Leaving>, node| match leaving {
        None => true,
        Some(Leaving::Serving) => state.carries(node),
        Some(Leaving::Dead) => false,
    };
    let registered = state.nodes().filter(|row| stays(row.leaving, row.id)).map(|row| (row.id, row.metadata_replica));
    forming.map(|(replica, node)| (*node, *replica)).chain(registered).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use quorate_cluster_config::Address;
    use quorate_raft::{Join, LEVELS, MetadataCommand, NodePlace};

    use super::*;

    /// Nodes as the metadata has them, and the members as the steps change them.
    struct Cluster {
        state: MetadataState,
        members: GroupMembers,
        dead: BTreeSet<NodeId>,
    }

    impl Cluster {
        /// Three nodes that have formed a cluster and registered.
        fn new() -> Self {
            let voters = (1..=3).map(|id| (ReplicaId(id), NodeId(id))).collect();
            let members = GroupMembers { voters, committed: true, ..GroupMembers::default() };
            let mut cluster = Self { state: MetadataState::default(), members, dead: BTreeSet::new() };
            for id in 1..=3 {
                let (node, metadata_replica) = (NodeId(id), ReplicaId(id));
                cluster.apply(&MetadataCommand::RegisterNode {
                    node,
                    metadata_replica,
                    place: place(),
                    levels: LEVELS,
                });
            }
            cluster
        }

        fn apply(&mut self, command: &MetadataCommand) {
            self.state.apply(command, 1);
        }

        fn join(&mut self, token: u128) {
            self.apply(&MetadataCommand::AddNode(Join { token, place: place(), levels: LEVELS }));
        }

        fn leave(&mut self, id: u64, leaving: Leaving) {
            self.apply(&MetadataCommand::SetLeaving { node: NodeId(id), leaving: Some(leaving) });
        }

        /// Takes all steps there are; returns the voters and the learners.
        fn settle(&mut self) -> (Vec<u64>, Vec<u64>) {
            for taken in 0.. {
                let dead = &self.dead;
                let Some((step, change)) = next_step(&self.members, &self.state, |node| !dead.contains(&node)) else {
                    break;
                };
                assert!(taken < 20, "no end: {step:?} {change:?}");
                self.take(step, change);
            }
            let nodes = |members: &quorate_raft::Members| members.values().map(|node| node.0).collect();
            (nodes(&self.members.voters), nodes(&self.members.learners))
        }

        fn take(&mut self, step: ReplacementStep, Replacement { add, drop }: Replacement) {
            match (step, add) {
                (ReplacementStep::Add, Some((replica, node))) => _ = self.members.learners.insert(replica, node),
                (ReplacementStep::TakeBack, Some((replica, _))) => {
                    assert!(self.members.learners.remove(&replica).is_some());
                }
                _ => {
                    if let Some((replica, node)) = add {
                        assert!(self.members.learners.remove(&replica).is_some() && !self.dead.contains(&node));
                        self.members.voters.insert(replica, node);
                    }
                    if let Some(replica) = drop {
                        assert!(self.members.voters.remove(&replica).is_some());
                    }
                }
            }
        }
    }

    fn place() -> NodePlace {
        let address = Address::parse("localhost:1").unwrap();
        NodePlace { client_address: address.clone(), peer_address: address, rack: None }
    }

    #[test]
    fn nodes_that_formed_a_cluster_vote_before_they_have_registered() {
        let mut cluster = Cluster::new();
        cluster.state = MetadataState::default();
        assert_eq!(cluster.settle(), (vec![1, 2, 3], vec![]));
        let (node, metadata_replica) = (NodeId(1), ReplicaId(1));
        cluster.apply(&MetadataCommand::RegisterNode { node, metadata_replica, place: place(), levels: LEVELS });
        assert_eq!(cluster.settle(), (vec![1, 2, 3], vec![]));
    }

    #[test]
    fn new_nodes_follow_and_five_vote() {
        let mut cluster = Cluster::new();
        cluster.join(4);
        assert_eq!(cluster.settle(), (vec![1, 2, 3], vec![4]));
        cluster.join(5);
        cluster.join(6);
        assert_eq!(cluster.settle(), (vec![1, 2, 3, 4, 5], vec![6]));
    }

    #[test]
    fn a_voter_that_is_silent_gives_way_if_there_is_another() {
        let mut cluster = Cluster::new();
        cluster.dead.insert(NodeId(2));
        assert_eq!(cluster.settle(), (vec![1, 2, 3], vec![]));
        cluster.join(4);
        // It is a learner from then on, and stays one when it comes back.
        assert_eq!(cluster.settle(), (vec![1, 3, 4], vec![2]));
        cluster.dead.clear();
        assert_eq!(cluster.settle(), (vec![1, 3, 4], vec![2]));
    }

    #[test]
    fn those_that_leave_go_without_a_trace() {
        let mut cluster = Cluster::new();
        (4..=5).for_each(|token| cluster.join(token));
        assert_eq!(cluster.settle(), (vec![1, 2, 3, 4, 5], vec![]));
        cluster.leave(1, Leaving::Serving);
        assert_eq!(cluster.settle(), (vec![2, 3, 4], vec![5]), "four would survive no more losses than three");
        cluster.apply(&MetadataCommand::ForgetNode { node: NodeId(1) });
        cluster.dead.insert(NodeId(3));
        cluster.leave(3, Leaving::Dead);
        assert_eq!(cluster.settle(), (vec![2, 4, 5], vec![]));
        cluster.apply(&MetadataCommand::ForgetNode { node: NodeId(3) });
        assert_eq!(cluster.settle(), (vec![2, 4, 5], vec![]));
    }

    #[test]
    fn one_that_leaves_does_not_wait_for_one_that_is_not_there() {
        for leaving in [Leaving::Serving, Leaving::Dead] {
            let mut cluster = Cluster::new();
            (4..=6).for_each(|token| cluster.join(token));
            assert_eq!(cluster.settle(), (vec![1, 2, 3, 4, 5], vec![6]));
            cluster.dead.insert(NodeId(6));
            cluster.leave(1, leaving);
            assert_eq!(cluster.settle(), (vec![2, 3, 4, 5], vec![6]));
            cluster.dead.clear();
            assert_eq!(cluster.settle(), (vec![2, 3, 4, 5, 6], vec![]));
        }
    }
}
