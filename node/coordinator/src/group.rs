//! One consumer group: its members and what each of them has.

use std::collections::{BTreeMap, BTreeSet};

use quorate_cluster_config::{PartitionId, TopicId, TopicName, limits};
use quorate_protocol::{AssignedTopic, Assignment, GroupState, MemberId, MemberInfo, MemberSettings};
use serde::{Deserialize, Serialize};

use crate::assign::{Subscriber, assign};

/// The topics that exist, as a coordinator knows them.
pub trait Topics {
    /// The metadata index this reflects.
    fn metadata_index(&self) -> u64;
    /// The id of the topic of that name and the number of its partitions.
    fn find(&self, name: &TopicName) -> Option<(TopicId, u32)>;
    /// Whether a topic of that id had existed and was deleted.
    fn was_deleted(&self, topic: TopicId) -> bool;
}

/// A partition that a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The epoch at which it was assigned.
    pub since: u64,
    /// Whether the member was told to give it up.
    pub revoking: bool,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it said when it joined.
    pub settings: MemberSettings,
    /// The group's epoch when its assignment changed last.
    pub epoch: u64,
    /// What it has, as long as it has not said otherwise.
    pub held: BTreeMap<PartitionId, Held>,
    /// What it is to have in the end.
    pub target: BTreeSet<PartitionId>,
}

impl Member {
    /// What it is to read now.
    pub(crate) fn assigned(&self) -> impl Iterator<Item = PartitionId> {
        self.held.iter().filter(|(_, held)| !held.revoking).map(|(partition, _)| *partition)
    }

    /// What it was told to give up and has not.
    pub(crate) fn revoking(&self) -> impl Iterator<Item = PartitionId> {
        self.held.iter().filter(|(_, held)| held.revoking).map(|(partition, _)| *partition)
    }
}

/// A group, but for what it has committed.
///
/// Invariant: no partition is held by two members. The epoch grows whenever an assignment changes, so that no partition is
/// ever assigned to two members at the same epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// That of the last change of an assignment.
    pub epoch: u64,
    /// Its members.
    pub members: BTreeMap<MemberId, Member>,
    /// The metadata index as of which `topics` are known.
    pub metadata_index: u64,
    /// The topics that its members want and that exist.
    pub topics: BTreeMap<TopicName, (TopicId, u32)>,
}

impl Group {
    /// What the group is doing.
    #[must_use]
    pub fn state(&self) -> GroupState {
        let settled = |member: &Member| member.held.len() == member.target.len() && member.revoking().next().is_none();
        match self.members.is_empty() {
            true => GroupState::Empty,
            false if self.members.values().all(settled) => GroupState::Stable,
            false => GroupState::Rebalancing,
        }
    }

    /// What a member is to read.
    pub(crate) fn assignment(&self, member: &Member) -> Assignment {
        let mut by_topic: BTreeMap<TopicId, Vec<u32>> = BTreeMap::new();
        member.assigned().for_each(|partition| by_topic.entry(partition.topic).or_default().push(partition.index));
        let name = |topic: TopicId| self.topics.iter().find(|(_, (id, _))| *id == topic).map(|(name, _)| name.clone());
        let named = |(topic, partitions)| Some(AssignedTopic { topic, name: name(topic)?, partitions });
        Assignment { epoch: member.epoch, topics: by_topic.into_iter().filter_map(named).collect() }
    }

    pub(crate) fn member_info(&self, id: MemberId, member: &Member) -> MemberInfo {
        MemberInfo {
            id,
            settings: member.settings.clone(),
            epoch: member.epoch,
            assigned: member.assigned().collect(),
            revoking: member.revoking().collect(),
        }
    }

    /// Looks up what the members want; `false` if that is as it was. Older metadata than those known say nothing. Topics with
    /// which there would be more partitions than a group may share are left out, by name the later ones.
    pub(crate) fn resolve(&mut self, topics: &impl Topics) -> bool {
        if topics.metadata_index() < self.metadata_index {
            return false;
        }
        self.metadata_index = topics.metadata_index();
        let wanted: BTreeSet<&TopicName> = self.members.values().flat_map(|member| &member.settings.topics).collect();
        let mut partitions = 0;
        let found = |name: &TopicName| {
            let (topic, count) = topics.find(name)?;
            let with_it = partitions + count as usize;
            (with_it <= limits::PARTITIONS_PER_GROUP_MAX).then(|| {
                partitions = with_it;
                (name.clone(), (topic, count))
            })
        };
        let resolved = wanted.into_iter().filter_map(found).collect();
        let changed = self.topics != resolved;
        self.topics = resolved;
        changed
    }

    /// Decides anew who is to have what in the end, and goes there as far as it can.
    pub(crate) fn retarget(&mut self) {
        let ids = |member: &Member| {
            member.settings.topics.iter().filter_map(|name| self.topics.get(name)).map(|(topic, _)| *topic).collect()
        };
        let subscriber = |member: &Member| Subscriber { topics: ids(member), has: member.assigned().collect() };
        let subscribers = self.members.iter().map(|(id, member)| (*id, subscriber(member))).collect();
        let topics = self.topics.values().copied().collect();
        let mut targets = assign(&subscribers, &topics);
        for (id, member) in &mut self.members {
            member.target = targets.remove(id).unwrap_or_default();
        }
        self.reconcile();
    }

    /// Has members give up what others are to have, and gives to each what nobody has any more. `false` if nothing changed.
    pub(crate) fn reconcile(&mut self) -> bool {
        let taken: BTreeSet<PartitionId> =
            self.members.values().flat_map(|member| member.held.keys().copied()).collect();
        let epoch = self.epoch + 1;
        let mut changed = false;
        for member in self.members.values_mut() {
            let mut differs = false;
            for (partition, held) in &mut member.held {
                if !held.revoking && !member.target.contains(partition) {
                    held.revoking = true;
                    differs = true;
                }
            }
            let free = member.target.difference(&taken).copied();
            let given: Vec<_> = free.map(|partition| (partition, Held { since: epoch, revoking: false })).collect();
            differs |= !given.is_empty();
            member.held.extend(given);
            if differs {
                member.epoch = epoch;
                changed = true;
            }
        }
        if changed {
            self.epoch = epoch;
        }
        debug_assert!(self.is_disjoint(), "a partition is held by two members");
        changed
    }

    /// Notes what a member that knows its assignment still has. `false` if that is what was known.
    pub(crate) fn release(&mut self, id: MemberId, epoch: u64, owned: &[PartitionId]) -> bool {
        let Some(member) = self.members.get_mut(&id).filter(|member| member.epoch == epoch) else { return false };
        let owned: BTreeSet<PartitionId> = owned.iter().copied().collect();
        let before = member.held.len();
        member.held.retain(|partition, held| !held.revoking || owned.contains(partition));
        let released = member.held.len() < before;
        if released {
            self.reconcile();
        }
        released
    }

    fn is_disjoint(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.members.values().flat_map(|member| member.held.keys()).all(|partition| seen.insert(*partition))
    }
}
