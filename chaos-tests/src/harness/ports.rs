//! Ports for servers on loopback.

/// That many ports, ascending and one after the other, on which nobody listens.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn free_ports(count: u16) -> Vec<u16> {
    quorate_testing::free_ports(count).unwrap_or_else(|error| panic!("{error}"))
}
