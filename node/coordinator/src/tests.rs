//! The decisions of a coordinator, in examples and in random histories.

#![expect(clippy::unwrap_used, reason = "tests")]

mod histories;
mod spreading;

use std::{collections::BTreeMap, time::Duration};

use quorate_cluster_config::{Name, PartitionId, TopicId, TopicName};
use quorate_protocol::{Assignment, Committer, GroupState, Heartbeat, MemberId, MemberSettings};

use crate::{CoordinatorState, Refusal, Row, Topics};

/// Topics by name: id and number of partitions.
#[derive(Clone, Debug, Default)]
struct Known {
    index: u64,
    topics: BTreeMap<TopicName, (TopicId, u32)>,
}

impl Known {
    fn with(index: u64, topics: &[(&str, u64, u32)]) -> Self {
        let named = |(name, id, count): &(&str, u64, u32)| (TopicName::parse(name).unwrap(), (TopicId(*id), *count));
        Self { index, topics: topics.iter().map(named).collect() }
    }
}

impl Topics for Known {
    fn metadata_index(&self) -> u64 {
        self.index
    }

    fn find(&self, name: &TopicName) -> Option<(TopicId, u32)> {
        self.topics.get(name).copied()
    }

    fn was_deleted(&self, topic: TopicId) -> bool {
        self.topics.values().all(|(id, _)| *id != topic)
    }
}

fn group() -> Name {
    Name::parse("billing").unwrap()
}

