//! The settings of one node process.

mod error;
mod limits;
mod log;
mod raft;
mod retention;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits::NODES_MAX;
use crate::text::{addresses, duration, listener, size};
use crate::{Address, Name, OutOfBounds};

pub use error::NodeConfigError;
pub use limits::LimitsConfig;
pub use log::LogConfig;
pub use raft::RaftConfig;
pub use retention::RetentionConfig;

/// The port on which a node listens for clients unless its configuration says otherwise.
pub const CLIENT_PORT_DEFAULT: NonZeroU16 = port(7101);

/// The port on which a node listens for other nodes unless its configuration says otherwise.
pub const PEER_PORT_DEFAULT: NonZeroU16 = port(7201);

/// The port on which a node answers HTTP unless its configuration says otherwise.
pub const HTTP_PORT_DEFAULT: NonZeroU16 = port(7301);

/// The settings of one node process. [`NodeConfig::load`] gathers them from flags, environment, TOML and defaults.
///
/// Invariants, checked by [`validate`](Self::validate): every setting lies within its bounds; the two listeners can
/// both be bound; other processes can connect to what is advertised and to every seed; the times of Raft go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The directory that holds everything the node keeps. Required; a relative path starts at the working directory.
    pub data_dir: PathBuf,
    /// Where the node listens for clients. Default `127.0.0.1:7101`.
    #[serde(default = "listen_default")]
    pub listen: Address,
    /// Where clients reach the node. Default `listen`; required where that is `0.0.0.0` or `[::]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Address>,
    /// Where the node listens for other nodes. Default `127.0.0.1:7201`.
    #[serde(default = "peer_listen_default")]
    pub peer_listen: Address,
    /// Where other nodes reach the node. Default `peer_listen`; required where that is `0.0.0.0` or `[::]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_advertise: Option<Address>,
    /// Where the node answers `GET /metrics` (Prometheus), `/livez` and `/readyz`. Default `127.0.0.1:7301`; `off`: nowhere.
    #[serde(default = "http_listen_default", with = "listener")]
    pub http_listen: Option<Address>,
    /// The peer addresses of the nodes that form the cluster, the same list on each of them. At most 64, each once.
    /// Default: only the node itself, which then forms a cluster of one.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "addresses::deserialize")]
    pub seeds: Vec<Address>,
    /// Peer addresses of nodes of a cluster that this node, as long as it has no data, joins. At most 64, each once; not
    /// together with `seeds`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "addresses::deserialize")]
    pub join: Vec<Address>,
    /// Whether the node, as long as it has no data, waits to be added to a cluster. Default: no; not together with
    /// `seeds` or `join`.
    #[serde(default)]
    pub standby: bool,
    /// The failure domain the node is in: a rack, a zone, a host. Replicas of a partition are spread over as many as there
    /// are. Default: the node is a domain of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Name>,
    /// The times of Raft, and the speed of catching up.
    #[serde(default)]
    pub raft: RaftConfig,
    /// The logs: writing, caching, checking, the space they leave free.
    #[serde(default)]
    pub log: LogConfig,
    /// What the node takes on at once.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// When the node looks for what need not be kept any longer.
    #[serde(default)]
    pub retention: RetentionConfig,
}

