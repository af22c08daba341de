//! A cluster of processes on loopback.

use std::{path::Path, time::Duration};

use quorate::{Client, NodeState, ReplicaRole, TopicConfig, TopicInfo, TopicName};
use tempfile::TempDir;

use super::{Cli, Node, NodeKind, WayIn, free_ports, until};

const FORM_MAX: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Nodes that form one cluster. Node `n` of the cluster is `nodes[n - 1]`.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    directory: TempDir,
}

/// A client of the nodes at these addresses, separated by commas.
///
/// # Panics
/// If none of them answers within the timeout.
pub async fn connect(servers: &str, timeout: Duration) -> Client {
    try_connect(servers, timeout).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn try_connect(servers: &str, timeout: Duration) -> Result<Client, String> {
    let servers = quorate::Address::parse_list(servers).map_err(|error| error.to_string())?;
    Client::builder().servers(servers).timeout(timeout).connect().await.map_err(|error| error.to_string())
}

impl Cluster {
    /// Starts nodes and waits until each of them knows all of them and a leader of the metadata.
    ///
    /// # Panics
    /// If they do not form a cluster in time.
    pub async fn start(kind: NodeKind, size: u16) -> Self {
        Self::start_with(kind, size, &[]).await
    }

    /// [`Cluster::start`] with settings of all nodes: names of environment variables and values.
    ///
    /// # Panics
    /// If they do not form a cluster in time.
    pub async fn start_with(kind: NodeKind, size: u16, settings: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let ports = free_ports(2 * size);
        let (client_ports, peer_ports) = ports.split_at(usize::from(size));
        let seeds: Vec<String> = peer_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let node = |(number, ports): (u16, (&u16, &u16))| {
            let place = directory.path().join(number.to_string());
            let mut node = Node::new(kind, &place, (*ports.0, *ports.1), WayIn::Seeds(seeds.join(",")));
            node.settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            node
        };
        let nodes = (1..).zip(client_ports.iter().zip(peer_ports)).map(node).collect();
        let mut cluster = Self { nodes, directory };
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_until_up().await;
        cluster
    }

    /// Waits until every node knows all nodes as up and a leader of the metadata.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn wait_until_up(&self) {
        for (number, node) in (1..).zip(&self.nodes) {
            let probe = async || {
                let client = try_connect(&node.client_address(), PROBE_TIMEOUT).await?;
                let info = client.cluster_info().await.map_err(|error| error.to_string())?;
                let up = info.nodes.iter().filter(|node| node.state == NodeState::Up).count();
                // Ids follow the order of the peer addresses, as do the nodes here. A client may ask another node.
                let complete = info.answered_by.0 == number && up == self.nodes.len() && info.metadata_leader.is_some();
                if complete { Ok(()) } else { Err(format!("asked node {number}: {info:?}")) }
            };
            until("the cluster is up", FORM_MAX, probe).await;
        }
    }

    /// Starts another node, which has no data; returns its index. If it becomes part of the cluster, and no other node has
    /// before it, its id is that plus one.
    pub fn start_another(&mut self, way_in: WayIn) -> usize {
        let ports = free_ports(2);
        let like = &self.nodes[0];
        let place = self.directory.path().join((self.nodes.len() + 1).to_string());
        let mut node = Node::new(like.kind, &place, (ports[0], ports[1]), way_in);
        node.settings.clone_from(&like.settings);
        node.start();
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Where files of the test may be put.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The client addresses of all nodes.
    #[must_use]
    pub fn servers(&self) -> String {
        self.nodes.iter().map(Node::client_address).collect::<Vec<_>>().join(",")
    }

    /// A client of all nodes.
    pub async fn client(&self) -> Client {
        connect(&self.servers(), Duration::from_secs(15)).await
    }

    /// The command line, pointed at all nodes.
    #[must_use]
    pub fn cli(&self) -> Cli {
        Cli::new(&self.servers())
    }

    /// Creates a topic of three replicas a partition.
    ///
    /// # Panics
    /// If that fails or a partition is without leader.
    pub async fn create_topic(&self, client: &Client, name: &str, partitions: u32) -> TopicName {
        let name: TopicName = name.parse().unwrap_or_else(|error| panic!("{error}"));
        let config = TopicConfig { partitions, replication_factor: 3, ..TopicConfig::default() };
        let topic = client.create_topic(&name, config).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(topic.partitions.iter().all(|partition| partition.leader.is_some()), "{topic:?}");
        name
    }

    /// Waits until every replica of the topic runs and holds all that is committed.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn wait_until_replicas_agree(&self, client: &Client, topic: &TopicName) -> (TopicInfo, Duration) {
        until("all replicas agree", FORM_MAX, async || replicas_agree(client, topic).await).await
    }
}

/// Whether every replica of the topic runs and holds all that is committed; says which does not.
///
/// # Errors
/// The first replica that does not, or why nobody can tell.
pub async fn replicas_agree(client: &Client, topic: &TopicName) -> Result<TopicInfo, String> {
    let info = client.topic(topic).await.map_err(|error| error.to_string())?;
    for partition in &info.partitions {
        let end = partition.replicas.iter().map(|replica| replica.log_end_offset).max();
        let behind = partition.replicas.iter().find(|replica| {
            !matches!(replica.role, ReplicaRole::Leader | ReplicaRole::Follower) || Some(replica.log_end_offset) != end
        });
        if let Some(replica) = behind {
            return Err(format!("{topic} partition {} ends at {end:?}, but {replica:?}", partition.index));
        }
    }
    Ok(info)
}
