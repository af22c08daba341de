//! All groups of one coordinator, and what is decided about them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quorate_cluster_config::{Name, PartitionId, limits};
use quorate_protocol::{
    Assignment, CommittedOffset, Committer, GroupInfo, GroupSummary, Heartbeat, MemberId, MemberSettings,
};

use crate::{
    group::{Group, Member, Topics},
    rows::Row,
};

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was given up, left, or never joined.
    #[error(
        "group {group} has no member {member} (any more): it was not heard of in time, did not give up partitions in time, or \
         another one took over its instance name; join anew"
    )]
    UnknownMember {
        /// The group.
        group: Name,
        /// The member.
        member: MemberId,
    },
    /// The partition is not, or not any more, the member's own.
    #[error(
        "partition {partition} is not assigned to member {member} of group {group} any more; nothing was committed"
    )]
    Fenced {
        /// The group.
        group: Name,
        /// The member.
        member: MemberId,
        /// The partition.
        partition: PartitionId,
    },
    /// Another program has joined under the name of the instance, and is alive.
    #[error("instance {instance} of group {group} is another program by now; give each its own name")]
    InstanceTaken {
        /// The group.
        group: Name,
        /// The name.
        instance: Name,
    },
    /// Only a group without members can be changed from outside.
    #[error("group {group} has {members} members; stop them first")]
    NotEmpty {
        /// The group.
        group: Name,
        /// How many.
        members: usize,
    },
    /// No such group.
    #[error("there is no group {0}")]
    UnknownGroup(Name),
    /// A limit is reached.
    #[error("{0}")]
    LimitReached(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// A group and what it has committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    group: Group,
    committed: BTreeMap<PartitionId, CommittedOffset>,
}

/// The groups of one coordinator. What is decided is in it at once, and waits in [`CoordinatorState::take_changes`] to be
/// written down; who cannot write it down must forget this state and read it again.
#[derive(Clone, Debug, Default)]
pub struct CoordinatorState {
    groups: BTreeMap<Name, Entry>,
    changed: BTreeSet<Name>,
    /// Deleted: what is there of that name by now is another group.
    gone: BTreeSet<Name>,
    offsets: BTreeMap<Name, BTreeMap<PartitionId, Option<CommittedOffset>>>,
}

impl CoordinatorState {
    /// Takes in a row that was written down. One of offsets of no group is left out: no such row is ever written.
    pub fn load(&mut self, row: Row) {
        match row {
            Row::Group { name, group } => self.groups.entry(name).or_default().group = group,
            Row::GroupGone { name } => drop(self.groups.remove(&name)),
            Row::Offsets { group, offsets } => {
                let Some(entry) = self.groups.get_mut(&group) else { return };
                for (partition, committed) in offsets {
                    match committed {
                        Some(committed) => drop(entry.committed.insert(partition, committed)),
                        None => drop(entry.committed.remove(&partition)),
                    }
                }
            }
        }
    }

    /// All of it as rows, which loaded into a state in which the same groups may be, but no others, give this one. Offsets of
    /// topics that were deleted are forgotten.
    pub fn snapshot(&mut self, topics: &impl Topics) -> Vec<Row> {
        let mut rows = Vec::new();
        for (name, entry) in &mut self.groups {
            let mut offsets: Vec<(PartitionId, Option<CommittedOffset>)> = Vec::with_capacity(entry.committed.len());
            entry.committed.retain(|partition, committed| {
                let stays = !topics.was_deleted(partition.topic);
                offsets.push((*partition, stays.then_some(*committed)));
                stays
            });
            rows.push(Row::Group { name: name.clone(), group: entry.group.clone() });
            let chunks = offsets.chunks(limits::OFFSETS_PER_COMMIT_MAX);
            rows.extend(
                chunks.map(|chunk| Row::Offsets { group: name.clone(), offsets: chunk.iter().copied().collect() }),
            );
        }
        rows
    }

    /// What was decided since this was called last, in the order in which it must be written.
    pub fn take_changes(&mut self) -> Vec<Row> {
        let gone = std::mem::take(&mut self.gone).into_iter().map(|name| Row::GroupGone { name });
        let row = |name: Name| Some(Row::Group { group: self.groups.get(&name)?.group.clone(), name });
        let changed = std::mem::take(&mut self.changed).into_iter().filter_map(row);
        let mut rows: Vec<Row> = gone.chain(changed).collect();
        for (group, offsets) in std::mem::take(&mut self.offsets) {
            let offsets: Vec<_> = offsets.into_iter().collect();
            let chunks = offsets.chunks(limits::OFFSETS_PER_COMMIT_MAX);
            rows.extend(
                chunks.map(|chunk| Row::Offsets { group: group.clone(), offsets: chunk.iter().copied().collect() }),
            );
        }
        rows
    }

