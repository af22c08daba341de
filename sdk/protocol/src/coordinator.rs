//! Consumer groups: what members and coordinators say to each other.
//!
//! A group belongs to one partition of a topic of the cluster's own ([`TopicName::consumer_groups`]), and whoever leads that partition
//! coordinates it. Shaped like KIP-848: the coordinator assigns, members only send heartbeats.

use std::{fmt, time::Duration};

use quorate_cluster_config::{Name, PartitionId, PartitionIndex, TopicId, TopicName, limits::COORDINATOR_GROUPS};
use serde::{Deserialize, Serialize};

/// The partition of [`TopicName::consumer_groups`] that a group belongs to, for ever: FNV-1a (64 bits) of its name, both halves xored, modulo
/// [`COORDINATOR_GROUPS`].
#[must_use]
pub fn coordinator_of(group: &Name) -> PartitionIndex {
    let hash = group
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ (hash >> 32)) % u64::from(COORDINATOR_GROUPS)) as PartitionIndex
}

/// A member of a consumer group: random, chosen by the member, and another one each time it joins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId(pub u128);

impl fmt::Display for MemberId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{:032x}", self.0))
    }
}

/// What a member says of itself when it joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSettings {
    /// The name of a static member: who joins under it takes over from who had it, with what it was assigned.
    pub instance: Option<Name>,
    /// What people call the program, at most `CLIENT_NAME_BYTES_MAX` bytes.
    pub client: String,
    /// The topics it wants partitions of, 1 to `SUBSCRIPTIONS_MAX`. Those that do not exist yet are assigned once they do.
    pub topics: Vec<TopicName>,
    /// After it was not heard for so long it is no member any more; within `SESSION_TIMEOUT_BOUNDS`.
    pub session_timeout: Duration,
    /// If it has not given up for so long what it was told to, it is no member any more; within `REBALANCE_TIMEOUT_BOUNDS`.
    pub rebalance_timeout: Duration,
}

/// A sign of life of a member; the answer is its assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The group.
    pub group: Name,
    /// The member.
    pub member: MemberId,
    /// The epoch of the last assignment it was told; 0 to join.
    pub epoch: u64,
    /// To join: what it says of itself.
    pub join: Option<MemberSettings>,
    /// Who it was before, if it joins anew: it takes over from that one, and from no other program that has its instance name by
    /// now.
    pub was: Option<MemberId>,
    /// The partitions that it reads or has not finished with, at most `PARTITIONS_PER_GROUP_MAX`.
    pub owned: Vec<PartitionId>,
    /// While its assignment is that of `epoch`, the answer may wait so long; at most a third of the session timeout.
    pub max_wait: Duration,
}

/// Partitions of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedTopic {
    /// The topic.
    pub topic: TopicId,
    /// Its name.
    pub name: TopicName,
    /// The partitions, ascending.
    pub partitions: Vec<PartitionIndex>,
}

/// What a member is to read: it gives up everything else, and says so with its next heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Greater than that of any assignment before in this group.
    pub epoch: u64,
    /// By topic id.
    pub topics: Vec<AssignedTopic>,
}

/// Whose word on offsets counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Committer {
    /// A member, for partitions assigned to it at this epoch or before, and never back.
    Member {
        /// The member.
        member: MemberId,
        /// The epoch of its assignment.
        epoch: u64,
    },
    /// Somebody outside, while the group has no members; back as well.
    Outside,
}

/// A question to the coordinator of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupRequest {
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// A member leaves.
    Leave {
        /// The group.
        group: Name,
        /// The member.
        member: MemberId,
    },
    /// Commits offsets; each is that of the next record to read.
    Commit {
        /// The group.
        group: Name,
        /// Who says so.
        committer: Committer,
        /// At most `OFFSETS_PER_COMMIT_MAX`, no partition twice; `None` forgets what was committed, which only
        /// [`Committer::Outside`] may.
        offsets: Vec<(PartitionId, Option<u64>)>,
    },
    /// Asks for committed offsets. Linearizable.
    Committed {
        /// The group.
        group: Name,
        /// Of which partitions, at most `OFFSETS_PER_GROUP_MAX`; `None` for all.
        partitions: Option<Vec<PartitionId>>,
    },
    /// Asks for a group as a whole.
    Describe {
        /// The group.
        group: Name,
    },
    /// Asks for all groups of this coordinator.
    List,
    /// Forgets a group without members, and what it has committed.
    Delete {
        /// The group.
        group: Name,
    },
}

impl GroupRequest {
    /// The group it is about; `None` for all of a coordinator.
    #[must_use]
    pub fn group(&self) -> Option<&Name> {
        match self {
            Self::Heartbeat(heartbeat) => Some(&heartbeat.group),
            Self::Leave { group, .. }
            | Self::Commit { group, .. }
            | Self::Committed { group, .. }
            | Self::Describe { group }
            | Self::Delete { group } => Some(group),
            Self::List => None,
        }
    }
}

/// A request to one of the coordinators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorRequest {
    /// The partition of [`TopicName::consumer_groups`].
    pub coordinator: PartitionId,
    /// What is asked.
    pub request: GroupRequest,
}

/// A committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: u64,
    /// When it was committed, milliseconds since 1970 by the coordinator's clock.
    pub committed_at_ms: i64,
}

/// The answer of a coordinator: the variant belongs to that of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupResponse {
    /// To a heartbeat.
    Assignment(Assignment),
    /// To a leave or a delete.
    Done,
    /// To a commit, what is committed now, and to the question for it: by partition, without those of which nothing is.
    Committed(Vec<(PartitionId, CommittedOffset)>),
    /// To a describe.
    Group(GroupInfo),
    /// To a list, by name.
    Groups(Vec<GroupSummary>),
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// It has no members; what it has committed stays.
    Empty,
    /// Partitions are on their way from one member to another.
    Rebalancing,
    /// All members have what they are to have.
    Stable,
}

impl fmt::Display for GroupState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Empty => "empty",
            Self::Rebalancing => "rebalancing",
            Self::Stable => "stable",
        })
    }
}

/// A group in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Its name.
    pub name: Name,
    /// What it is doing.
    pub state: GroupState,
    /// How many members it has.
    pub member_count: u32,
    /// Of how many partitions it has committed offsets.
    pub committed_partition_count: u32,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// The member.
    pub id: MemberId,
    /// What it said of itself.
    pub settings: MemberSettings,
    /// The epoch of its assignment.
    pub epoch: u64,
    /// The partitions assigned to it.
    pub assigned: Vec<PartitionId>,
    /// Those it is to give up and still has.
    pub revoking: Vec<PartitionId>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name.
    pub name: Name,
    /// What it is doing.
    pub state: GroupState,
    /// The epoch of its last assignment.
    pub epoch: u64,
    /// Its members, by id.
    pub members: Vec<MemberInfo>,
    /// What it has committed, by partition.
    pub committed: Vec<(PartitionId, CommittedOffset)>,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_group_belongs_to_the_same_coordinator_for_ever() {
        let of = |name: &str| coordinator_of(&Name::parse(name).unwrap());
        assert_eq!(["billing", "audit", "a", "b", "c"].map(of), [6, 4, 0, 1, 6]);
        let mut counts = [0; COORDINATOR_GROUPS as usize];
        (0..8_000).for_each(|number| counts[of(&format!("group-{number}")) as usize] += 1);
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
