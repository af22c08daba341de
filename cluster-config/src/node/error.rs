//! What can be wrong with the settings of a node.

use std::time::Duration;

use crate::limits::HEARTBEATS_PER_ELECTION_TIMEOUT_MIN;
use crate::text::duration::format;
use crate::{Address, OutOfBounds};

/// A rule that the settings of a node break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeConfigError {
    /// A setting lies outside its bounds.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// The data directory is the empty path.
    #[error("data_dir is empty: set it to the directory that is to hold the node's data")]
    DataDirEmpty,
    /// Two listeners cannot both be bound.
    #[error("{one} and {other} collide at {found}: give them different ports")]
    ListenersCollide {
        /// One of the settings.
        one: &'static str,
        /// The other one.
        other: &'static str,
        /// The address of the other one.
        found: Address,
    },
    /// What would be advertised is `0.0.0.0` or `[::]`.
    #[error("other processes cannot connect to {found}: set {key} to an address of this node they can reach")]
    Unreachable {
        /// The setting to change.
        key: &'static str,
        /// The setting that holds where `key` is not set.
        fallback: &'static str,
        /// The address that would be advertised.
        found: Address,
    },
    /// Clients and nodes are told the same address, and one of them would reach the wrong listener.
    #[error("clients and other nodes are both told {found}: set advertise and peer_advertise to different addresses")]
    AdvertisedAlike {
        /// The address that would be advertised to both.
        found: Address,
    },
    /// A seed is `0.0.0.0` or `[::]`.
    #[error(
        "{key} has {found}, to which no node can connect: name the address which that node advertises to its peers"
    )]
    SeedUnreachable {
        /// `seeds` or `join`.
        key: &'static str,
        /// The address.
        found: Address,
    },
    /// A node is named more than once.
    #[error("{key} has {found} more than once: name each node once")]
    SeedRepeated {
        /// `seeds` or `join`.
        key: &'static str,
        /// The address.
        found: Address,
    },
    /// The node is to join itself.
    #[error("join has {found}, which is this node: name nodes of the cluster that it is to join")]
    JoinsItself {
        /// The address.
        found: Address,
    },
    /// There is more than one way into a cluster.
    #[error(
        "{one} and {other} are both set: a node either forms a cluster with its seeds, or joins one, or waits to be added to one; keep one of them"
    )]
    WaysIn {
        /// One way.
        one: &'static str,
        /// Another way.
        other: &'static str,
    },
    /// A time of Raft has a fraction of a millisecond, which its timers do not have.
    #[error("{key} is {}, which is no whole number of milliseconds: round it", format(*.found))]
    FractionOfMillisecond {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: Duration,
    },
    /// A lost heartbeat or two would depose a leader.
    #[error(
        "raft.election_timeout_min is {}, but must be at least {HEARTBEATS_PER_ELECTION_TIMEOUT_MIN} times \
         raft.heartbeat_interval, which is {}: set it to {} or more, or shorten the heartbeat interval",
        format(*.election_timeout_min),
        format(*.heartbeat_interval),
        format(.heartbeat_interval.saturating_mul(HEARTBEATS_PER_ELECTION_TIMEOUT_MIN))
    )]
    ElectionTimeoutTooShort {
        /// The shortest election timeout.
        election_timeout_min: Duration,
        /// The time between two heartbeats.
        heartbeat_interval: Duration,
    },
    /// There is no range to draw an election timeout from, so that all replicas would stand at once.
    #[error(
        "raft.election_timeout_max is {}, but must be above raft.election_timeout_min, which is {}: raise the first or \
         lower the second",
        format(*.election_timeout_max),
        format(*.election_timeout_min)
    )]
    ElectionTimeoutsReversed {
        /// The shortest election timeout.
        election_timeout_min: Duration,
        /// The longest election timeout.
        election_timeout_max: Duration,
    },
}

impl NodeConfigError {
    /// The settings that break the rule together, as dotted keys.
    #[must_use]
    pub fn keys(&self) -> Vec<&'static str> {
        match self {
            Self::OutOfBounds(OutOfBounds { key, .. }) | Self::FractionOfMillisecond { key, .. } => vec![key],
            Self::DataDirEmpty => vec!["data_dir"],
            Self::ListenersCollide { one, other, .. } => vec![one, other],
            Self::Unreachable { key, fallback, .. } => vec![key, fallback],
            Self::AdvertisedAlike { .. } => vec!["advertise", "peer_advertise", "listen", "peer_listen"],
            Self::SeedUnreachable { key, .. } | Self::SeedRepeated { key, .. } => vec![key],
            Self::JoinsItself { .. } => vec!["join", "peer_advertise", "peer_listen"],
            Self::WaysIn { one, other } => vec![one, other],
            Self::ElectionTimeoutTooShort { .. } => vec!["raft.election_timeout_min", "raft.heartbeat_interval"],
            Self::ElectionTimeoutsReversed { .. } => vec!["raft.election_timeout_max", "raft.election_timeout_min"],
        }
    }
}