impl NodeConfig {
    /// The default settings with this data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: listen_default(),
            advertise: None,
            peer_listen: peer_listen_default(),
            peer_advertise: None,
            http_listen: http_listen_default(),
            seeds: Vec::new(),
            join: Vec::new(),
            standby: false,
            rack: None,
            raft: RaftConfig::default(),
            log: LogConfig::default(),
            limits: LimitsConfig::default(),
            retention: RetentionConfig::default(),
        }
    }

    /// Where clients reach the node: `advertise`, else `listen`.
    #[must_use]
    pub fn advertised(&self) -> &Address {
        self.advertise.as_ref().unwrap_or(&self.listen)
    }

    /// Where other nodes reach the node: `peer_advertise`, else `peer_listen`.
    #[must_use]
    pub fn peer_advertised(&self) -> &Address {
        self.peer_advertise.as_ref().unwrap_or(&self.peer_listen)
    }

    /// The nodes that form the cluster: `seeds`, else only the node itself. Never empty.
    #[must_use]
    pub fn forming_seeds(&self) -> &[Address] {
        if self.seeds.is_empty() { std::slice::from_ref(self.peer_advertised()) } else { &self.seeds }
    }

    /// Whether the node, as long as it has no data, forms a cluster: otherwise it is to become part of one.
    #[must_use]
    pub fn forms(&self) -> bool {
        self.join.is_empty() && !self.standby
    }

    /// Checks every rule that holds for settings, alone and together.
    ///
    /// # Errors
    ///
    /// The first rule broken, as a [`NodeConfigError`] that names the settings and what to do.
    pub fn validate(&self) -> Result<(), NodeConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(NodeConfigError::DataDirEmpty);
        }
        self.validate_addresses()?;
        self.validate_seeds()?;
        self.raft.validate()?;
        self.log.validate()?;
        self.limits.validate()?;
        self.retention.validate()?;
        Ok(())
    }

    fn validate_addresses(&self) -> Result<(), NodeConfigError> {
        let listeners = [
            ("listen", Some(&self.listen)),
            ("peer_listen", Some(&self.peer_listen)),
            ("http_listen", self.http_listen.as_ref()),
        ];
        let listeners: Vec<_> = listeners.into_iter().filter_map(|(key, address)| Some((key, address?))).collect();
        let collide = |one: &Address, other: &Address| {
            let one_host = one.host() == other.host() || one.is_unspecified() || other.is_unspecified();
            one_host && one.port() == other.port()
        };
        for (at, (key, one)) in listeners.iter().enumerate() {
            if let Some((other_key, other)) = listeners[at + 1..].iter().find(|(_, other)| collide(one, other)) {
                let found = (*other).clone();
                return Err(NodeConfigError::ListenersCollide { one: key, other: other_key, found });
            }
        }
        if self.advertised().is_unspecified() {
            let found = self.advertised().clone();
            return Err(NodeConfigError::Unreachable { key: "advertise", fallback: "listen", found });
        }
        if self.peer_advertised().is_unspecified() {
            let found = self.peer_advertised().clone();
            return Err(NodeConfigError::Unreachable { key: "peer_advertise", fallback: "peer_listen", found });
        }
        if self.advertised() == self.peer_advertised() {
            return Err(NodeConfigError::AdvertisedAlike { found: self.advertised().clone() });
        }
        Ok(())
    }

    fn validate_seeds(&self) -> Result<(), NodeConfigError> {
        for (key, nodes) in [("seeds", &self.seeds), ("join", &self.join)] {
            if nodes.len() > NODES_MAX as usize {
                let (found, min, max) = (format!("{} addresses", nodes.len()), "1".into(), NODES_MAX.to_string());
                return Err(OutOfBounds { key, found, min, max }.into());
            }
            let mut seen = BTreeSet::new();
            for node in nodes {
                if node.is_unspecified() {
                    return Err(NodeConfigError::SeedUnreachable { key, found: node.clone() });
                }
                if !seen.insert(node) {
                    return Err(NodeConfigError::SeedRepeated { key, found: node.clone() });
                }
            }
        }
        if self.join.contains(self.peer_advertised()) {
            return Err(NodeConfigError::JoinsItself { found: self.peer_advertised().clone() });
        }
        let ways = [("seeds", !self.seeds.is_empty()), ("join", !self.join.is_empty()), ("standby", self.standby)];
        let mut ways = ways.into_iter().filter(|(_, chosen)| *chosen).map(|(key, _)| key);
        match (ways.next(), ways.next()) {
            (Some(one), Some(other)) => Err(NodeConfigError::WaysIn { one, other }),
            _ => Ok(()),
        }
    }

    /// Every setting as (dotted key, value as in the environment). Where a setting without a value falls back to
    /// another one, the value is the one that then holds.
    #[must_use]
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let Self {
            data_dir, listen, peer_listen, http_listen, join, standby, rack, raft, log, limits, retention, ..
        } = self;
        vec![
            ("data_dir", data_dir.display().to_string()),
            ("listen", listen.to_string()),
            ("advertise", self.advertised().to_string()),
            ("peer_listen", peer_listen.to_string()),
            ("peer_advertise", self.peer_advertised().to_string()),
            ("http_listen", listener::format(http_listen.as_ref())),
            ("seeds", addresses::format(if self.forms() { self.forming_seeds() } else { &[] })),
            ("join", addresses::format(join)),
            ("standby", standby.to_string()),
            ("rack", rack.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("raft.heartbeat_interval", duration::format(raft.heartbeat_interval)),
            ("raft.election_timeout_min", duration::format(raft.election_timeout_min)),
            ("raft.election_timeout_max", duration::format(raft.election_timeout_max)),
            ("raft.catch_up_bytes_per_second", size::format(raft.catch_up_bytes_per_second)),
            ("log.writer_threads", log.writer_threads.to_string()),
            ("log.tail_cache_bytes", size::format(log.tail_cache_bytes)),
            ("log.open_segments_max", log.open_segments_max.to_string()),
            ("log.scrub_bytes_per_second", size::format(log.scrub_bytes_per_second)),
            ("log.scrub_interval", duration::format(log.scrub_interval)),
            ("log.reserve_bytes", size::format(log.reserve_bytes)),
            ("limits.append_bytes_in_flight", size::format(limits.append_bytes_in_flight)),
            ("limits.fetch_bytes_in_flight", size::format(limits.fetch_bytes_in_flight)),
            ("limits.replication_bytes_in_flight", size::format(limits.replication_bytes_in_flight)),
            ("limits.client_connections", limits.client_connections.to_string()),
            ("retention.check_interval", duration::format(retention.check_interval)),
            ("retention.producer_expiry", duration::format(retention.producer_expiry)),
        ]
    }
}

fn listen_default() -> Address {
    Address::loopback(CLIENT_PORT_DEFAULT)
}

fn peer_listen_default() -> Address {
    Address::loopback(PEER_PORT_DEFAULT)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of the setting")]
fn http_listen_default() -> Option<Address> {
    Some(Address::loopback(HTTP_PORT_DEFAULT))
}

/// A port known to be one when the program is compiled.
const fn port(number: u16) -> NonZeroU16 {
    match NonZeroU16::new(number) {
        Some(port) => port,
        None => NonZeroU16::MIN,
    }
}

const _: () =
    assert!(CLIENT_PORT_DEFAULT.get() == 7101 && PEER_PORT_DEFAULT.get() == 7201 && HTTP_PORT_DEFAULT.get() == 7301);
