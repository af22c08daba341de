//! The network, as a thing that can be broken: a proxy in front of each node's peer port, and one in front of its port for
//! clients.
//!
//! A node advertises its proxy's address, so that all its peers dial through it. From the handshake that opens each
//! connection the proxy learns who dials; bytes from node A to node B are then treated by the [`Rule`] of the *directed*
//! link (A, B), whether A or B opened the connection. While a cluster forms, the dialer has no id yet: such connections
//! pass.
//!
//! As on a network that drops packets, a connection that lost bytes never goes on: it is reset once the link passes
//! bytes again. Unlike there, the other direction of it flows meanwhile.
//!
//! To the network all clients are one.

mod connection;
mod links;
mod pump;
mod rule;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

pub use links::{CLIENTS, Link, Links};
pub use rule::Rule;

/// Connections through one proxy; nodes have a handful for each other.
const CONNECTIONS_MAX: usize = 1_024;

/// Who connects to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialers {
    /// Other nodes, which say who they are.
    Nodes,
    /// Clients.
    Clients,
}

/// Listens in front of one node until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of loopback for connections to node `to`, whose own port for these dialers is `target`.
    ///
    /// # Errors
    /// If the port cannot be bound.
    pub async fn start(
        listen: u16,
        dialers: Dialers,
        to: u64,
        target: SocketAddr,
        links: Arc<Links>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, listen)).await?;
        Ok(Self { task: tokio::spawn(accept(listener, dialers, to, target, links)) })
    }

    /// Ends it with all its connections, and returns once its port is free.
    pub async fn stop(mut self) {
        self.task.abort();
        // How it ended is known.
        drop((&mut self.task).await);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, dialers: Dialers, to: u64, target: SocketAddr, links: Arc<Links>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((dialer, _)) => {
                let links = Arc::clone(&links);
                connections.spawn(async move {
                    let _permit = permit;
                    if let Err(error) = connection::serve(dialer, dialers, to, target, &links).await {
                        tracing::debug!(to, %error, "a peer connection ended");
                    }
                });
            }
            // Too many open files, or a connection that is gone already: the next one may work.
            Err(error) => tracing::warn!(to, %error, "cannot accept a peer connection"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
