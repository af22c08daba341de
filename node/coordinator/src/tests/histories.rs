//! Random histories of a group, against members that do as they are told, late, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_cluster_config::PartitionId;
use quorate_protocol::{GroupState, Heartbeat, MemberId};

use super::{Known, at, beat, commit, group, partitions, settings};
use crate::CoordinatorState;

/// What happens next; members are named by number.
#[derive(Clone, Debug)]
enum Step {
    Join(u128),
    /// Hears what it is to read, and takes it up.
    Hear(u128),
    /// Gives up the first of what it was told to give up, if anything, and says what it has.
    GiveUp(u128),
    /// Commits one of its partitions, so much further.
    Commit(u128, u32, u64),
    /// Is not heard of any more, and goes on as if nothing were.
    Expire(u128),
    Grow,
    /// The state is read again from what was written down.
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = 0..5_u128;
    let step = prop_oneof![
        2 => member.clone().prop_map(Step::Join),
        4 => member.clone().prop_map(Step::Hear),
        5 => member.clone().prop_map(Step::GiveUp),
        4 => (member.clone(), 0..6_u32, 0..5_u64).prop_map(|(member, index, by)| Step::Commit(member, index, by)),
        1 => member.prop_map(Step::Expire),
        1 => Just(Step::Grow),
        1 => Just(Step::Reload),
    ];
    prop::collection::vec(step, 1..120)
}

/// A member as it sees itself.
#[derive(Debug, Default)]
struct Reader {
    epoch: u64,
    owned: BTreeSet<PartitionId>,
    told: BTreeSet<PartitionId>,
}

#[derive(Debug, Default)]
struct World {
    state: CoordinatorState,
    written: Vec<crate::Row>,
    readers: BTreeMap<u128, Reader>,
    /// To whom each partition was given at each epoch.
    given: BTreeMap<(PartitionId, u64), u128>,
    committed: BTreeMap<PartitionId, u64>,
}

impl World {
    fn step(&mut self, step: &Step, topics: &mut Known) {
        match step {
            Step::Join(id) => {
                let join = Heartbeat { join: Some(settings(&["orders"])), ..beat(*id, 0, &[]) };
                self.state.heartbeat(&join, topics).unwrap();
                self.readers.insert(*id, Reader::default());
                self.hear(*id);
            }
            Step::Hear(id) => self.hear(*id),
            Step::GiveUp(id) => {
                let Some(reader) = self.readers.get_mut(id) else { return };
                if let Some(first) = reader.owned.difference(&reader.told).next().copied() {
                    reader.owned.remove(&first);
                }
                let owned: Vec<_> = reader.owned.iter().copied().collect();
                drop(self.state.heartbeat(&beat(*id, reader.epoch, &owned), topics));
            }
            Step::Commit(id, index, by) => {
                let Some(reader) = self.readers.get(id) else { return };
                if !reader.owned.contains(&at(*index)) {
                    return;
                }
                let before = self.committed.get(&at(*index)).copied().unwrap_or(0);
                // Some say less than what is committed.
                let offset = (before + by).saturating_sub(2);
                if let Ok(now) = commit(&mut self.state, *id, reader.epoch, *index, offset) {
                    assert_eq!(now, offset.max(before), "committed offsets never go back");
                    self.committed.insert(at(*index), now);
                }
            }
            Step::Expire(id) => self.state.remove(&group(), MemberId(*id), topics),
            Step::Grow => {
                topics.index += 1;
                topics.topics.values_mut().for_each(|(_, count)| *count += 1);
                self.state.refresh(topics);
            }
            Step::Reload => {
                self.written.extend(self.state.take_changes());
                let mut reloaded = CoordinatorState::default();
                self.written.iter().cloned().for_each(|row| reloaded.load(row));
                assert_eq!(reloaded.describe(&group()), self.state.describe(&group()));
                self.state = reloaded;
            }
        }
        self.written.extend(self.state.take_changes());
    }

    fn hear(&mut self, id: u128) {
        let Some(assignment) = self.state.assignment(&group(), MemberId(id)) else { return };
        let Some(reader) = self.readers.get_mut(&id) else { return };
        let told: BTreeSet<PartitionId> = partitions(&assignment).into_iter().collect();
        for partition in told.difference(&reader.owned) {
            let to = self.given.entry((*partition, assignment.epoch)).or_insert(id);
            assert_eq!(*to, id, "{partition} was given to two members at epoch {}", assignment.epoch);
        }
        reader.owned.extend(&told);
        (reader.told, reader.epoch) = (told, assignment.epoch);
        // Those that are members have nothing in common, whatever those believe that are none any more.
        let is_member = |id: &u128| self.state.assignment(&group(), MemberId(*id)).is_some();
        let mut seen = BTreeSet::new();
        for (_, reader) in self.readers.iter().filter(|(id, _)| is_member(id)) {
            assert!(reader.owned.iter().all(|partition| seen.insert(*partition)), "read by two members");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_partition_is_read_by_two_members_and_offsets_never_go_back(steps in steps()) {
        let mut topics = Known::with(1, &[("orders", 1, 4)]);
        let mut world = World::default();
        for step in &steps {
            world.step(step, &mut topics);
        }
        // Once all have done what they were told, everything is read.
        for _ in 0..40 {
            for id in 0..5 {
                world.step(&Step::Hear(id), &mut topics);
                world.step(&Step::GiveUp(id), &mut topics);
            }
        }
        if let Ok(described) = world.state.describe(&group())
            && !described.members.is_empty()
        {
            prop_assert_eq!(described.state, GroupState::Stable);
            let read: usize = described.members.iter().map(|member| member.assigned.len()).sum();
            prop_assert_eq!(read, topics.topics.values().map(|(_, count)| *count as usize).sum::<usize>());
        }
    }
}
