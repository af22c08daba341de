//! Moves: what begins, how it goes on and ends, and that nothing is noted twice.

use super::*;
use crate::metadata::{
    moves::MoveStep,
    placement::{Change, Goal, plan},
};

/// Four nodes, and a topic of three partitions whose replicas are on the first three.
fn four_nodes() -> (MetadataState, TopicId) {
    let mut state = three_nodes();
    let MetadataReply::TopicCreated { topic } = create(&mut state, "orders", 3) else { panic!("created") };
    assert_eq!(join(&mut state, 4).0, NodeId(4));
    (state, topic)
}

fn change(topic: TopicId, index: u32, add: Option<u64>, drop: Option<u64>) -> Change {
    Change { partition: PartitionId { topic, index }, add: add.map(NodeId), drop: drop.map(NodeId) }
}

fn start(state: &mut MetadataState, changes: &[Change]) -> u32 {
    match state.apply(&MetadataCommand::StartMoves { changes: changes.to_vec() }, 30).0 {
        MetadataReply::MovesStarted { count } => count,
        reply => panic!("{reply:?}"),
    }
}

fn advance(state: &mut MetadataState, done: MoveRow) -> MetadataReply {
    state.apply(&MetadataCommand::AdvanceMove { done }, 31).0
}

fn nodes(state: &MetadataState, partition: PartitionId) -> Vec<u64> {
    let placed = state.placed().into_iter().find(|placed| placed.partition == partition).unwrap();
    placed.nodes.iter().map(|node| node.0).collect()
}

#[test]
fn a_move_goes_through_all_steps_and_ends_with_the_new_replica_in_the_old_ones_place() {
    let (mut state, topic) = four_nodes();
    let wanted = change(topic, 0, Some(4), Some(2));
    let before = nodes(&state, wanted.partition);
    assert_eq!((start(&mut state, &[wanted]), start(&mut state, &[wanted])), (1, 0), "one move a partition");
    let first = *state.move_of(wanted.partition).unwrap();
    let (add, drop) = (first.add.unwrap(), first.drop.unwrap());
    assert_eq!((first.step, add.node, drop.node), (MoveStep::Adding, NodeId(4), NodeId(2)));
    assert!(state.topics().all(|topic| topic.partitions.iter().flatten().all(|known| known.replica < add.replica)));
    for step in [MoveStep::CatchingUp, MoveStep::Switching] {
        let row = *state.move_of(wanted.partition).unwrap();
        assert_eq!(advance(&mut state, row), MetadataReply::MoveAdvanced { step: Some(step) });
        let late = MetadataReply::Refused(MetadataRefusal::NoSuchMove(wanted.partition));
        assert_eq!(advance(&mut state, row), late, "noted once");
        assert_eq!(nodes(&state, wanted.partition), before, "until it is over");
    }
    // Taken back, but the new replica turns out to vote.
    let cancel = MetadataCommand::CancelMove { partition: wanted.partition };
    let advanced = |step| MetadataReply::MoveAdvanced { step: Some(step) };
    assert_eq!(state.apply(&cancel, 32).0, advanced(MoveStep::TakingBack));
    let resume = MetadataCommand::ResumeMove { row: *state.move_of(wanted.partition).unwrap() };
    assert_eq!(state.apply(&resume, 33).0, advanced(MoveStep::Switching));
    assert_eq!(state.apply(&resume, 34).0, MetadataReply::Refused(MetadataRefusal::NoSuchMove(wanted.partition)));
    assert!(!state.is_no_replica_of(add.replica, wanted.partition), "it is on its way");
    let row = *state.move_of(wanted.partition).unwrap();
    assert_eq!(advance(&mut state, row), MetadataReply::MoveAdvanced { step: None });
    let is_none = |replica| state.is_no_replica_of(replica, wanted.partition);
    assert!(is_none(drop.replica) && !is_none(add.replica));
    assert!(!is_none(ReplicaId(add.replica.0 + 1)), "one that is not known yet may be on its way");
    let after: Vec<u64> = before.iter().map(|node| if *node == 2 { 4 } else { *node }).collect();
    assert_eq!(nodes(&state, wanted.partition), after);
    assert!(
        state.tombstone(drop.replica).is_some_and(|gone| !gone.keep_files) && state.tombstone(add.replica).is_none()
    );
    assert_eq!(state.moves().count(), 0);
}

