//! Which ports the nodes of a local cluster get, and whether they are free.

use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZeroU16;

use crate::error::Failure;

/// The most nodes of a local cluster: client and peer ports must not meet.
pub(crate) const NODES_MAX: u16 = 64;

/// Peer ports follow this far behind the client ports, HTTP ports as far behind these.
const PEER_PORT_DISTANCE: u16 = 100;

/// The ports of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodePorts {
    pub(crate) client: NonZeroU16,
    pub(crate) peer: NonZeroU16,
    pub(crate) http: NonZeroU16,
}

/// The ports of nodes 1 to `nodes`: clients from `base_port`, peers a hundred above, HTTP two hundred.
pub(crate) fn assign(base_port: NonZeroU16, nodes: u16) -> Result<Vec<NodePorts>, Failure> {
    (0..nodes)
        .map(|index| {
            let client = base_port.checked_add(index)?;
            let peer = client.checked_add(PEER_PORT_DISTANCE)?;
            Some(NodePorts { client, peer, http: peer.checked_add(PEER_PORT_DISTANCE)? })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| {
            Failure::Usage(format!(
                "--base-port {base_port} leaves no room for the ports of {nodes} nodes, use one up to {}",
                u16::MAX - 2 * PEER_PORT_DISTANCE - (nodes - 1)
            ))
        })
}

/// Fails with the first port that somebody else listens on.
pub(crate) fn ensure_free(ports: &[NodePorts]) -> Result<(), Failure> {
    for port in ports.iter().flat_map(|ports| [ports.client, ports.peer, ports.http]) {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port.get())) {
            return Err(Failure::message(match error.kind() {
                std::io::ErrorKind::AddrInUse => format!(
                    "port {port} is in use by another process, stop that process or choose other ports with --base-port and another --dir"
                ),
                _ => format!("cannot listen on 127.0.0.1:{port}, {error}, choose other ports with --base-port"),
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn clients_count_from_the_base_and_peers_a_hundred_above() {
        let ports = assign(NonZeroU16::new(7101).unwrap(), 3).unwrap();
        let ports: Vec<_> = ports.iter().map(|p| (p.client.get(), p.peer.get(), p.http.get())).collect();
        assert_eq!(ports, [(7101, 7201, 7301), (7102, 7202, 7302), (7103, 7203, 7303)]);
    }

    #[test]
    fn no_two_ports_of_the_largest_cluster_meet_and_the_last_one_exists() {
        let base = NonZeroU16::new(u16::MAX - 2 * PEER_PORT_DISTANCE - (NODES_MAX - 1)).unwrap();
        let ports = assign(base, NODES_MAX).unwrap();
        let distinct: std::collections::BTreeSet<_> = ports.iter().flat_map(|p| [p.client, p.peer, p.http]).collect();
        assert_eq!(distinct.len(), 3 * usize::from(NODES_MAX));
        assert!(assign(base.checked_add(1).unwrap(), NODES_MAX).is_err());
    }

    #[test]
    fn an_occupied_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = NonZeroU16::new(taken.local_addr().unwrap().port()).unwrap();
        let message = ensure_free(&[NodePorts { client: port, peer: port, http: port }]).unwrap_err().to_string();
        assert!(message.starts_with(&format!("port {port} is in use")), "{message}");
        drop(taken);
        assert!(ensure_free(&[NodePorts { client: port, peer: port, http: port }]).is_ok());
    }
}
