//! The identifiers of the cluster. Each is a newtype, so that a node id never stands where a replica id belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id! {
    /// A process with a data directory. Given by the cluster, never used twice, 1 and up.
    NodeId
}
id! {
    /// One copy of one group's log. Allocated by the metadata group at every placement and never used twice: an
    /// old id that came back with an empty log would be a split brain.
    ReplicaId
}
id! {
    /// A topic. Never used again: a deleted and recreated topic is another topic.
    TopicId
}
id! {
    /// A producer, as it stands in every batch it writes.
    ProducerId
}

/// The identity of a cluster: 128 random bits, fixed when the cluster forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The index of a partition within its topic, dense from 0.
pub type PartitionIndex = u32;

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index within it.
    pub index: PartitionIndex,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.topic, self.index)
    }
}

/// What a Raft group replicates. Its code is part of peer frames and creation records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GroupKind {
    /// The one group that holds nodes, streams, topics, assignments and id counters.
    Metadata,
    /// The group of one partition.
    Partition,
    /// One of the groups that hold the state of consumer groups.
    Coordinator,
}

/// One Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GroupId {
    /// The metadata group.
    Metadata,
    /// A partition's group.
    Partition(PartitionId),
    /// A coordinator group, by its number.
    Coordinator(u32),
}

impl GroupId {
    /// The kind of this group.
    #[must_use]
    pub fn kind(self) -> GroupKind {
        match self {
            Self::Metadata => GroupKind::Metadata,
            Self::Partition(_) => GroupKind::Partition,
            Self::Coordinator(_) => GroupKind::Coordinator,
        }
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => formatter.write_str("metadata"),
            Self::Partition(partition) => write!(formatter, "partition {partition}"),
            Self::Coordinator(number) => write!(formatter, "coordinator {number}"),
        }
    }
}
