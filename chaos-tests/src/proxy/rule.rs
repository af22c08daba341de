//! How one directed link treats bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens to bytes on a directed link. Of several, the greatest holds: what lets less through
/// comes later, numbers aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// They pass.
    #[default]
    Pass,
    /// They arrive later by this time, as many as ever.
    Delay(Duration),
    /// So many of them pass in a second, on each connection.
    Throttle(u32),
    /// About one of so many bytes arrives with a wrong bit.
    Corrupt(u32),
    /// They arrive after the link is healed, as they do by retransmission where packets were lost.
    Hold,
    /// They vanish, and so do attempts to connect.
    Drop,
}
