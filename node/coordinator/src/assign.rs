//! Who gets which partition: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use quorate_cluster_config::{PartitionId, TopicId};
use quorate_protocol::MemberId;

/// A member, as far as the assignment depends on it.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// The topics it reads.
    pub topics: BTreeSet<TopicId>,
    /// What it has.
    pub has: BTreeSet<PartitionId>,
}

/// Assigns each partition to one of the members that read its topic: so that no two of them could be evened out by moving
/// one partition (with equal subscriptions, loads differ by one at most), and so that each keeps what it has as far as that
/// goes. Deterministic. Partitions nobody reads are left out.
#[must_use]
pub fn assign(
    members: &BTreeMap<MemberId, Subscriber>,
    topics: &BTreeMap<TopicId, u32>,
) -> BTreeMap<MemberId, BTreeSet<PartitionId>> {
    let mut spread = Spread::new(members);
    let all = topics.iter().flat_map(|(topic, count)| {
        let topic = *topic;
        (0..*count).map(move |index| PartitionId { topic, index })
    });
    let mut free = Vec::new();
    let mut owners: BTreeMap<PartitionId, MemberId> = BTreeMap::new();
    for (id, member) in members {
        owners.extend(member.has.iter().map(|partition| (*partition, *id)));
    }
    for partition in all {
        let keeps =
            |owner: &&MemberId| members.get(owner).is_some_and(|member| member.topics.contains(&partition.topic));
        match owners.get(&partition).filter(keeps) {
            Some(owner) => spread.give(*owner, partition),
            None => free.push(partition),
        }
    }
    for partition in free {
        if let Some(least) = spread.least_loaded(partition.topic) {
            spread.give(least, partition);
        }
    }
    spread.even_out();
    spread.into_assigned()
}

/// What a member is to have of one topic.
#[derive(Debug, Default)]
struct Share {
    /// What it had, and keeps.
    kept: BTreeSet<PartitionId>,
    /// What comes to it.
    new: BTreeSet<PartitionId>,
}

/// An assignment in the making.
struct Spread<'a> {
    members: &'a BTreeMap<MemberId, Subscriber>,
    shares: BTreeMap<MemberId, BTreeMap<TopicId, Share>>,
    loads: BTreeMap<MemberId, usize>,
    by_load: BTreeSet<(usize, MemberId)>,
    /// The members that read a topic, by load.
    readers: BTreeMap<TopicId, BTreeSet<(usize, MemberId)>>,
}

impl<'a> Spread<'a> {
    fn new(members: &'a BTreeMap<MemberId, Subscriber>) -> Self {
        let mut readers: BTreeMap<TopicId, BTreeSet<(usize, MemberId)>> = BTreeMap::new();
        for (id, member) in members {
            for topic in &member.topics {
                readers.entry(*topic).or_default().insert((0, *id));
            }
        }
        let loads = members.keys().map(|id| (*id, 0)).collect();
        let by_load = members.keys().map(|id| (0, *id)).collect();
        Self { members, shares: BTreeMap::new(), loads, by_load, readers }
    }

    fn least_loaded(&self, topic: TopicId) -> Option<MemberId> {
        self.readers.get(&topic)?.first().map(|(_, member)| *member)
    }

    fn share(&mut self, member: MemberId, topic: TopicId) -> &mut Share {
        self.shares.entry(member).or_default().entry(topic).or_default()
    }

    fn give(&mut self, member: MemberId, partition: PartitionId) {
        let had = self.members.get(&member).is_some_and(|member| member.has.contains(&partition));
        let share = self.share(member, partition.topic);
        if had {
            share.kept.insert(partition)
        } else {
            share.new.insert(partition)
        };
        self.count(member, |load| load + 1);
    }

    /// Takes one partition of a topic: what came to the member last goes first, so that of what it had it keeps the most.
    fn take(&mut self, member: MemberId, topic: TopicId) -> Option<PartitionId> {
        let share = self.share(member, topic);
        let taken = share.new.pop_last().or_else(|| share.kept.pop_last())?;
        if share.new.is_empty() && share.kept.is_empty() {
            self.shares.entry(member).or_default().remove(&topic);
        }
        self.count(member, |load| load.saturating_sub(1));
        Some(taken)
    }

    fn count(&mut self, member: MemberId, change: impl FnOnce(usize) -> usize) {
        let before = self.loads.get(&member).copied().unwrap_or(0);
        let after = change(before);
        self.loads.insert(member, after);
        let topics = self.members.get(&member).map(|member| &member.topics);
        for topic in topics.into_iter().flatten() {
            if let Some(readers) = self.readers.get_mut(topic) {
                readers.remove(&(before, member));
                readers.insert((after, member));
            }
        }
        self.by_load.remove(&(before, member));
        self.by_load.insert((after, member));
    }

    /// Moves single partitions from members with more to members with fewer, as long as that evens out. Each move lowers the
    /// sum of the squares of the loads, so that it ends.
    fn even_out(&mut self) {
        while let Some((topic, from, to)) = self.next_move() {
            let Some(partition) = self.take(from, topic) else { return };
            self.give(to, partition);
        }
    }

    /// From the member with the most that can give, a partition of this topic to the member with the fewest that reads it.
    fn next_move(&self) -> Option<(TopicId, MemberId, MemberId)> {
        self.by_load.iter().rev().find_map(|(load, from)| {
            let least = |topic: &TopicId| Some((self.readers.get(topic)?.first().copied()?, *topic));
            let ((fewest, to), topic) = self.shares.get(from)?.keys().filter_map(least).min()?;
            (*load >= fewest + 2).then_some((topic, *from, to))
        })
    }

    fn into_assigned(self) -> BTreeMap<MemberId, BTreeSet<PartitionId>> {
        let mut assigned: BTreeMap<MemberId, BTreeSet<PartitionId>> =
            self.members.keys().map(|id| (*id, BTreeSet::new())).collect();
        for (member, shares) in self.shares {
            let all = shares.into_values().flat_map(|share| share.kept.into_iter().chain(share.new));
            assigned.entry(member).or_default().extend(all);
        }
        assigned
    }
}