fn settings(topics: &[&str]) -> MemberSettings {
    MemberSettings {
        instance: None,
        client: "tests".to_owned(),
        topics: topics.iter().map(|name| TopicName::parse(name).unwrap()).collect(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
    }
}

fn beat(member: u128, epoch: u64, owned: &[PartitionId]) -> Heartbeat {
    let (group, member, owned) = (group(), MemberId(member), owned.to_vec());
    Heartbeat { group, member, epoch, join: None, was: None, owned, max_wait: Duration::ZERO }
}

fn join_as(state: &mut CoordinatorState, member: u128, settings: MemberSettings, topics: &Known) -> Assignment {
    state.heartbeat(&Heartbeat { join: Some(settings), ..beat(member, 0, &[]) }, topics).unwrap();
    state.assignment(&group(), MemberId(member)).unwrap()
}

fn join(state: &mut CoordinatorState, member: u128, topics: &Known) -> Assignment {
    join_as(state, member, settings(&["orders"]), topics)
}

fn partitions(assignment: &Assignment) -> Vec<PartitionId> {
    let of = |topic: &quorate_protocol::AssignedTopic| {
        let id = topic.topic;
        topic.partitions.iter().map(move |index| PartitionId { topic: id, index: *index }).collect::<Vec<_>>()
    };
    assignment.topics.iter().flat_map(of).collect()
}

fn at(index: u32) -> PartitionId {
    PartitionId { topic: TopicId(1), index }
}

fn commit(state: &mut CoordinatorState, member: u128, epoch: u64, index: u32, offset: u64) -> Result<u64, Refusal> {
    let committer = Committer::Member { member: MemberId(member), epoch };
    let committed = state.commit(&group(), committer, &[(at(index), Some(offset))], 0)?;
    Ok(committed[0].1.offset)
}

#[test]
fn a_second_member_gets_its_share_only_once_the_first_has_given_it_up() {
    let topics = Known::with(1, &[("orders", 1, 4)]);
    let mut state = CoordinatorState::default();
    let first = join(&mut state, 1, &topics);
    assert_eq!(partitions(&first), [at(0), at(1), at(2), at(3)]);
    let second = join(&mut state, 2, &topics);
    assert!(partitions(&second).is_empty() && second.epoch > first.epoch);
    let told = state.assignment(&group(), MemberId(1)).unwrap();
    assert_eq!((partitions(&told), told.epoch), (vec![at(0), at(1)], second.epoch + 1));
    assert_eq!(state.describe(&group()).unwrap().state, GroupState::Rebalancing);

    // It says the same as before, and has not heard: it still has all.
    state.heartbeat(&beat(1, first.epoch, &[]), &topics).unwrap();
    assert!(partitions(&state.assignment(&group(), MemberId(2)).unwrap()).is_empty());
    // One of the two is given up, then the other.
    state.heartbeat(&beat(1, told.epoch, &[at(0), at(1), at(3)]), &topics).unwrap();
    assert_eq!(partitions(&state.assignment(&group(), MemberId(2)).unwrap()), [at(2)]);
    state.heartbeat(&beat(1, told.epoch, &[at(0), at(1)]), &topics).unwrap();
    assert_eq!(partitions(&state.assignment(&group(), MemberId(2)).unwrap()), [at(2), at(3)]);
    assert_eq!(state.describe(&group()).unwrap().state, GroupState::Stable);
}

#[test]
fn what_a_member_had_goes_to_the_others_and_what_it_says_later_counts_no_more() {
    let topics = Known::with(1, &[("orders", 1, 2)]);
    let mut state = CoordinatorState::default();
    let zombie = join(&mut state, 1, &topics);
    commit(&mut state, 1, zombie.epoch, 0, 5).unwrap();
    join(&mut state, 2, &topics);
    state.remove(&group(), MemberId(1), &topics);
    let heir = state.assignment(&group(), MemberId(2)).unwrap();
    assert_eq!(partitions(&heir), [at(0), at(1)]);
    commit(&mut state, 2, heir.epoch, 0, 9).unwrap();
    assert!(matches!(commit(&mut state, 1, zombie.epoch, 0, 7), Err(Refusal::UnknownMember { .. })));
    assert!(matches!(state.heartbeat(&beat(1, zombie.epoch, &[]), &topics), Err(Refusal::UnknownMember { .. })));
    assert_eq!(state.committed(&group(), None)[0].1.offset, 9);
}

#[test]
fn a_commit_of_before_a_partition_was_lost_and_got_back_is_fenced() {
    let topics = Known::with(1, &[("orders", 1, 2)]);
    let mut state = CoordinatorState::default();
    let old = join(&mut state, 1, &topics);
    join(&mut state, 2, &topics);
    let told = state.assignment(&group(), MemberId(1)).unwrap();
    let lost = [at(0), at(1)].into_iter().find(|partition| !partitions(&told).contains(partition)).unwrap();
    // While it is to give it up, it still may say how far it came.
    commit(&mut state, 1, old.epoch, lost.index, 3).unwrap();
    state.heartbeat(&beat(1, told.epoch, &partitions(&told)), &topics).unwrap();
    assert!(matches!(commit(&mut state, 1, told.epoch, lost.index, 4), Err(Refusal::Fenced { .. })));
    state.remove(&group(), MemberId(2), &topics);
    let again = state.assignment(&group(), MemberId(1)).unwrap();
    assert!(partitions(&again).contains(&lost));
    assert!(matches!(commit(&mut state, 1, told.epoch, lost.index, 4), Err(Refusal::Fenced { .. })));
    assert_eq!(commit(&mut state, 1, again.epoch, lost.index, 4), Ok(4));
    // And a partition that it never lost it commits with any epoch since.
    assert_eq!(commit(&mut state, 1, told.epoch, partitions(&told)[0].index, 8), Ok(8));
}

#[test]
fn committed_offsets_go_back_only_from_outside_and_only_without_members() {
    let topics = Known::with(1, &[("orders", 1, 1)]);
    let mut state = CoordinatorState::default();
    let epoch = join(&mut state, 1, &topics).epoch;
    assert_eq!(commit(&mut state, 1, epoch, 0, 10), Ok(10));
    assert_eq!(commit(&mut state, 1, epoch, 0, 4), Ok(10), "what is committed stays, and it is told so");
    let reset = [(at(0), Some(2))];
    let refused = state.commit(&group(), Committer::Outside, &reset, 0);
    assert_eq!(refused, Err(Refusal::NotEmpty { group: group(), members: 1 }));
    assert!(matches!(state.delete(&group()), Err(Refusal::NotEmpty { .. })));
    state.remove(&group(), MemberId(1), &topics);
    assert_eq!(state.commit(&group(), Committer::Outside, &reset, 0).unwrap()[0].1.offset, 2);
    state.commit(&group(), Committer::Outside, &[(at(0), None)], 0).unwrap();
    assert!(state.committed(&group(), None).is_empty());
    state.delete(&group()).unwrap();
    assert_eq!(state.delete(&group()), Err(Refusal::UnknownGroup(group())));
}

#[test]
fn a_static_member_that_comes_back_has_what_it_had_and_fences_who_it_was() {
    let topics = Known::with(1, &[("orders", 1, 6)]);
    let mut state = CoordinatorState::default();
    let named = || MemberSettings { instance: Some(Name::parse("worker-1").unwrap()), ..settings(&["orders"]) };
    join_as(&mut state, 1, named(), &topics);
    join(&mut state, 2, &topics);
    let told = state.assignment(&group(), MemberId(1)).unwrap();
    state.heartbeat(&beat(1, told.epoch, &partitions(&told)), &topics).unwrap();
    let others = state.assignment(&group(), MemberId(2)).unwrap();
    let back = join_as(&mut state, 3, named(), &topics);
    assert_eq!(partitions(&back), partitions(&told));
    assert_eq!(state.assignment(&group(), MemberId(2)).unwrap(), others, "nobody else is disturbed");
    assert!(matches!(commit(&mut state, 1, told.epoch, 0, 1), Err(Refusal::UnknownMember { .. })));
    assert!(back.epoch > told.epoch);
}

#[test]
fn a_static_member_that_was_given_up_does_not_take_over_from_who_lives() {
    let topics = Known::with(1, &[("orders", 1, 2)]);
    let mut state = CoordinatorState::default();
    let named = || MemberSettings { instance: Some(Name::parse("worker-1").unwrap()), ..settings(&["orders"]) };
    join_as(&mut state, 1, named(), &topics);
    join_as(&mut state, 2, named(), &topics);
    let again = Heartbeat { join: Some(named()), was: Some(MemberId(1)), ..beat(3, 0, &[]) };
    assert!(matches!(state.heartbeat(&again, &topics), Err(Refusal::InstanceTaken { .. })));
    // Its own ghost it does take over from, at a coordinator that has not given that up: static or not.
    let itself = Heartbeat { was: Some(MemberId(2)), ..again };
    state.heartbeat(&itself, &topics).unwrap();
    assert_eq!(state.describe(&group()).unwrap().members.len(), 1);
    let dynamic = Heartbeat { join: Some(settings(&["orders"])), was: Some(MemberId(4)), ..beat(5, 0, &[]) };
    join(&mut state, 4, &topics);
    state.heartbeat(&dynamic, &topics).unwrap();
    let ids: Vec<MemberId> = state.describe(&group()).unwrap().members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [MemberId(3), MemberId(5)]);
}

