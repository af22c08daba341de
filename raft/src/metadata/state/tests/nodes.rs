//! Nodes that come and go.

use super::*;
use crate::metadata::placement::Change;

fn leave(state: &mut MetadataState, id: u64, leaving: Option<Leaving>) -> MetadataReply {
    state.apply(&MetadataCommand::SetLeaving { node: NodeId(id), leaving }, 40).0
}

fn forget(state: &mut MetadataState, id: u64) -> MetadataReply {
    state.apply(&MetadataCommand::ForgetNode { node: NodeId(id) }, 41).0
}

#[test]
fn a_new_node_gets_ids_that_nobody_had_and_the_same_ones_when_it_asks_again() {
    let mut state = three_nodes();
    create(&mut state, "orders", 3);
    let taken: BTreeSet<_> = state.topics().flat_map(|t| t.partitions.iter().flatten()).map(|a| a.replica).collect();
    let (node, replica) = join(&mut state, 77);
    assert_eq!(node, NodeId(4));
    assert!(!taken.contains(&replica) && replica > ReplicaId(3));
    assert!(state.is_evening(), "it is to get its share");
    assert_eq!(join(&mut state, 77), (node, replica), "its first try was executed");
    let (other, other_replica) = join(&mut state, 78);
    assert!(other == NodeId(5) && other_replica > replica);
    let place = place_of(60, Some("attic"));
    let again = MetadataCommand::RegisterNode { node, metadata_replica: replica, place: place.clone(), levels: LEVELS };
    assert_eq!(state.apply(&again, 30).0, MetadataReply::NodeRegistered);
    let row = state.node(node).unwrap();
    assert_eq!((&row.place, row.metadata_replica, row.join_token), (&place, replica, 77));
}

#[test]
fn a_node_that_was_removed_is_never_known_again() {
    let mut state = three_nodes();
    let (node, _) = join(&mut state, 77);
    assert_eq!(leave(&mut state, 4, Some(Leaving::Serving)), MetadataReply::NodeChanged);
    assert!(!state.is_shunned(node));
    assert_eq!(forget(&mut state, 4), MetadataReply::NodeForgotten);
    assert_eq!(forget(&mut state, 4), MetadataReply::NodeForgotten, "asked again");
    assert!(state.node(node).is_none() && state.is_shunned(node) && state.is_retired(node));
    assert_eq!(register(&mut state, 4, None), MetadataReply::Refused(MetadataRefusal::NodeRemoved(node)));
    assert_eq!(leave(&mut state, 4, None), MetadataReply::Refused(MetadataRefusal::NodeRemoved(node)));
    assert_eq!(join(&mut state, 77).0, NodeId(5), "not even with the token it had");
}

#[test]
fn a_node_is_forgotten_only_when_it_leaves_and_has_nothing() {
    let mut state = three_nodes();
    join(&mut state, 77);
    assert!(matches!(forget(&mut state, 4), MetadataReply::Refused(_)), "it does not leave");
    let MetadataReply::TopicCreated { topic } = create(&mut state, "orders", 3) else { panic!("created") };
    assert_eq!(leave(&mut state, 1, Some(Leaving::Dead)), MetadataReply::NodeChanged);
    assert!(state.is_shunned(NodeId(1)) && !state.is_retired(NodeId(1)));
    let loads = state.loads(&[NodeId(1), NodeId(2), NodeId(3), NodeId(4)]);
    assert!(!loads[0].takes_replicas && !loads[0].takes_leaders && !loads[0].live && loads[1].takes_replicas);
    for index in 0..3 {
        assert!(matches!(forget(&mut state, 1), MetadataReply::Refused(_)), "it has replicas");
        let change = Change { partition: PartitionId { topic, index }, add: Some(NodeId(4)), drop: Some(NodeId(1)) };
        state.apply(&MetadataCommand::StartMoves { changes: vec![change] }, 42);
        loop {
            let Some(done) = state.moves().next().copied() else { break };
            assert!(matches!(forget(&mut state, 1), MetadataReply::Refused(_)), "they are on their way");
            state.apply(&MetadataCommand::AdvanceMove { done }, 43);
        }
    }
    assert_eq!(forget(&mut state, 1), MetadataReply::NodeForgotten);
    let back = Change { partition: PartitionId { topic, index: 0 }, add: Some(NodeId(1)), drop: Some(NodeId(2)) };
    let begun = state.apply(&MetadataCommand::StartMoves { changes: vec![back] }, 44).0;
    assert_eq!(begun, MetadataReply::MovesStarted { count: 0 }, "nothing goes there any more");
}

