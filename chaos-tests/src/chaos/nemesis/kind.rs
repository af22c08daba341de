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
    /// See [`definition`](Self::definition).
    Stop,
    /// See [`definition`](Self::definition).
    PauseKill,
    /// See [`definition`](Self::definition).
    Rolling,
    /// See [`definition`](Self::definition).
    Throttle,
    /// See [`definition`](Self::definition).
    Clients,
    /// See [`definition`](Self::definition).
    SlowDisk,
    /// See [`definition`](Self::definition).
    FullDisk,
    /// See [`definition`](Self::definition).
    FailSync,
    /// See [`definition`](Self::definition).
    DiskErrors,
    /// See [`definition`](Self::definition).
    Damage,
    /// See [`definition`](Self::definition).
    Clock,
    /// See [`definition`](Self::definition).
    Drain,
    /// See [`definition`](Self::definition).
    Grow,
    /// See [`definition`](Self::definition).
    Replace,
    /// See [`definition`](Self::definition).
    Wipe,
    /// See [`definition`](Self::definition).
    VoteLoss,
    /// See [`definition`](Self::definition).
    Corrupt,
    /// See [`definition`](Self::definition).
    PowerCut,
    /// See [`definition`](Self::definition).
    Ring,
    /// See [`definition`](Self::definition).
    Trim,
    /// See [`definition`](Self::definition).
    Snapshot,
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The one node whose disk may forget or alter what it has promised to keep: of one copy, a majority makes up for that.
    BadDisk,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Leader, Self::Follower, Self::MetadataLeader, Self::Majority, Self::All, Self::BadDisk];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::MetadataLeader => "metadata-leader",
            Self::Majority => "majority",
            Self::All => "all",
            Self::BadDisk => "bad-disk",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether who has it never changes.
    #[must_use]
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Majority | Self::All | Self::BadDisk)
    }
}

