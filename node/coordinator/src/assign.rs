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
    spread.assigned
}

/// An assignment in the making.
struct Spread<'a> {
    members: &'a BTreeMap<MemberId, Subscriber>,
    assigned: BTreeMap<MemberId, BTreeSet<PartitionId>>,
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
        Self { members, assigned: members.keys().map(|id| (*id, BTreeSet::new())).collect(), readers }
    }

    fn least_loaded(&self, topic: TopicId) -> Option<MemberId> {
        self.readers.get(&topic)?.first().map(|(_, member)| *member)
    }

    fn load(&self, member: MemberId) -> usize {
        self.assigned.get(&member).map_or(0, BTreeSet::len)
    }

    fn give(&mut self, member: MemberId, partition: PartitionId) {
        self.change(member, |assigned| assigned.insert(partition));
    }

    fn change(&mut self, member: MemberId, change: impl FnOnce(&mut BTreeSet<PartitionId>) -> bool) {
        let before = self.load(member);
        if let Some(assigned) = self.assigned.get_mut(&member) {
            change(assigned);
        }
        let after = self.load(member);
        let topics = self.members.get(&member).map(|member| &member.topics);
        for topic in topics.into_iter().flatten() {
            if let Some(readers) = self.readers.get_mut(topic) {
                readers.remove(&(before, member));
                readers.insert((after, member));
            }
        }
    }

    /// Moves single partitions from members with more to members with fewer, as long as that evens out. Each move lowers the
    /// sum of the squares of the loads, so that it ends.
    fn even_out(&mut self) {
        while let Some((partition, from, to)) = self.next_move() {
            self.change(from, |assigned| assigned.remove(&partition));
            self.give(to, partition);
        }
    }

    /// From the member with the most, one of its partitions to the member with the fewest that reads it.
    fn next_move(&self) -> Option<(PartitionId, MemberId, MemberId)> {
        let mut by_load: Vec<(usize, MemberId)> =
            self.assigned.iter().map(|(member, assigned)| (assigned.len(), *member)).collect();
        by_load.sort_unstable_by(|left, right| right.cmp(left));
        by_load.into_iter().find_map(|(load, from)| {
            let assigned = self.assigned.get(&from)?;
            let topics: BTreeSet<TopicId> = assigned.iter().map(|partition| partition.topic).collect();
            let least = |topic: TopicId| Some((self.readers.get(&topic)?.first().copied()?, topic));
            let ((fewest, to), topic) = topics.into_iter().filter_map(least).min()?;
            // What came to it last goes first: of what it had it keeps the most.
            let had = self.members.get(&from).map(|member| &member.has)?;
            let of_topic = || assigned.iter().filter(|partition| partition.topic == topic);
            let partition = of_topic().rfind(|partition| !had.contains(partition)).or_else(|| of_topic().next_back());
            (load >= fewest + 2).then_some((*partition?, from, to))
        })
    }
}