    /// How many groups there are.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The members of all groups.
    pub fn members(&self) -> impl Iterator<Item = (&Name, MemberId, &Member)> {
        let of_group = |(name, entry)| {
            let entry: &Entry = entry;
            entry.group.members.iter().map(move |(id, member)| (name, *id, member))
        };
        self.groups.iter().flat_map(of_group)
    }

    /// A member of a group.
    #[must_use]
    pub fn member(&self, group: &Name, member: MemberId) -> Option<&Member> {
        self.groups.get(group)?.group.members.get(&member)
    }

    /// What a member is to read; `None` if there is no such member.
    #[must_use]
    pub fn assignment(&self, group: &Name, member: MemberId) -> Option<Assignment> {
        let group = &self.groups.get(group)?.group;
        Some(group.assignment(group.members.get(&member)?))
    }

    /// The epoch of what a member is to read; `None` if there is no such member.
    #[must_use]
    pub fn epoch(&self, group: &Name, member: MemberId) -> Option<u64> {
        Some(self.member(group, member)?.epoch)
    }

    /// A sign of life: a member that joins, or says what it still has.
    ///
    /// # Errors
    /// [`Refusal::UnknownMember`], [`Refusal::LimitReached`] or [`Refusal::Invalid`].
    pub fn heartbeat(&mut self, heartbeat: &Heartbeat, topics: &impl Topics) -> Result<(), Refusal> {
        let Heartbeat { group, member, epoch, .. } = heartbeat;
        if *epoch == 0 {
            let settings =
                heartbeat.join.as_ref().ok_or_else(|| Refusal::Invalid("a join needs settings".to_owned()))?;
            return self.join(group, *member, settings, heartbeat.was, topics);
        }
        let entry = self.groups.get_mut(group).filter(|entry| entry.group.members.contains_key(member));
        let entry = entry.ok_or_else(|| unknown_member(group, *member))?;
        if entry.group.release(*member, *epoch, &heartbeat.owned) {
            self.changed.insert(group.clone());
        }
        Ok(())
    }

    fn join(
        &mut self,
        name: &Name,
        id: MemberId,
        settings: &MemberSettings,
        was: Option<MemberId>,
        topics: &impl Topics,
    ) -> Result<(), Refusal> {
        check(settings)?;
        let own = settings.topics.iter().filter_map(|name| topics.find(name)).map(|(_, count)| count as usize);
        let partitions: usize = own.sum();
        if partitions > limits::PARTITIONS_PER_GROUP_MAX {
            let message = format!(
                "the topics have {partitions} partitions, more than the {} that a group may share; use more groups",
                limits::PARTITIONS_PER_GROUP_MAX
            );
            return Err(Refusal::LimitReached(message));
        }
        if !self.groups.contains_key(name) {
            self.check_room_for_group()?;
        }
        let mut group = self.groups.get(name).map(|entry| entry.group.clone()).unwrap_or_default();
        // The same again, since the answer was lost.
        if group.members.contains_key(&id) {
            return Ok(());
        }
        let mut joining =
            Member { settings: settings.clone(), epoch: 0, held: BTreeMap::new(), target: BTreeSet::new() };
        let has_name =
            |member: &Member| member.settings.instance.is_some() && member.settings.instance == settings.instance;
        let holder = group.members.iter().find(|(_, member)| has_name(member)).map(|(id, _)| *id);
        if let Some(instance) =
            settings.instance.as_ref().filter(|_| was.is_some() && holder.is_some() && holder != was)
        {
            // Otherwise two programs of one name would give each other up for ever.
            return Err(Refusal::InstanceTaken { group: name.clone(), instance: instance.clone() });
        }
        if let Some(previous) = holder.or(was).and_then(|id| group.members.remove(&id)) {
            // What was being revoked is given up with the one that is gone; the rest is assigned anew, to the same place.
            group.epoch += 1;
            let since = group.epoch;
            let taken = previous.assigned().map(|partition| (partition, crate::Held { since, revoking: false }));
            joining.held = taken.collect();
        }
        if group.members.len() >= limits::MEMBERS_PER_GROUP_MAX {
            let message = format!("group {name} has its maximum of {} members", limits::MEMBERS_PER_GROUP_MAX);
            return Err(Refusal::LimitReached(message));
        }
        // Also of a member that is assigned nothing: epoch 0 is for those that join.
        group.epoch += 1;
        joining.epoch = group.epoch;
        group.members.insert(id, joining);
        let bytes: usize = group.members.values().map(|member| settings_bytes(&member.settings)).sum();
        if bytes > limits::GROUP_SETTINGS_BYTES_MAX {
            let message = format!(
                "what the members of group {name} subscribe to takes {bytes} bytes, more than {}; use fewer members or topics",
                limits::GROUP_SETTINGS_BYTES_MAX
            );
            return Err(Refusal::LimitReached(message));
        }
        group.resolve(topics);
        group.retarget();
        self.groups.entry(name.clone()).or_default().group = group;
        self.changed.insert(name.clone());
        Ok(())
    }

