//! Assignments: even, with few moves, whoever comes and goes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quorate_cluster_config::{PartitionId, TopicId};
use quorate_protocol::MemberId;

use crate::{Subscriber, assign};

type Assigned = BTreeMap<MemberId, BTreeSet<PartitionId>>;

fn subscribers(readers: &BTreeMap<MemberId, BTreeSet<TopicId>>, had: &Assigned) -> BTreeMap<MemberId, Subscriber> {
    let of = |(id, topics): (&MemberId, &BTreeSet<TopicId>)| {
        (*id, Subscriber { topics: topics.clone(), has: had.get(id).cloned().unwrap_or_default() })
    };
    readers.iter().map(of).collect()
}

fn check(readers: &BTreeMap<MemberId, BTreeSet<TopicId>>, topics: &BTreeMap<TopicId, u32>, assigned: &Assigned) {
    let mut seen = BTreeSet::new();
    for (member, partitions) in assigned {
        for partition in partitions {
            assert!(seen.insert(*partition), "{partition} twice");
            assert!(readers[member].contains(&partition.topic), "{member} does not read {partition}");
            // No single move would even out.
            for (other, theirs) in assigned.iter().filter(|(other, _)| readers[other].contains(&partition.topic)) {
                assert!(theirs.len() + 2 > partitions.len(), "{partition} could go from {member} to {other}");
            }
        }
    }
    let read: BTreeSet<&TopicId> = readers.values().flatten().collect();
    let expected: usize =
        topics.iter().filter(|(topic, _)| read.contains(topic)).map(|(_, count)| *count as usize).sum();
    assert_eq!(seen.len(), expected);
}

fn readers(of_all: bool) -> impl Strategy<Value = BTreeMap<MemberId, BTreeSet<TopicId>>> {
    let topics = if of_all {
        Just(BTreeSet::from_iter((0..3).map(TopicId))).boxed()
    } else {
        prop::collection::btree_set((0..3_u64).prop_map(TopicId), 1..4).boxed()
    };
    prop::collection::btree_map((0..12_u128).prop_map(MemberId), topics, 1..10)
}

fn counts() -> impl Strategy<Value = BTreeMap<TopicId, u32>> {
    prop::collection::btree_map((0..3_u64).prop_map(TopicId), 0..40_u32, 0..4)
}

proptest! {
    #[test]
    fn any_assignment_is_complete_disjoint_and_even(
        before in readers(false), after in readers(false), topics in counts(), grown in counts(),
    ) {
        let first = assign(&subscribers(&before, &Assigned::new()), &topics);
        check(&before, &topics, &first);
        let second = assign(&subscribers(&after, &first), &grown);
        check(&after, &grown, &second);
    }

    #[test]
    fn with_equal_subscriptions_no_more_is_moved_than_must_be(before in readers(true), after in readers(true), topics in counts()) {
        let first = assign(&subscribers(&before, &Assigned::new()), &topics);
        let second = assign(&subscribers(&after, &first), &topics);
        let sizes: Vec<usize> = second.values().map(BTreeSet::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        // Members that stay keep as much as the even share lets them.
        let total: usize = topics.values().map(|count| *count as usize).sum();
        let (share, more) = (total / after.len(), total % after.len());
        let had = |id: &MemberId| first.get(id).map_or(0, BTreeSet::len);
        let above = after.keys().filter(|id| had(id) > share).count();
        let most: usize = after.keys().map(|id| had(id).min(share)).sum::<usize>() + above.min(more);
        let kept: usize = second.iter().map(|(id, now)| first.get(id).map_or(0, |had| had.intersection(now).count())).sum();
        prop_assert_eq!(kept, most);
    }
}
