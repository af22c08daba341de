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
    /// The client connections open at once; further ones are refused. Default 1,024, bounds 1 to 65,536.
    pub client_connections: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            append_bytes_in_flight: limits::APPEND_BYTES_IN_FLIGHT_DEFAULT,
            client_connections: limits::CLIENT_CONNECTIONS_MAX,
        }
    }
}

impl LimitsConfig {
    pub(super) fn validate(&self) -> Result<(), OutOfBounds> {
        let Self { append_bytes_in_flight, client_connections } = *self;
        let bytes = &limits::APPEND_BYTES_IN_FLIGHT_BOUNDS;
        bounds::check_size("limits.append_bytes_in_flight", append_bytes_in_flight, bytes)?;
        bounds::check_count("limits.client_connections", client_connections, &limits::CLIENT_CONNECTIONS_BOUNDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(append_bytes_in_flight: u64, client_connections: u32) -> Option<&'static str> {
        LimitsConfig { append_bytes_in_flight, client_connections }.validate().err().map(|error| error.key)
    }

    #[test]
    fn the_defaults_are_64_mib_and_1024_connections() {
        let expected = LimitsConfig { append_bytes_in_flight: 64 << 20, client_connections: 1_024 };
        assert_eq!(LimitsConfig::default(), expected);
        assert_eq!(expected.validate(), Ok(()));
    }

    #[test]
    fn each_setting_has_its_bounds() {
        assert_eq!(refused(16 << 20, 1), None);
        assert_eq!(refused(64 << 30, 65_536), None);
        assert_eq!(refused((16 << 20) - 1, 1), Some("limits.append_bytes_in_flight"));
        assert_eq!(refused((64 << 30) + 1, 1), Some("limits.append_bytes_in_flight"));
        assert_eq!(refused(16 << 20, 0), Some("limits.client_connections"));
        assert_eq!(refused(16 << 20, 65_537), Some("limits.client_connections"));
    }
}
