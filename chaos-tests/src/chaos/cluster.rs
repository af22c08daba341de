//! Nodes behind proxies.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use quorate::{Client, NodeState, TopicConfig, TopicInfo, TopicName};

use super::options::TOPICS;
use crate::{
    harness::{Node, NodeKind, WayIn, eventually, free_ports, replicas_agree},
    history::PartitionKey,
    proxy::{Links, Proxy},
};

/// Far longer than it takes on a busy machine.
const FORM_MAX: Duration = Duration::from_secs(60);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Node `n` is `nodes[n - 1]`; its peers reach it through a proxy only.
#[derive(Debug)]
pub struct ChaosCluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The network between them.
    pub links: Arc<Links>,
    _proxies: Vec<Proxy>,
}

/// A client of the nodes at these addresses.
pub(super) async fn connect(servers: &str, timeout: Duration) -> Result<Client, String> {
    let servers = quorate::Address::parse_list(servers).map_err(|error| error.to_string())?;
    Client::builder().servers(servers).timeout(timeout).connect().await.map_err(|error| error.to_string())
}

/// The name of a topic of the run.
pub(super) fn topic_name(topic: u32) -> Result<TopicName, String> {
    let name = TOPICS.get(topic as usize).map_or("", |(name, _)| name);
    name.parse().map_err(|error| format!("{name}: {error}"))
}

/// All partitions of the run.
pub(super) fn partitions() -> impl Iterator<Item = PartitionKey> {
    (0..).zip(TOPICS).flat_map(|(topic, (_, count))| (0..count).map(move |index| PartitionKey { topic, index }))
}

impl ChaosCluster {
    /// Starts nodes and waits until each of them knows all of them and a leader of the metadata. Node `n` keeps all its
    /// files in `node-n` below `directory`.
    ///
    /// # Errors
    /// If they do not form a cluster in time.
    pub async fn start(kind: NodeKind, size: u16, directory: &Path) -> Result<Self, String> {
        let ports = free_ports(3 * size);
        let (client_ports, ports) = ports.split_at(usize::from(size));
        let (peer_ports, proxy_ports) = ports.split_at(usize::from(size));
        // Ids follow the order of the seeds.
        let seeds: Vec<String> = proxy_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let links = Arc::new(Links::new(u64::from(size)));
        let (mut nodes, mut proxies) = (Vec::new(), Vec::new());
        for (at, seed) in seeds.iter().enumerate() {
            let (number, target) = (at as u64 + 1, (Ipv4Addr::LOCALHOST, peer_ports[at]).into());
            let proxy = Proxy::start(proxy_ports[at], number, target, Arc::clone(&links)).await;
            proxies.push(proxy.map_err(|error| format!("cannot listen on {seed}: {error}"))?);
            let place = directory.join(format!("node-{number}"));
            let mut node = Node::new(kind, &place, (client_ports[at], peer_ports[at]), WayIn::Seeds(seeds.join(",")));
            node.peer_advertise = Some(seed.clone());
            nodes.push(node);
        }
        nodes.iter_mut().for_each(Node::start);
        let cluster = Self { nodes, links, _proxies: proxies };
        cluster.wait_until_up().await?;
        Ok(cluster)
    }

    async fn wait_until_up(&self) -> Result<(), String> {
        for (number, node) in (1..).zip(&self.nodes) {
            let probe = async || {
                let client = connect(&node.client_address(), PROBE_TIMEOUT).await?;
                let info = client.cluster_info().await.map_err(|error| error.to_string())?;
                let up = info.nodes.iter().filter(|node| node.state == NodeState::Up).count();
                let complete = info.answered_by.0 == number && up == self.nodes.len() && info.metadata_leader.is_some();
                if complete { Ok(()) } else { Err(format!("asked node {number}: {info:?}")) }
            };
            eventually("the cluster is up", FORM_MAX, probe).await?;
        }
        Ok(())
    }

    /// The client addresses of all nodes.
    #[must_use]
    pub fn servers(&self) -> String {
        self.nodes.iter().map(Node::client_address).collect::<Vec<_>>().join(",")
    }

    /// Creates a topic of three replicas a partition, all of them with a leader.
    ///
    /// # Errors
    /// If that fails.
    pub async fn create_topic(&self, client: &Client, name: &TopicName, partitions: u32) -> Result<(), String> {
        let config = TopicConfig { partitions, replication_factor: 3, ..TopicConfig::default() };
        let topic = client.create_topic(name, config).await.map_err(|error| error.to_string())?;
        let led = topic.partitions.iter().all(|partition| partition.leader.is_some());
        if led { Ok(()) } else { Err(format!("a partition of {name} has no leader: {topic:?}")) }
    }

    /// Waits until every replica of the topic runs and holds all that is committed.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) async fn wait_until_replicas_agree(
        &self,
        client: &Client,
        topic: &TopicName,
        within: Duration,
    ) -> Result<(TopicInfo, Duration), String> {
        eventually("all replicas agree", within, async || replicas_agree(client, topic).await).await
    }
}
