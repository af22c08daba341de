//! What a node takes on at once.

use serde::{Deserialize, Serialize};

use crate::bounds::{self, OutOfBounds};
use crate::limits;
use crate::text::size;

/// What a node takes on at once, so that a crowd of clients slows down instead of exhausting its memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The bytes of record batches admitted and not yet answered. Beyond it the node admits no more until one is
    /// answered. Default 64 MiB, bounds 16 MiB to 64 GiB.
    #[serde(with = "size")]
    pub append_bytes_in_flight: u64,
    /// The bytes of record batches read for fetches and not yet handed to the network. Beyond it further fetches wait, as
    /// long as they may. Default 64 MiB, bounds 8 MiB to 64 GiB.
    #[serde(with = "size")]
    pub fetch_bytes_in_flight: u64,
    /// The bytes of entries received from other nodes and not yet taken by Raft. Beyond it the node reads no more entries
    /// from them until Raft has taken some; heartbeats go on. Default 64 MiB, bounds 16 MiB to 64 GiB.
    #[serde(with = "size")]
    pub replication_bytes_in_flight: u64,
    /// The client connections open at once; further ones are refused. Default 1,024, bounds 1 to 65,536.
    pub client_connections: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            append_bytes_in_flight: limits::APPEND_BYTES_IN_FLIGHT_DEFAULT,
            fetch_bytes_in_flight: limits::FETCH_BYTES_IN_FLIGHT_DEFAULT,
            replication_bytes_in_flight: limits::REPLICATION_BYTES_IN_FLIGHT_DEFAULT,
            client_connections: limits::CLIENT_CONNECTIONS_MAX,
        }
    }
}

impl LimitsConfig {
    pub(super) fn validate(&self) -> Result<(), OutOfBounds> {
        let Self { append_bytes_in_flight, fetch_bytes_in_flight, replication_bytes_in_flight, client_connections } =
            *self;
        for (key, bytes, bounds) in [
            ("limits.append_bytes_in_flight", append_bytes_in_flight, limits::APPEND_BYTES_IN_FLIGHT_BOUNDS),
            ("limits.fetch_bytes_in_flight", fetch_bytes_in_flight, limits::FETCH_BYTES_IN_FLIGHT_BOUNDS),
            (
                "limits.replication_bytes_in_flight",
                replication_bytes_in_flight,
                limits::REPLICATION_BYTES_IN_FLIGHT_BOUNDS,
            ),
        ] {
            bounds::check_size(key, bytes, &bounds)?;
        }
        bounds::check_count("limits.client_connections", client_connections, &limits::CLIENT_CONNECTIONS_BOUNDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut LimitsConfig)) -> Option<&'static str> {
        let mut config = LimitsConfig::default();
        change(&mut config);
        config.validate().err().map(|error| error.key)
    }

    #[test]
    fn the_defaults_are_valid() {
        let expected = LimitsConfig {
            append_bytes_in_flight: 64 << 20,
            fetch_bytes_in_flight: 64 << 20,
            replication_bytes_in_flight: 64 << 20,
            client_connections: 1_024,
        };
        assert_eq!(LimitsConfig::default(), expected);
        assert_eq!(expected.validate(), Ok(()));
    }

    #[test]
    fn each_setting_has_its_bounds() {
        for bytes in [16 << 20, 64 << 30] {
            assert_eq!(refused(|config| config.append_bytes_in_flight = bytes), None);
            assert_eq!(refused(|config| config.replication_bytes_in_flight = bytes), None);
        }
        for bytes in [0, (16 << 20) - 1, (64 << 30) + 1] {
            assert_eq!(refused(|config| config.append_bytes_in_flight = bytes), Some("limits.append_bytes_in_flight"));
            let found = refused(|config| config.replication_bytes_in_flight = bytes);
            assert_eq!(found, Some("limits.replication_bytes_in_flight"));
        }
        for bytes in [8 << 20, 64 << 30] {
            assert_eq!(refused(|config| config.fetch_bytes_in_flight = bytes), None);
        }
        for bytes in [0, (8 << 20) - 1, (64 << 30) + 1] {
            assert_eq!(refused(|config| config.fetch_bytes_in_flight = bytes), Some("limits.fetch_bytes_in_flight"));
        }
        for connections in [1, 65_536] {
            assert_eq!(refused(|config| config.client_connections = connections), None);
        }
        for connections in [0, 65_537] {
            assert_eq!(refused(|config| config.client_connections = connections), Some("limits.client_connections"));
        }
    }
}