impl NemesisKind {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::Kill,
        Self::Pause,
        Self::Isolate,
        Self::Split,
        Self::Sever,
        Self::OneWay,
        Self::Stall,
        Self::Reset,
        Self::Delay,
        Self::Stop,
        Self::PauseKill,
        Self::Rolling,
        Self::Throttle,
        Self::Clients,
        Self::SlowDisk,
        Self::FullDisk,
        Self::FailSync,
        Self::DiskErrors,
        Self::Damage,
        Self::Clock,
        Self::Drain,
        Self::Grow,
        Self::Replace,
        Self::Wipe,
        Self::VoteLoss,
        Self::Corrupt,
        Self::PowerCut,
        Self::Ring,
        Self::Trim,
        Self::Snapshot,
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
            Self::Stop => "stop",
            Self::PauseKill => "pause-kill",
            Self::Rolling => "rolling",
            Self::Throttle => "throttle",
            Self::Clients => "clients",
            Self::SlowDisk => "slow-disk",
            Self::FullDisk => "full-disk",
            Self::FailSync => "fail-sync",
            Self::DiskErrors => "disk-errors",
            Self::Damage => "damage",
            Self::Clock => "clock",
            Self::Drain => "drain",
            Self::Grow => "grow",
            Self::Replace => "replace",
            Self::Wipe => "wipe",
            Self::VoteLoss => "vote-loss",
            Self::Corrupt => "corrupt",
            Self::PowerCut => "power-cut",
            Self::Ring => "ring",
            Self::Trim => "trim",
            Self::Snapshot => "snapshot",
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
                "processes are killed (kill -9) and started again; unless with --shipped, their disks forget what was not synced"
            }
            Self::Pause => "processes are stopped in their tracks (SIGSTOP) and go on",
            Self::Isolate => {
                "a minority is cut off from the majority: one node of three or four, up to two of five, three of seven"
            }
            Self::Split => "every node is cut off from every other: there is no majority",
            Self::Sever => "two nodes are cut off from each other; both reach the third",
            Self::OneWay => "bytes from one node to another, or to or from all others, vanish; the other way they flow",
            Self::Stall => "bytes to or from a node are held back and arrive late",
            Self::Reset => "connections between nodes are reset again and again",
            Self::Delay => "bytes to and from nodes arrive later, as many as ever",
            Self::Stop => "processes are asked to stop (SIGTERM) and started again",
            Self::PauseKill => "processes are stopped in their tracks, then killed",
            Self::Rolling => {
                "one process after the other is asked to stop and started again, each once the one before is back"
            }
            Self::Ring => {
                "every node reaches only its neighbours on a ring, a majority of all, and no two of them the same one"
            }
            Self::Trim => "records of a partition of one topic are deleted: half of them, most, or all",
            Self::Snapshot => {
                "a follower is cut off until what it lacks is deleted: it has to be brought up to date by snapshots"
            }
            Self::PowerCut => "all nodes lose power at once, and are started again",
            Self::Corrupt => "bits flip on their way between nodes, and between clients and nodes",
            Self::Throttle => "links to and from nodes carry few bytes a second",
            Self::Clients => "links between clients and nodes are cut, held, reset or slow",
            Self::SlowDisk => "every sync of a disk takes up to 300 ms longer",
            Self::FullDisk => "there is no room on a disk",
            Self::FailSync => "syncs fail on the node with the bad disk",
            Self::DiskErrors => "reads or writes fail on the node with the bad disk",
            Self::Damage => {
                "bytes change in the files of the node with the bad disk while it is down: a bit, a block, the end of a finished segment"
            }
            Self::Clock => "clocks jump by up to an hour, and back",
            Self::Drain => "a node is drained: it hands over what it leads",
            Self::Grow => "a node joins, gets its share, and leaves again",
            Self::Replace => "the node with the bad disk loses all of it, is given up, and another one joins",
            Self::Wipe => {
                "the node with the bad disk loses all of it and is started as before: it has to come back as another node"
            }
            Self::VoteLoss => {
                "a leader is killed; while the others elect, one's disk is held; it loses power, and whom it may have elected is cut off"
            }
        }
    }

    /// Whether only a node whose disk, power and clock can be broken can have it.
    #[must_use]
    pub fn needs_seams(self) -> bool {
        matches!(
            self,
            Self::SlowDisk
                | Self::FullDisk
                | Self::FailSync
                | Self::DiskErrors
                | Self::Clock
                | Self::PowerCut
                | Self::VoteLoss
        )
    }

    /// Whether only a proxy does it to connections, and no router to packets.
    #[must_use]
    pub fn needs_proxies(self) -> bool {
        matches!(self, Self::Reset | Self::Delay | Self::Throttle | Self::Corrupt)
    }

    /// How many nodes a cluster needs for it.
    #[must_use]
    pub fn nodes_min(self) -> u16 {
        match self {
            Self::Ring => 5,
            _ => 3,
        }
    }

    /// Whom it may hit.
    #[must_use]
    pub fn roles(self) -> &'static [Role] {
        use Role::{All, BadDisk, Follower, Leader, Majority, MetadataLeader};
        match self {
            Self::Kill => &[Leader, Follower, MetadataLeader, Majority, All],
            Self::Pause => &[Leader, Follower, MetadataLeader, Majority],
            Self::Isolate | Self::OneWay | Self::Stall | Self::Stop => &[Leader, Follower, MetadataLeader],
            Self::Split | Self::Rolling | Self::Grow | Self::PowerCut | Self::Ring | Self::Trim => &[All],
            Self::Snapshot => &[Follower],
            Self::Sever => &[Leader, MetadataLeader],
            Self::Reset | Self::Delay | Self::Throttle | Self::Corrupt | Self::Clients | Self::FullDisk => {
                &[Leader, Follower, All]
            }
            Self::PauseKill | Self::SlowDisk => &[Leader, Follower],
            Self::FailSync | Self::DiskErrors | Self::Damage | Self::Replace | Self::Wipe => &[BadDisk],
            Self::Clock => &[Leader, Follower, MetadataLeader, All],
            Self::Drain | Self::VoteLoss => &[Leader, MetadataLeader],
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

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
