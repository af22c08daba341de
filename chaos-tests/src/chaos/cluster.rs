//! Nodes behind proxies, or each in a network namespace of its own.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quorate::{Client, NodeState, TopicConfig, TopicInfo, TopicName};

use super::options::TOPICS;
use crate::{
    harness::{Node, NodeKind, WayIn, eventually, free_ports, replicas_agree},
    history::PartitionKey,
    netns::{self, Router},
    proxy::{Dialers, Link, Links, Proxy, Rule},
};

/// Far longer than it takes on a busy machine.
const FORM_MAX: Duration = Duration::from_secs(60);
/// Of each partition.
const REPLICAS: usize = 3;
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Node `n` is `nodes[n - 1]`; its peers and clients reach it through proxies, or a router, only.
#[derive(Debug)]
pub struct ChaosCluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The network between them.
    pub links: Arc<Links>,
    router: Option<Router>,
    /// By node.
    proxies: BTreeMap<u64, Vec<Proxy>>,
    /// Of node `n`, at `n - 1`.
    places: Vec<Place>,
    directory: PathBuf,
    shape: Shape,
}

/// What all nodes of a cluster are like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What runs them.
    pub kind: NodeKind,
    /// What is between them.
    pub network: Network,
    /// The size of segments, in bytes.
    pub segment_bytes: u64,
    /// Settings: names of environment variables and values.
    pub settings: Vec<(String, String)>,
}

/// Where a node is reached.
#[derive(Clone, Copy, Debug)]
struct Place {
    client: u16,
    peer: u16,
    way: Way,
}

/// What lies between a node and all others.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Proxies at these ports: for its peers, and for clients.
    Proxies(u16, u16),
    /// A router.
    Namespace(netns::Place),
}

impl Place {
    /// Where its peers reach it.
    fn peer_address(&self) -> String {
        match self.way {
            Way::Proxies(port, _) => format!("127.0.0.1:{port}"),
            Way::Namespace(place) => format!("{}:{}", place.address(), self.peer),
        }
    }
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

/// The network between nodes and their clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A proxy in front of every node, for its peers; clients reach it directly.
    PeerProxies,
    /// A proxy for its peers, and one for clients.
    Proxies,
    /// A network namespace for each node, and a router between them; see [`netns`](crate::netns).
    Namespaces,
}

/// The ports of nodes that have an address each.
const CLIENT_PORT: u16 = 7001;
const PEER_PORT: u16 = 7002;
/// Nodes of a cluster at most, those that have left it included.
const NODES_MAX: u64 = 64;

impl ChaosCluster {
    /// Starts nodes and waits until each of them knows all of them and a leader of the metadata. Node `n` keeps all its
    /// files in `node-n` below `directory`.
    ///
    /// # Errors
    /// If they do not form a cluster in time.
    pub async fn start(size: u16, shape: Shape, directory: &Path) -> Result<Self, String> {
        let mut cluster = Self {
            nodes: Vec::new(),
            links: Arc::new(Links::new(NODES_MAX)),
            router: (shape.network == Network::Namespaces).then(Router::start).transpose()?,
            proxies: BTreeMap::new(),
            places: Vec::new(),
            directory: directory.to_owned(),
            shape,
        };
        let places = cluster.places(size)?;
        // Ids follow the order of the seeds.
        let seeds = places.iter().map(Place::peer_address).collect::<Vec<_>>().join(",");
        for place in places {
            cluster.put(place, WayIn::Seeds(seeds.clone())).await?;
        }
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_until_up().await?;
        Ok(cluster)
    }

    /// A node behind its proxies, or in its namespace, which does not run yet.
    async fn put(&mut self, place: Place, way_in: WayIn) -> Result<(), String> {
        let number = self.nodes.len() as u64 + 1;
        if number > NODES_MAX {
            return Err(format!("there were {NODES_MAX} nodes already"));
        }
        let directory = self.directory.join(format!("node-{number}"));
        let mut node = Node::new(self.shape.kind, &directory, (place.client, place.peer), way_in);
        node.peer_advertise = Some(place.peer_address());
        node.settings.clone_from(&self.shape.settings);
        match (place.way, &mut self.router) {
            (Way::Namespace(at), Some(router)) => {
                (node.host, node.namespace) = (at.address(), Some(at.namespace()));
                router.put(number, at);
                router.follow(&self.links)?;
            }
            (Way::Namespace(_), None) => return Err("there is no router".to_owned()),
            (Way::Proxies(for_peers, for_clients), _) => {
                self.listen(for_peers, Dialers::Nodes, number, place.peer).await?;
                if self.shape.network == Network::Proxies {
                    node.advertise = Some(format!("127.0.0.1:{for_clients}"));
                    self.listen(for_clients, Dialers::Clients, number, place.client).await?;
                }
            }
        }
        self.nodes.push(node);
        self.places.push(place);
        Ok(())
    }

