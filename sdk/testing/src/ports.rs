//! Ports for nodes.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::TestingError;

/// Below the ephemeral ports: a client that calls a dead node again and again would else, one day, be given that very port
/// and be connected to itself.
const FIRST: u32 = 12_000;
const COUNT: u32 = 18_000;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// That many ports of the loopback interface, one after the other, on which nobody listens, and which the operating system
/// gives to nobody by itself: for other servers of a test.
///
/// # Errors
/// [`TestingError::NoPorts`].
pub fn free_ports(count: u16) -> Result<Vec<u16>, TestingError> {
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let taken = TAKEN.fetch_add(u32::from(count), Ordering::Relaxed);
        let first = FIRST + start.wrapping_add(taken) % COUNT;
        let ports: Vec<u16> = (first..first + u32::from(count)).filter_map(|port| port.try_into().ok()).collect();
        if ports.iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()) {
            return Ok(ports);
        }
    }
    Err(TestingError::NoPorts(count))
}