#[test]
fn a_node_without_which_a_topic_could_not_be_held_stays() {
    let mut state = three_nodes();
    create(&mut state, "orders", 3);
    create(&mut state, "single", 1);
    let MetadataReply::Refused(refusal) = leave(&mut state, 2, Some(Leaving::Serving)) else { panic!("refused") };
    let line = refusal.to_string();
    assert!(line.contains("factor of orders;") && !line.contains("single") && line.contains("add a node"), "{line}");
    join(&mut state, 77);
    assert_eq!(leave(&mut state, 2, Some(Leaving::Serving)), MetadataReply::NodeChanged);
    assert!(matches!(leave(&mut state, 3, Some(Leaving::Dead)), MetadataReply::Refused(_)), "one is leaving already");
    assert_eq!(leave(&mut state, 2, None), MetadataReply::NodeChanged, "it stays after all");
    assert_eq!(leave(&mut state, 3, Some(Leaving::Dead)), MetadataReply::NodeChanged);
    let mut alone = MetadataState::default();
    register(&mut alone, 1, None);
    let MetadataReply::Refused(refusal) = leave(&mut alone, 1, Some(Leaving::Serving)) else { panic!("refused") };
    assert!(refusal.to_string().contains("last one"), "{refusal}");
}

#[test]
fn the_level_rises_once_all_nodes_understand_it_and_then_older_builds_are_refused() {
    let mut state = three_nodes();
    let register = |state: &mut MetadataState, id, levels| {
        let place = place_of(id, None);
        let command =
            MetadataCommand::RegisterNode { node: NodeId(id), metadata_replica: ReplicaId(id), place, levels };
        state.apply(&command, 5).0
    };
    let newer = Levels { min: 1, max: 3 };
    let raise = |state: &mut MetadataState, level| state.apply(&MetadataCommand::RaiseLevel { level }, 6).0;
    for id in 1..=2 {
        assert_eq!(register(&mut state, id, newer), MetadataReply::NodeRegistered);
    }
    assert_eq!((state.level(), state.level_within_reach()), (1, None), "one is of an older build");
    assert!(matches!(raise(&mut state, 2), MetadataReply::Refused(_)));
    register(&mut state, 3, Levels { min: 1, max: 2 });
    assert_eq!(state.level_within_reach(), Some(2));
    assert!(matches!(raise(&mut state, 3), MetadataReply::Refused(_)), "not all understand it");
    assert_eq!((raise(&mut state, 2), state.level()), (MetadataReply::LevelRaised, 2));
    assert!(matches!(raise(&mut state, 2), MetadataReply::Refused(_)), "it only rises");
    for levels in [LEVELS, Levels { min: 3, max: 4 }] {
        let refused = MetadataReply::Refused(MetadataRefusal::NotUnderstood { levels, level: 2 });
        assert_eq!(register(&mut state, 3, levels), refused);
        let join = Join { token: 9, place: place_of(9, None), levels };
        assert_eq!(state.apply(&MetadataCommand::AddNode(join), 7).0, refused);
    }
    let too_old = MetadataRefusal::NotUnderstood { levels: LEVELS, level: 2 }.to_string();
    assert!(too_old.contains("level 2") && too_old.contains("run a newer build"), "{too_old}");
    // A node that is given up holds nobody up.
    register(&mut state, 3, Levels { min: 1, max: 3 });
    state.apply(&MetadataCommand::SetLeaving { node: NodeId(2), leaving: Some(Leaving::Dead) }, 8);
    assert_eq!(state.level_within_reach(), Some(3));
}

#[test]
fn tombstones_are_forgotten_when_their_node_says_so_or_goes() {
    let (mut state, ids) = (three_nodes(), |state: &MetadataState| {
        let all = (1..=4).flat_map(|node| state.tombstones_of(NodeId(node)).map(|t| t.replica).collect::<Vec<_>>());
        all.collect::<Vec<_>>()
    });
    let MetadataReply::TopicCreated { topic } = create(&mut state, "orders", 3) else { panic!("created") };
    state.apply(&MetadataCommand::DeleteTopic { topic, name: TopicName::parse("orders").unwrap() }, 10);
    assert_eq!(ids(&state).len(), 9);
    let of_first: Vec<ReplicaId> = state.tombstones_of(NodeId(1)).map(|tombstone| tombstone.replica).collect();
    let forget = |state: &mut MetadataState, node| {
        state.apply(&MetadataCommand::ForgetTombstones { node: NodeId(node), replicas: of_first.clone() }, 11);
    };
    forget(&mut state, 2);
    assert_eq!(ids(&state).len(), 9, "only their own node knows");
    forget(&mut state, 1);
    forget(&mut state, 1);
    assert_eq!(ids(&state).len(), 6);
    state.apply(&MetadataCommand::SetLeaving { node: NodeId(3), leaving: Some(Leaving::Dead) }, 12);
    state.apply(&MetadataCommand::ForgetNode { node: NodeId(3) }, 13);
    assert_eq!(ids(&state).len(), 3, "a node that is gone has nothing to delete");
}
