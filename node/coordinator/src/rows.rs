//! What is written down of consumer groups: the state is what the rows say, one after the other.

use std::collections::BTreeMap;

use quorate_cluster_config::{Name, PartitionId};
use quorate_protocol::CommittedOffset;
use serde::{Deserialize, Serialize};

use crate::group::Group;

/// A change. New kinds come at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// A group is this, but for what it has committed.
    Group {
        /// Its name.
        name: Name,
        /// All of it.
        group: Group,
    },
    /// Offsets are these from now on; `None`: nothing is committed.
    Offsets {
        /// The group, which exists.
        group: Name,
        /// By partition, at most `OFFSETS_PER_COMMIT_MAX`.
        offsets: BTreeMap<PartitionId, Option<CommittedOffset>>,
    },
    /// There is no such group any more.
    GroupGone {
        /// Its name.
        name: Name,
    },
}

impl Row {
    /// The group it is about.
    #[must_use]
    pub fn group(&self) -> &Name {
        match self {
            Self::Group { name, .. } | Self::GroupGone { name } => name,
            Self::Offsets { group, .. } => group,
        }
    }
}