    fn places(&mut self, count: u16) -> Result<Vec<Place>, String> {
        if let Some(router) = &mut self.router {
            let place = |way| Place { client: CLIENT_PORT, peer: PEER_PORT, way: Way::Namespace(way) };
            return (0..count).map(|_| router.add().map(place)).collect();
        }
        let place = |ports: &[u16]| Place { client: ports[0], peer: ports[1], way: Way::Proxies(ports[2], ports[3]) };
        Ok(free_ports(4 * count).chunks_exact(4).map(place).collect())
    }

    /// Lets rules hold on links until [`heal`](Self::heal) with the same number.
    ///
    /// # Errors
    /// If this network cannot do that.
    pub(super) fn break_links(&mut self, fault: u64, rules: Vec<(Link, Rule)>) -> Result<(), String> {
        if self.router.is_some()
            && let Some((_, rule)) =
                rules.iter().find(|(_, rule)| !matches!(rule, Rule::Pass | Rule::Drop | Rule::Hold))
        {
            return Err(format!("a router does not do {rule:?}"));
        }
        self.links.install(fault, rules);
        self.follow().inspect_err(|_| {
            self.links.heal(fault);
            // What could not be done is told already.
            let _ = self.follow();
        })
    }

    /// Ends the rules of a fault.
    ///
    /// # Errors
    /// If the system does not let it.
    pub(super) fn heal(&mut self, fault: u64) -> Result<(), String> {
        self.links.heal(fault);
        self.follow()
    }

    /// Resets the connections of links.
    ///
    /// # Errors
    /// If this network cannot do that.
    pub(super) fn reset(&self, links: &[Link]) -> Result<(), String> {
        if self.router.is_some() {
            return Err("a router resets no connections".to_owned());
        }
        self.links.reset(links);
        Ok(())
    }

    fn follow(&mut self) -> Result<(), String> {
        self.router.as_mut().map_or(Ok(()), |router| router.follow(&self.links))
    }

    async fn listen(&mut self, port: u16, dialers: Dialers, number: u64, target: u16) -> Result<(), String> {
        let target = (Ipv4Addr::LOCALHOST, target).into();
        let proxy = Proxy::start(port, dialers, number, target, Arc::clone(&self.links)).await;
        let proxy = proxy.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
        self.proxies.entry(number).or_default().push(proxy);
        Ok(())
    }

    /// Starts one more node, which joins the cluster of the others; returns its number, which is its id if no join has failed
    /// before.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start_another(&mut self, members: &[u64]) -> Result<u64, String> {
        let place = self.places(1)?.pop().ok_or("no free ports")?;
        self.put(place, self.join_by(members)).await?;
        if let Some(node) = self.nodes.last_mut() {
            node.start();
        }
        Ok(self.nodes.len() as u64)
    }

    fn join_by(&self, members: &[u64]) -> WayIn {
        let addresses =
            members.iter().filter_map(|number| self.nodes.get(*number as usize - 1)?.peer_advertise.clone());
        WayIn::Join(addresses.collect::<Vec<_>>().join(","))
    }

    /// Starts a node with an empty data directory as one that is gone was started, at its addresses; returns its number, which is
    /// its id as in [`start_another`](Self::start_another).
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start_in_place_of(&mut self, gone: u64, members: &[u64]) -> Result<u64, String> {
        for proxy in self.proxies.remove(&gone).unwrap_or_default() {
            proxy.stop().await;
        }
        let at = gone as usize - 1;
        let place = self.places[at];
        let way_in = match &self.nodes[at].way_in {
            // Those it once joined by may have left.
            WayIn::Join(_) => self.join_by(members),
            other => other.clone(),
        };
        self.put(place, way_in).await?;
        if let Some(node) = self.nodes.last_mut() {
            node.start();
        }
        Ok(self.nodes.len() as u64)
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
        let config = TopicConfig {
            partitions,
            replication_factor: REPLICAS as u32,
            segment_bytes: self.shape.segment_bytes,
            ..TopicConfig::default()
        };
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
        let agree = async || {
            let info = replicas_agree(client, topic).await?;
            match info.partitions.iter().find(|partition| partition.replicas.len() != REPLICAS) {
                Some(partition) => Err(format!("{topic} partition {} has {:?}", partition.index, partition.replicas)),
                None => Ok(info),
            }
        };
        eventually("all replicas agree", within, agree).await
    }
}
