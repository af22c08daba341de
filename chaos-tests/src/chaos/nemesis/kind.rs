//! The kinds of faults.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NemesisKind {
    /// See [`definition`](Self::definition), as for all of them.
    Kill,
    /// See [`definition`](Self::definition).
    Pause,
    /// See [`definition`](Self::definition).
    Isolate,
    /// See [`definition`](Self::definition).
    Split,
    /// See [`definition`](Self::definition).
    Sever,
    /// See [`definition`](Self::definition).
    OneWay,
    /// See [`definition`](Self::definition).
    Stall,
    /// See [`definition`](Self::definition).
    Reset,
    /// See [`definition`](Self::definition).
    Delay,
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The leader of a partition.
    Leader,
    /// A node that follows in a partition.
    Follower,
    /// The leader of the metadata group.
    MetadataLeader,
    /// More than half of the nodes.
    Majority,
    /// Every node.
    All,
}

impl Role {
    /// Whether who has it never changes.
    #[must_use]
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Majority | Self::All)
    }
}

impl NemesisKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Kill,
        Self::Pause,
        Self::Isolate,
        Self::Split,
        Self::Sever,
        Self::OneWay,
        Self::Stall,
        Self::Reset,
        Self::Delay,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Isolate => "isolate",
            Self::Split => "split",
            Self::Sever => "sever",
            Self::OneWay => "one-way",
            Self::Stall => "stall",
            Self::Reset => "reset",
            Self::Delay => "delay",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it does.
    #[must_use]
    pub fn definition(self) -> &'static str {
        match self {
            Self::Kill => {
                "processes are killed (kill -9) and started again; with --power-loss their disks forget what was not synced"
            }
            Self::Pause => "processes are stopped in their tracks (SIGSTOP) and go on",
            Self::Isolate => "a node is cut off from all its peers: a minority of one against the majority",
            Self::Split => "every node is cut off from every other: there is no majority",
            Self::Sever => "two nodes are cut off from each other; both reach the third",
            Self::OneWay => "bytes from one node to another, or to or from all others, vanish; the other way they flow",
            Self::Stall => "bytes to or from a node are held back and arrive late",
            Self::Reset => "connections between nodes are reset again and again",
            Self::Delay => "bytes to and from nodes arrive later, as many as ever",
        }
    }

    /// Whom it may hit.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        use Role::{All, Follower, Leader, Majority, MetadataLeader};
        match self {
            Self::Kill => &[Leader, Follower, MetadataLeader, Majority, All],
            Self::Pause => &[Leader, Follower, MetadataLeader, Majority],
            Self::Isolate | Self::OneWay | Self::Stall => &[Leader, Follower, MetadataLeader],
            Self::Split => &[All],
            Self::Sever => &[Leader, MetadataLeader],
            Self::Reset | Self::Delay => &[Leader, Follower, All],
        }
    }
}

impl Display for NemesisKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Serialize for NemesisKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