#[test]
fn a_group_deleted_and_made_anew_in_one_turn_has_committed_nothing() {
    let mut state = CoordinatorState::default();
    state.commit(&group(), Committer::Outside, &[(at(0), Some(200))], 0).unwrap();
    let mut written = state.take_changes();
    state.delete(&group()).unwrap();
    state.commit(&group(), Committer::Outside, &[(at(1), Some(7))], 0).unwrap();
    written.extend(state.take_changes());
    let mut loaded = CoordinatorState::default();
    written.into_iter().for_each(|row| loaded.load(row));
    let committed: Vec<_> = loaded.committed(&group(), None).into_iter().map(|(id, at)| (id, at.offset)).collect();
    assert_eq!(committed, [(at(1), 7)]);
}

#[test]
fn topics_that_grow_beyond_what_a_group_may_share_are_left_out() {
    let mut state = CoordinatorState::default();
    let small = Known::with(1, &[("a", 1, 6_000), ("b", 2, 10)]);
    join_as(&mut state, 1, settings(&["a", "b"]), &small);
    let grown = Known::with(2, &[("a", 1, 6_000), ("b", 2, 6_000)]);
    state.refresh(&grown);
    assert_eq!(partitions(&state.assignment(&group(), MemberId(1)).unwrap()).len(), 6_000);
    assert!(matches!(
        state.heartbeat(&Heartbeat { join: Some(settings(&["a", "b"])), ..beat(2, 0, &[]) }, &grown),
        Err(Refusal::LimitReached(_))
    ));
    join_as(&mut state, 3, settings(&["a"]), &grown);
}

