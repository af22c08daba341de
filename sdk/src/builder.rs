//! Settings of a client.

use std::time::Duration;

use quorate_cluster_config::Address;

use crate::{client::Client, error::Error, time::bounded};

/// The bound on a call unless the caller says otherwise.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    servers: Vec<Address>,
    timeout: Duration,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: TIMEOUT_DEFAULT }
    }
}

impl ClientBuilder {
    /// The client addresses of any nodes of the cluster; the others are learned from them.
    #[must_use]
    pub fn servers(mut self, servers: Vec<Address>) -> Self {
        self.servers = servers;
        self
    }

    /// The bound on every call, its retries included. Default 10 s. Producers have a delivery timeout of their own.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects to the first node that answers and learns the others from it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] without servers, [`Error::Unreachable`] if no node answers in time.
    pub async fn connect(self) -> Result<Client, Error> {
        if self.servers.is_empty() {
            return Err(Error::InvalidArgument("no servers are given; name at least one node as HOST:PORT".into()));
        }
        let client = Client::new(self.servers, bounded(self.timeout));
        client.cluster_info().await?;
        Ok(client)
    }
}