    fn check_room_for_group(&self) -> Result<(), Refusal> {
        if self.groups.len() < limits::GROUPS_PER_COORDINATOR_MAX {
            return Ok(());
        }
        let message = format!(
            "the coordinator holds its maximum of {} groups; delete some (quorate group delete)",
            limits::GROUPS_PER_COORDINATOR_MAX
        );
        Err(Refusal::LimitReached(message))
    }

    /// Gives a member up; what it had goes to the others. Nothing happens if there is none.
    pub fn remove(&mut self, name: &Name, member: MemberId, topics: &impl Topics) {
        let Some(entry) = self.groups.get_mut(name) else { return };
        if entry.group.members.remove(&member).is_some() {
            entry.group.resolve(topics);
            entry.group.retarget();
            self.changed.insert(name.clone());
        }
    }

    /// Takes note of topics that were created, deleted or got more partitions; returns the groups that this concerns.
    pub fn refresh(&mut self, topics: &impl Topics) -> Vec<Name> {
        let mut concerned = Vec::new();
        for (name, entry) in &mut self.groups {
            if !entry.group.members.is_empty() && entry.group.resolve(topics) {
                entry.group.retarget();
                self.changed.insert(name.clone());
                concerned.push(name.clone());
            }
        }
        concerned
    }