#[test]
fn a_move_is_cancelled_before_its_replica_votes() {
    for noted in 0..2 {
        let (mut state, topic) = four_nodes();
        let wanted = change(topic, 1, Some(4), Some(1));
        let before = nodes(&state, wanted.partition);
        start(&mut state, &[wanted]);
        for _ in 0..noted {
            let row = *state.move_of(wanted.partition).unwrap();
            advance(&mut state, row);
        }
        let stale = *state.move_of(wanted.partition).unwrap();
        state.apply(&MetadataCommand::CancelMove { partition: wanted.partition }, 32);
        assert_eq!(advance(&mut state, stale), MetadataReply::Refused(MetadataRefusal::NoSuchMove(wanted.partition)));
        let row = *state.move_of(wanted.partition).unwrap();
        assert_eq!(row.step, MoveStep::TakingBack);
        assert_eq!(advance(&mut state, row), MetadataReply::MoveAdvanced { step: None });
        assert_eq!(nodes(&state, wanted.partition), before);
        assert!(
            state.tombstone(row.add.unwrap().replica).is_some() && state.tombstone(row.drop.unwrap().replica).is_none()
        );
    }
}

#[test]
fn what_does_not_fit_is_left_out_and_changes_nothing() {
    let (mut state, topic) = four_nodes();
    let before = state.clone();
    let gone = change(TopicId(99), 0, Some(4), Some(1));
    let nonsense = [
        gone,
        change(topic, 7, Some(4), Some(1)),
        change(topic, 0, Some(3), Some(1)),
        change(topic, 1, Some(4), Some(4)),
        change(topic, 2, Some(9), Some(1)),
        change(topic, 2, None, None),
    ];
    assert_eq!(start(&mut state, &nonsense), 0);
    assert_eq!(state, before);
    let many = MetadataCommand::StartMoves { changes: vec![gone; limits::MOVES_PER_COMMAND_MAX + 1] };
    assert!(matches!(state.apply(&many, 1).0, MetadataReply::Refused(MetadataRefusal::Invalid(_))));
    // The second change of a partition waits for the first, and is planned again after it.
    let both = [change(topic, 0, Some(4), Some(1)), change(topic, 0, None, Some(2))];
    assert_eq!((start(&mut state, &both), state.moves().count()), (1, 1));
}

#[test]
fn replicas_come_and_go_without_one_another_but_the_last_stays() {
    let (mut state, topic) = four_nodes();
    let partition = PartitionId { topic, index: 0 };
    let run = |state: &mut MetadataState, change| {
        assert_eq!(start(state, &[change]), 1);
        while let Some(row) = state.move_of(partition).copied() {
            advance(state, row);
        }
    };
    run(&mut state, change(topic, 0, Some(4), None));
    assert_eq!(nodes(&state, partition).len(), 4);
    for node in [1, 2, 3] {
        run(&mut state, change(topic, 0, None, Some(node)));
    }
    assert_eq!(nodes(&state, partition), [4]);
    assert_eq!(start(&mut state, &[change(topic, 0, None, Some(4))]), 0, "a partition has a replica");
}

#[test]
fn a_deleted_topic_takes_its_moves_along() {
    let (mut state, topic) = four_nodes();
    start(&mut state, &[change(topic, 0, Some(4), Some(1))]);
    let add = state.moves().next().unwrap().add.unwrap();
    state.apply(&MetadataCommand::DeleteTopic { topic, name: TopicName::parse("orders").unwrap() }, 40);
    assert!(state.moves().next().is_none() && state.tombstone(add.replica).is_some());
}

#[test]
fn a_plan_is_carried_out_and_the_rows_rebuild_every_state_on_the_way() {
    let (mut state, _) = four_nodes();
    let mut rebuilt = state.clone();
    let live = [1, 2, 3, 4].map(NodeId);
    let mut moved = 0;
    loop {
        let changes = plan(&state.planned(), &state.loads(&live), Goal::Even);
        let mut commands = vec![MetadataCommand::StartMoves { changes }];
        commands.extend(state.moves().map(|done| MetadataCommand::AdvanceMove { done: *done }));
        for command in commands {
            let (reply, rows) = state.apply(&command, 50);
            moved += u32::from(reply == MetadataReply::MoveAdvanced { step: None });
            rebuilt.load(rows);
            assert_eq!(rebuilt, state, "after {command:?}");
        }
        if state.moves().next().is_none() {
            break;
        }
    }
    let carried = |node| state.placed().iter().filter(|placed| placed.nodes.contains(&NodeId(node))).count();
    assert_eq!(moved, 2);
    assert_eq!([1, 2, 3, 4].map(carried).iter().filter(|count| **count == 2).count(), 3, "nine replicas on four nodes");
}

