//! The cluster as a test holds it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quorate::{Client, NodeState};

use crate::{TestingError, net::Links, node::TestNode, ports::free_ports};

/// How long the cluster may take to form, and a node to come back.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const NODES_MAX: u16 = 64;
/// How long a call of the clients it makes may take.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Settings of a [`Cluster`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a builder does nothing before it is started"]
pub struct ClusterBuilder {
    nodes: u16,
    timeout: Duration,
}

impl ClusterBuilder {
    /// How long each call of a [client](Cluster::client) may take. Default 10 s.
    pub fn client_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the nodes; returns once the cluster takes calls.
    ///
    /// # Errors
    /// See [`TestingError`].
    pub async fn start(self) -> Result<Cluster, TestingError> {
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return Err(TestingError::Size(self.nodes));
        }
        let ports = free_ports(2 * self.nodes)?;
        let (client_ports, peer_ports) = ports.split_at(usize::from(self.nodes));
        let links = Arc::new(Links::default());
        let nodes =
            (1..).zip(client_ports).map(|(number, port)| TestNode::new(number, *port, peer_ports, links.clone()));
        let mut cluster = Cluster { nodes: nodes.collect::<Result<_, _>>()?, links, timeout: self.timeout };
        // A cluster forms once all of its seeds are there.
        let mut starting = tokio::task::JoinSet::new();
        for mut node in std::mem::take(&mut cluster.nodes) {
            starting.spawn(async move { node.start().await.map(|()| node) });
        }
        let all = async {
            while let Some(started) = starting.join_next().await {
                cluster.nodes.push(started.map_err(std::io::Error::other)??);
            }
            Ok::<_, TestingError>(())
        };
        let late = |_| timed_out("the nodes have formed a cluster", READY_WITHIN, "not all have started");
        tokio::time::timeout(READY_WITHIN, all).await.map_err(late)??;
        cluster.nodes.sort_by_key(TestNode::number);
        cluster.wait_until_up().await?;
        Ok(cluster)
    }
}

/// A cluster of real nodes inside of this process.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<TestNode>,
    links: Arc<Links>,
    timeout: Duration,
}

impl Cluster {
    /// Starts a cluster of so many nodes, 1 to 64, numbered from 1; returns once it takes calls.
    ///
    /// # Errors
    /// See [`TestingError`].
    pub async fn start(nodes: u16) -> Result<Self, TestingError> {
        Self::builder(nodes).start().await
    }

    /// Settings other than the defaults.
    pub fn builder(nodes: u16) -> ClusterBuilder {
        ClusterBuilder { nodes, timeout: TIMEOUT_DEFAULT }
    }

    /// The client addresses of all nodes, as [`Client::connect`] takes them.
    #[must_use]
    pub fn servers(&self) -> String {
        self.nodes.iter().map(|node| node.client_address().to_string()).collect::<Vec<_>>().join(",")
    }

    /// A client of its own of the cluster.
    ///
    /// # Errors
    /// [`TestingError::Client`] if no node answers in time.
    pub async fn client(&self) -> Result<Client, TestingError> {
        let servers = self.nodes.iter().map(|node| node.client_address().clone()).collect();
        Ok(Client::builder().servers(servers).timeout(self.timeout).connect().await?)
    }

    /// Kills a node, as a power cut does: what it had not synced is lost. Returns at once.
    ///
    /// # Errors
    /// [`TestingError::NoSuchNode`]; [`TestingError::State`] if it does not run.
    pub fn kill(&mut self, node: u16) -> Result<(), TestingError> {
        self.node(node)?.kill()
    }

    /// Stops a node: it hands over what it leads first.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn stop(&mut self, node: u16) -> Result<(), TestingError> {
        self.node(node)?.stop().await
    }

    /// Starts a node again that was killed or stopped; returns once the others see it, if a majority of the nodes run and none
    /// are cut off.
    ///
    /// # Errors
    /// [`TestingError::NoSuchNode`]; [`TestingError::State`] if it runs; [`TestingError::Start`] or
    /// [`TestingError::TimedOut`].
    pub async fn restart(&mut self, node: u16) -> Result<(), TestingError> {
        let restarted = self.node(node)?;
        if restarted.is_running() {
            return Err(TestingError::State { node, why: "is running" });
        }
        restarted.start().await?;
        let running = self.nodes.iter().filter(|node| node.is_running()).count();
        // Without a majority nobody can say who is up, and who is cut off is not.
        if running > self.nodes.len() / 2 && !self.links.is_cut() { self.wait_until_up().await } else { Ok(()) }
    }

    /// Cuts two nodes off from each other: what they send waits, and new connections do not come about. Clients reach both.
    ///
    /// # Errors
    /// [`TestingError::NoSuchNode`].
    pub fn partition(&mut self, one: u16, other: u16) -> Result<(), TestingError> {
        self.node(one)?;
        self.node(other)?;
        if one == other {
            return Err(TestingError::State { node: one, why: "cannot be cut off from itself" });
        }
        self.links.cut(one, other);
        Ok(())
    }

    /// Cuts a node off from all others.
    ///
    /// # Errors
    /// [`TestingError::NoSuchNode`].
    pub fn isolate(&mut self, node: u16) -> Result<(), TestingError> {
        self.node(node)?;
        let others: Vec<u16> = self.nodes.iter().map(TestNode::number).filter(|other| *other != node).collect();
        others.into_iter().try_for_each(|other| self.partition(node, other))
    }

    /// Has all nodes reach each other again.
    pub fn heal(&mut self) {
        self.links.mend();
    }

    /// Waits until all nodes that run see each other.
    ///
    /// # Errors
    /// [`TestingError::TimedOut`].
    pub async fn wait_until_up(&self) -> Result<(), TestingError> {
        let running = self.nodes.iter().filter(|node| node.is_running());
        let servers: Vec<_> = running.map(|node| node.client_address().clone()).collect();
        let count = servers.len();
        let began = Instant::now();
        let mut last = "nothing".to_owned();
        while began.elapsed() < READY_WITHIN {
            match look(servers.clone()).await {
                Ok(up) if up >= count => return Ok(()),
                Ok(up) => last = format!("{up} of {count} nodes are up"),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(timed_out("all nodes that run are up", READY_WITHIN, &last))
    }

    fn node(&mut self, node: u16) -> Result<&mut TestNode, TestingError> {
        let size = self.nodes.len();
        let missing = TestingError::NoSuchNode { node, size };
        let index = usize::from(node).checked_sub(1);
        index.and_then(|index| self.nodes.get_mut(index)).ok_or(missing)
    }
}

/// How many nodes are up, as the one sees it that sees the fewest.
async fn look(servers: Vec<quorate::Address>) -> Result<usize, quorate::Error> {
    let mut fewest = usize::MAX;
    for server in servers {
        let client = Client::builder().servers(vec![server]).timeout(Duration::from_secs(2)).connect().await?;
        let info = client.cluster_info().await?;
        let up = info.nodes.iter().filter(|node| node.state == NodeState::Up).count();
        fewest = fewest.min(if info.metadata_leader.is_some() { up } else { 0 });
    }
    Ok(fewest)
}

fn timed_out(what: &str, waited: Duration, last: &str) -> TestingError {
    TestingError::TimedOut { what: what.to_owned(), waited, last: last.to_owned() }
}