    /// Commits offsets, and returns what is committed then. A member's commit never lowers what is committed.
    ///
    /// # Errors
    /// All of it is refused: [`Refusal::UnknownMember`], [`Refusal::Fenced`], [`Refusal::NotEmpty`],
    /// [`Refusal::LimitReached`] or [`Refusal::Invalid`].
    pub fn commit(
        &mut self,
        name: &Name,
        committer: Committer,
        offsets: &[(PartitionId, Option<u64>)],
        now_ms: i64,
    ) -> Result<Vec<(PartitionId, CommittedOffset)>, Refusal> {
        if offsets.len() > limits::OFFSETS_PER_COMMIT_MAX {
            let message = format!("at most {} offsets can be committed at once", limits::OFFSETS_PER_COMMIT_MAX);
            return Err(Refusal::Invalid(message));
        }
        self.check_committer(name, committer, offsets)?;
        let is_member = matches!(committer, Committer::Member { .. });
        if !self.groups.contains_key(name) {
            self.check_room_for_group()?;
            self.changed.insert(name.clone());
        }
        let entry = self.groups.entry(name.clone()).or_default();
        let added = offsets.iter().filter(|(partition, _)| !entry.committed.contains_key(partition)).count();
        if entry.committed.len() + added > limits::OFFSETS_PER_GROUP_MAX {
            let message = format!(
                "group {name} would have committed offsets of more than {} partitions; use more groups",
                limits::OFFSETS_PER_GROUP_MAX
            );
            return Err(Refusal::LimitReached(message));
        }
        let changes = self.offsets.entry(name.clone()).or_default();
        let mut now_committed = Vec::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            let before = entry.committed.get(partition).copied();
            let committed = match (*offset, before) {
                (Some(offset), Some(before)) if offset == before.offset || is_member && offset < before.offset => {
                    now_committed.push((*partition, before));
                    continue;
                }
                (Some(offset), _) => Some(CommittedOffset { offset, committed_at_ms: now_ms }),
                (None, None) => continue,
                (None, Some(_)) => None,
            };
            match committed {
                Some(committed) => {
                    entry.committed.insert(*partition, committed);
                    now_committed.push((*partition, committed));
                }
                None => drop(entry.committed.remove(partition)),
            }
            changes.insert(*partition, committed);
        }
        Ok(now_committed)
    }

    fn check_committer(
        &self,
        name: &Name,
        committer: Committer,
        offsets: &[(PartitionId, Option<u64>)],
    ) -> Result<(), Refusal> {
        let group = self.groups.get(name).map(|entry| &entry.group);
        let (id, epoch) = match committer {
            Committer::Outside => {
                let members = group.map_or(0, |group| group.members.len());
                return if members == 0 { Ok(()) } else { Err(Refusal::NotEmpty { group: name.clone(), members }) };
            }
            Committer::Member { member, epoch } => (member, epoch),
        };
        let member = group.and_then(|group| group.members.get(&id)).ok_or_else(|| unknown_member(name, id))?;
        for (partition, offset) in offsets {
            if offset.is_none() {
                return Err(Refusal::Invalid("only a group without members forgets what it has committed".to_owned()));
            }
            // What it had before it lost the partition and got it again does not count.
            if member.held.get(partition).is_none_or(|held| epoch < held.since) {
                return Err(Refusal::Fenced { group: name.clone(), member: id, partition: *partition });
            }
        }
        Ok(())
    }

    /// What a group has committed: of these partitions, or of all. Nothing if there is no such group.
    #[must_use]
    pub fn committed(&self, name: &Name, partitions: Option<&[PartitionId]>) -> Vec<(PartitionId, CommittedOffset)> {
        let Some(entry) = self.groups.get(name) else { return Vec::new() };
        let of = |partition: &PartitionId| Some((*partition, *entry.committed.get(partition)?));
        match partitions {
            Some(partitions) => partitions.iter().filter_map(of).collect(),
            None => entry.committed.keys().filter_map(of).collect(),
        }
    }

    /// Forgets a group without members.
    ///
    /// # Errors
    /// [`Refusal::UnknownGroup`] or [`Refusal::NotEmpty`].
    pub fn delete(&mut self, name: &Name) -> Result<(), Refusal> {
        let entry = self.groups.get(name).ok_or_else(|| Refusal::UnknownGroup(name.clone()))?;
        match entry.group.members.len() {
            0 => {
                self.groups.remove(name);
                self.offsets.remove(name);
                self.changed.remove(name);
                self.gone.insert(name.clone());
                Ok(())
            }
            members => Err(Refusal::NotEmpty { group: name.clone(), members }),
        }
    }

    /// A group as a whole.
    ///
    /// # Errors
    /// [`Refusal::UnknownGroup`].
    pub fn describe(&self, name: &Name) -> Result<GroupInfo, Refusal> {
        let Entry { group, .. } = self.groups.get(name).ok_or_else(|| Refusal::UnknownGroup(name.clone()))?;
        Ok(GroupInfo {
            name: name.clone(),
            state: group.state(),
            epoch: group.epoch,
            members: group.members.iter().map(|(id, member)| group.member_info(*id, member)).collect(),
            committed: self.committed(name, None),
        })
    }

    /// All groups, by name.
    #[must_use]
    pub fn list(&self) -> Vec<GroupSummary> {
        let summary = |(name, entry): (&Name, &Entry)| GroupSummary {
            name: name.clone(),
            state: entry.group.state(),
            member_count: entry.group.members.len() as u32,
            committed_partition_count: entry.committed.len() as u32,
        };
        self.groups.iter().map(summary).collect()
    }
}

fn unknown_member(group: &Name, member: MemberId) -> Refusal {
    Refusal::UnknownMember { group: group.clone(), member }
}

/// About as many bytes as the settings take where they are written down.
fn settings_bytes(settings: &MemberSettings) -> usize {
    let names: usize =
        settings.topics.iter().map(|topic| topic.stream.as_str().len() + topic.topic.as_str().len() + 9).sum();
    names + settings.client.len() + settings.instance.as_ref().map_or(0, |name| name.as_str().len()) + 64
}

fn check(settings: &MemberSettings) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::Invalid(message));
    let within =
        |name: &str, value: Duration, bounds: &std::ops::RangeInclusive<Duration>| match bounds.contains(&value) {
            true => Ok(()),
            false => Err(Refusal::Invalid(format!(
                "the {name} is {value:?}, but must lie within {:?} and {:?}",
                bounds.start(),
                bounds.end()
            ))),
        };
    if settings.topics.is_empty() || settings.topics.len() > limits::SUBSCRIPTIONS_MAX {
        return invalid(format!("a member subscribes to 1 to {} topics", limits::SUBSCRIPTIONS_MAX));
    }
    if settings.client.len() > limits::CLIENT_NAME_BYTES_MAX {
        return invalid(format!("the client's name has at most {} bytes", limits::CLIENT_NAME_BYTES_MAX));
    }
    within("session timeout", settings.session_timeout, &limits::SESSION_TIMEOUT_BOUNDS)?;
    within("rebalance timeout", settings.rebalance_timeout, &limits::REBALANCE_TIMEOUT_BOUNDS)
}