#[test]
fn a_replica_is_replaced_on_its_own_node() {
    let (mut state, topic) = four_nodes();
    let wanted = change(topic, 0, Some(2), Some(2));
    assert_eq!(start(&mut state, &[wanted]), 1);
    let first = *state.move_of(wanted.partition).unwrap();
    let (add, drop) = (first.add.unwrap(), first.drop.unwrap());
    assert!(add.node == drop.node && add.replica != drop.replica);
    assert_eq!(state.planned().iter().find(|placed| placed.partition == wanted.partition).unwrap().nodes.len(), 3);
    while let Some(row) = state.move_of(wanted.partition).copied() {
        advance(&mut state, row);
    }
    let placed = &state.topic(topic).unwrap().partitions[0];
    assert!(placed.contains(&add) && !placed.contains(&drop) && placed.len() == 3);
    assert!(state.tombstone(drop.replica).is_some_and(|tombstone| tombstone.keep_files), "it was in doubt");
}

#[test]
fn a_partition_goes_on_from_one_replica_and_the_others_are_put_aside() {
    let (mut state, topic) = four_nodes();
    let moving = change(topic, 1, Some(4), Some(2));
    start(&mut state, &[moving]);
    let joining = state.move_of(moving.partition).unwrap().add.unwrap();
    let placed = state.topic(topic).unwrap().partitions[1].clone();
    let recover = |state: &mut MetadataState, survivor| {
        let partition = moving.partition;
        let decided = RecoverPartition { partition, survivor, log_end_offset: 7, high_watermark: 5, decided_at_ms: 1 };
        state.apply(&MetadataCommand::RecoverPartition(decided), 40).0
    };
    let unknown = MetadataRefusal::NoSuchReplica { partition: moving.partition, replica: ReplicaId(999) };
    assert_eq!(recover(&mut state, ReplicaId(999)), MetadataReply::Refused(unknown));
    let MetadataReply::PartitionRecovered { replica } = recover(&mut state, placed[2].replica) else { panic!("it is") };
    let to = Assignment { replica, node: placed[2].node };
    assert_eq!(state.topic(topic).unwrap().partitions[1], [to]);
    assert!(replica > joining.replica, "an id that was never used");
    for gone in [placed[0], placed[1], joining] {
        assert!(state.tombstone(gone.replica).is_some_and(|tombstone| tombstone.keep_files));
    }
    assert_eq!(state.tombstone(placed[2].replica), None, "its files are those of the new one");
    assert!(state.move_of(moving.partition).is_none());
    let row = state.recovery_of(replica).unwrap();
    assert_eq!((row.to, row.index, row.decided.survivor, row.lost.len()), (to, 40, placed[2].replica, 3));
    // Its other replicas are made again like any that are missing.
    let changes = plan(&state.planned(), &state.loads(&(1..=4).map(NodeId).collect::<Vec<_>>()), Goal::Required);
    assert_eq!(changes.iter().filter(|change| change.partition == moving.partition).count(), 2);
    let mut rebuilt = MetadataState::default();
    rebuilt.load(state.rows());
    assert_eq!(rebuilt, state);
    // Its node may not have heard of it before the topic is deleted.
    state.apply(&MetadataCommand::DeleteTopic { topic, name: TopicName::parse("orders").unwrap() }, 41);
    assert!([replica, placed[2].replica].iter().all(|gone| state.tombstone(*gone).is_some()));
}

#[test]
fn after_a_recovery_of_the_metadata_no_id_is_given_twice_and_nothing_begins_anew() {
    let (mut state, topic) = four_nodes();
    let reserve = MetadataCommand::ReserveProducerIds { count: 10 };
    let MetadataReply::ProducerIds { first } = state.apply(&reserve, 40).0 else { panic!("reserved") };
    let decided = RecoverMetadata { survivor: NodeId(1), lost: vec![NodeId(2), NodeId(3)], decided_at_ms: 1 };
    // As if node 1 had been given up itself.
    state.apply(&MetadataCommand::SetLeaving { node: NodeId(1), leaving: Some(Leaving::Dead) }, 41);
    assert_eq!(state.apply(&MetadataCommand::RecoverMetadata(decided), 42).0, MetadataReply::MetadataRecovered);
    assert!(state.is_shunned(NodeId(2)) && state.is_shunned(NodeId(3)) && !state.is_shunned(NodeId(1)));
    let MetadataReply::ProducerIds { first: next } = state.apply(&reserve, 43).0 else { panic!("reserved") };
    assert!(next.0 > first.0 + (1 << 32));
    let (node, metadata_replica) = join(&mut state, 77);
    assert!(node.0 > 1_000 && metadata_replica.0 > 1 << 20);
    let topic = state.topic(topic).unwrap();
    assert_eq!(topic.moved.len(), topic.partitions.len());
}