#[test]
fn a_join_that_is_repeated_is_the_same_join() {
    let topics = Known::with(1, &[("orders", 1, 3)]);
    let mut state = CoordinatorState::default();
    let first = join(&mut state, 1, &topics);
    state.take_changes();
    assert_eq!(join(&mut state, 1, &topics), first);
    assert!(state.take_changes().is_empty());
}

#[test]
fn topics_come_grow_and_go_and_older_metadata_say_nothing() {
    let mut state = CoordinatorState::default();
    let none = Known::with(1, &[]);
    assert!(partitions(&join(&mut state, 1, &none)).is_empty());
    let two = Known::with(5, &[("orders", 1, 2)]);
    assert_eq!(state.refresh(&two), [group()]);
    assert_eq!(partitions(&state.assignment(&group(), MemberId(1)).unwrap()), [at(0), at(1)]);
    assert!(state.refresh(&none).is_empty(), "this node has not heard yet");
    assert!(state.refresh(&Known { index: 6, ..two }).is_empty(), "nothing has changed");
    state.refresh(&Known::with(7, &[("orders", 1, 3)]));
    assert_eq!(partitions(&state.assignment(&group(), MemberId(1)).unwrap()).len(), 3);
    state.refresh(&Known::with(8, &[]));
    assert!(partitions(&state.assignment(&group(), MemberId(1)).unwrap()).is_empty());
}

#[test]
fn bounds_are_kept_and_a_refusal_changes_nothing() {
    let topics = Known::with(1, &[("orders", 1, 10_001)]);
    let mut state = CoordinatorState::default();
    let attempt = |state: &mut CoordinatorState, settings: MemberSettings| {
        state.heartbeat(&Heartbeat { join: Some(settings), ..beat(1, 0, &[]) }, &topics)
    };
    assert!(matches!(attempt(&mut state, settings(&["orders"])), Err(Refusal::LimitReached(_))));
    assert!(matches!(attempt(&mut state, settings(&[])), Err(Refusal::Invalid(_))));
    let hasty = MemberSettings { session_timeout: Duration::from_millis(1), ..settings(&["orders"]) };
    assert!(matches!(attempt(&mut state, hasty), Err(Refusal::Invalid(_))));
    assert!(matches!(state.heartbeat(&beat(1, 0, &[]), &topics), Err(Refusal::Invalid(_))));
    assert!(state.list().is_empty() && state.take_changes().is_empty());
    let many: Vec<_> = (0..1_001).map(|index| (at(index), Some(0))).collect();
    assert!(matches!(state.commit(&group(), Committer::Outside, &many, 0), Err(Refusal::Invalid(_))));
}

#[test]
fn a_snapshot_leaves_out_the_offsets_of_deleted_topics() {
    let mut state = CoordinatorState::default();
    let gone = PartitionId { topic: TopicId(9), index: 0 };
    state.commit(&group(), Committer::Outside, &[(at(0), Some(1)), (gone, Some(2))], 0).unwrap();
    let rows = state.snapshot(&Known::with(1, &[("orders", 1, 1)]));
    let mut loaded = CoordinatorState::default();
    rows.into_iter().for_each(|row: Row| loaded.load(row));
    assert_eq!(loaded.committed(&group(), None).len(), 1);
    assert_eq!(state.committed(&group(), None).len(), 1);
}
