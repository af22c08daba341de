//! What the client knows of the cluster: where nodes are reached and who leads which partition.
//!
//! Answers of several nodes arrive in any order and some are old. Leaders are ordered by their leader epoch and node
//! lists by the metadata index they reflect, so that merging is independent of the order.

use std::collections::{BTreeMap, HashMap};

use quorate_cluster_config::{Address, NodeId, PartitionId, PartitionIndex, TopicId, TopicName};
use quorate_protocol::{ClusterInfo, NodeInfo, ReplicaRole, TopicInfo, TopicsResponse};
use tokio::sync::watch;

use crate::place::Place;

/// The merged view. Leaders never go back to an older epoch.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    metadata_index: u64,
    nodes: BTreeMap<NodeId, Address>,
    nodes_as_of: u64,
    leaders: HashMap<(TopicId, PartitionIndex), LeaderHint>,
    replicas: HashMap<(TopicId, PartitionIndex), Replicas>,
    /// What the topics are called, for messages.
    names: HashMap<TopicId, TopicName>,
    /// Changes with each leader that is newer than those known.
    changed: watch::Sender<()>,
}

/// A node that holds a replica of a partition, and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) node: NodeId,
    pub(crate) address: Address,
    /// Whether it leads, as far as known.
    pub(crate) leads: bool,
}

/// The nodes that hold a replica that works, as far as known.
#[derive(Debug, Default)]
struct Replicas {
    as_of: u64,
    nodes: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LeaderHint {
    leader: Option<NodeId>,
    epoch: u64,
    /// Named by a node that refused to be the leader. It carries no epoch, so it is tried but never replaces what
    /// `epoch` orders.
    suggested: Option<NodeId>,
}

impl Topology {
    /// The newest metadata index seen in any answer.
    pub(crate) fn metadata_index(&self) -> u64 {
        self.metadata_index
    }

    /// Remembers that the cluster has reached this metadata index.
    pub(crate) fn note_metadata_index(&mut self, index: u64) {
        self.metadata_index = self.metadata_index.max(index);
    }

    /// Learns from an answer about topics.
    pub(crate) fn merge_topics(&mut self, response: &TopicsResponse) {
        self.merge_nodes(&response.nodes, response.metadata_index);
        for topic in &response.topics {
            self.merge_topic_as_of(topic, response.metadata_index);
        }
    }

    /// Learns from an answer about the cluster.
    pub(crate) fn merge_cluster(&mut self, cluster: &ClusterInfo) {
        self.merge_nodes(&cluster.nodes, cluster.metadata_index);
    }

    fn merge_nodes(&mut self, nodes: &[NodeInfo], as_of: u64) {
        self.note_metadata_index(as_of);
        if !nodes.is_empty() && as_of >= self.nodes_as_of {
            self.nodes_as_of = as_of;
            self.nodes = nodes.iter().map(|node| (node.id, node.client_address.clone())).collect();
        }
    }

    /// Learns from an answer about a topic just created.
    pub(crate) fn merge_topic(&mut self, topic: &TopicInfo) {
        self.merge_topic_as_of(topic, topic.created_at);
    }

    /// Learns the leaders and replicas of a topic, where they are newer than those known.
    fn merge_topic_as_of(&mut self, topic: &TopicInfo, as_of: u64) {
        self.note_metadata_index(topic.created_at);
        self.names.entry(topic.id).or_insert_with(|| topic.name.clone());
        for partition in &topic.partitions {
            let replicas = self.replicas.entry((topic.id, partition.index)).or_default();
            if as_of >= replicas.as_of {
                let working = partition.replicas.iter().filter(|replica| replica.role != ReplicaRole::Failed);
                *replicas = Replicas { as_of, nodes: working.map(|replica| replica.node).collect() };
            }
            let hint = self.leaders.entry((topic.id, partition.index)).or_default();
            let newer = partition.leader_epoch > hint.epoch;
            let completes = partition.leader_epoch == hint.epoch && hint.leader.is_none();
            if partition.leader.is_some() && (newer || completes) {
                *hint = LeaderHint { leader: partition.leader, epoch: partition.leader_epoch, suggested: None };
                self.changed.send_replace(());
            }
        }
    }

    /// Learns that `refused_by` does not lead the partition, and whom it named instead.
    pub(crate) fn suggest(
        &mut self,
        topic: TopicId,
        partition: PartitionIndex,
        refused_by: NodeId,
        leader: Option<NodeId>,
    ) {
        let hint = self.leaders.entry((topic, partition)).or_default();
        hint.suggested = leader.filter(|leader| *leader != refused_by);
    }

    /// Forgets everything about a topic that is gone.
    pub(crate) fn forget_topic(&mut self, topic: TopicId) {
        self.leaders.retain(|(id, _), _| *id != topic);
        self.replicas.retain(|(id, _), _| *id != topic);
        self.names.remove(&topic);
    }

    /// A partition as people call it.
    pub(crate) fn place(&self, partition: PartitionId) -> Box<Place> {
        Place::of_partition(self.names.get(&partition.topic), partition.index)
    }

    /// Which node is reached at an address.
    pub(crate) fn node_at(&self, address: &Address) -> Option<NodeId> {
        self.nodes.iter().find(|(_, known)| *known == address).map(|(node, _)| *node)
    }

    /// The node to ask about a partition.
    pub(crate) fn leader(&self, topic: TopicId, partition: PartitionIndex) -> Option<(NodeId, Address)> {
        let hint = self.leaders.get(&(topic, partition))?;
        let located = |node: NodeId| self.nodes.get(&node).map(|address| (node, address.clone()));
        hint.suggested.and_then(located).or_else(|| hint.leader.and_then(located))
    }

    /// The epoch of the newest leader known; 0 if none is.
    pub(crate) fn leader_epoch(&self, topic: TopicId, partition: PartitionIndex) -> u64 {
        self.leaders.get(&(topic, partition)).map_or(0, |hint| hint.epoch)
    }

    /// Tells when newer leaders are known.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The nodes that can be asked for what is committed in a partition. The leader is among them, if it is known.
    pub(crate) fn replicas(&self, topic: TopicId, partition: PartitionIndex) -> Vec<Located> {
        let leader = self.leader(topic, partition);
        let leads = |node: NodeId| leader.as_ref().is_some_and(|(leader, _)| *leader == node);
        let nodes = self.replicas.get(&(topic, partition)).map_or(&[][..], |replicas| &replicas.nodes);
        let locate = |node: NodeId| Some(Located { node, address: self.address(node)?, leads: leads(node) });
        let mut located: Vec<_> = nodes.iter().filter_map(|node| locate(*node)).collect();
        if let Some((node, address)) = leader.clone()
            && !nodes.contains(&node)
        {
            located.push(Located { node, address, leads: true });
        }
        located
    }

    /// Where a node is reached.
    pub(crate) fn address(&self, node: NodeId) -> Option<Address> {
        self.nodes.get(&node).cloned()
    }

    /// The addresses of all known nodes, by id.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.nodes.values()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use quorate_cluster_config::{ReplicaId, TopicConfig};
    use quorate_protocol::{NodeState, PartitionInfo, ReplicaInfo};

    use super::*;

    const TOPIC: TopicId = TopicId(7);

    fn node(id: u64, port: u16) -> NodeInfo {
        let address = Address::parse(&format!("127.0.0.1:{port}")).unwrap();
        NodeInfo {
            id: NodeId(id),
            client_address: address.clone(),
            peer_address: address,
            state: NodeState::Up,
            rack: None,
            drained: false,
            leaving: None,
            metadata_voter: true,
            replica_count: 0,
            leader_count: 0,
            failed_replica_count: 0,
        }
    }

    fn answer(metadata_index: u64, leader: Option<u64>, leader_epoch: u64) -> TopicsResponse {
        let partition = PartitionInfo {
            index: 0,
            leader: leader.map(NodeId),
            leader_epoch,
            high_watermark: 0,
            replicas: Vec::new(),
        };
        TopicsResponse {
            metadata_index,
            nodes: vec![node(1, 7101), node(2, 7102), node(3, 7103)],
            topics: vec![TopicInfo {
                id: TOPIC,
                name: TopicName::parse("orders").unwrap(),
                config: TopicConfig::default(),
                created_at: 3,
                recoveries: Vec::new(),
                partitions: vec![partition],
            }],
        }
    }

    fn leader(topology: &Topology) -> Option<u64> {
        topology.leader(TOPIC, 0).map(|(node, _)| node.0)
    }

    #[test]
    fn a_partition_is_called_by_the_name_of_its_topic_once_that_is_known() {
        let mut topology = Topology::default();
        let partition = PartitionId { topic: TOPIC, index: 0 };
        assert_eq!(topology.place(partition).to_string(), "partition 0");
        topology.merge_topics(&answer(1, None, 0));
        assert!(topology.place(partition).to_string().starts_with("partition 0 of topic "));
        topology.forget_topic(TOPIC);
        assert_eq!(topology.place(partition).to_string(), "partition 0");
    }

    #[test]
    fn an_older_epoch_never_replaces_a_newer_one() {
        let mut topology = Topology::default();
        topology.merge_topics(&answer(5, Some(2), 8));
        topology.merge_topics(&answer(9, Some(1), 7));
        assert_eq!(leader(&topology), Some(2));
        topology.merge_topics(&answer(9, Some(3), 9));
        assert_eq!(leader(&topology), Some(3));
    }

    #[test]
    fn an_unknown_leader_replaces_nothing_and_is_completed_within_its_epoch() {
        let mut topology = Topology::default();
        topology.merge_topics(&answer(5, None, 0));
        assert_eq!(leader(&topology), None);
        topology.merge_topics(&answer(5, Some(1), 4));
        topology.merge_topics(&answer(6, None, 5));
        assert_eq!(leader(&topology), Some(1));
    }

    #[test]
    fn a_suggestion_is_followed_until_something_newer_is_known() {
        let mut topology = Topology::default();
        topology.merge_topics(&answer(5, Some(1), 4));
        topology.suggest(TOPIC, 0, NodeId(1), Some(NodeId(2)));
        assert_eq!(leader(&topology), Some(2));
        topology.merge_topics(&answer(5, Some(1), 4));
        assert_eq!(leader(&topology), Some(2), "an answer that knows no more must not undo it");
        topology.merge_topics(&answer(5, Some(3), 5));
        assert_eq!(leader(&topology), Some(3));
        topology.suggest(TOPIC, 0, NodeId(3), None);
        assert_eq!(leader(&topology), Some(3));
    }

    #[test]
    fn a_node_that_names_itself_while_refusing_is_not_believed() {
        let mut topology = Topology::default();
        topology.merge_topics(&answer(5, Some(1), 4));
        topology.suggest(TOPIC, 0, NodeId(2), Some(NodeId(2)));
        assert_eq!(leader(&topology), Some(1));
    }

    #[test]
    fn an_older_list_of_nodes_never_replaces_a_newer_one() {
        let mut topology = Topology::default();
        topology.merge_topics(&answer(5, Some(1), 4));
        let mut older = answer(4, Some(1), 4);
        older.nodes = vec![node(1, 9999)];
        topology.merge_topics(&older);
        assert_eq!(topology.addresses().count(), 3);
        assert_eq!(topology.address(NodeId(1)).unwrap().port(), 7101);
        assert_eq!(topology.metadata_index(), 5);
    }

    fn placed(metadata_index: u64, replicas: &[(u64, ReplicaRole)]) -> TopicsResponse {
        let replica = |&(node, role): &(u64, ReplicaRole)| ReplicaInfo {
            id: ReplicaId(node),
            node: NodeId(node),
            role,
            log_start_offset: 0,
            log_end_offset: 0,
            log_bytes: 0,
            detail: None,
        };
        let mut answer = answer(metadata_index, Some(1), 4);
        answer.topics[0].partitions[0].replicas = replicas.iter().map(replica).collect();
        answer
    }

    #[test]
    fn replicas_are_those_of_the_newest_answer_that_work_and_the_leader() {
        use ReplicaRole::{Failed, Follower, Leader, Unknown};
        let mut topology = Topology::default();
        let replicas = |topology: &Topology| {
            let replicas = topology.replicas(TOPIC, 0);
            replicas.iter().map(|replica| (replica.node.0, replica.leads)).collect::<Vec<_>>()
        };
        assert_eq!(replicas(&topology), []);
        topology.merge_topics(&answer(5, Some(1), 4));
        assert_eq!(replicas(&topology), [(1, true)], "the leader can always be asked");
        topology.merge_topics(&placed(7, &[(1, Leader), (2, Unknown), (3, Failed), (9, Follower)]));
        assert_eq!(replicas(&topology), [(1, true), (2, false)], "node 3 failed, and nobody knows node 9");
        topology.merge_topics(&placed(6, &[(3, Follower)]));
        assert_eq!(replicas(&topology), [(1, true), (2, false)], "an older answer changes nothing");
        topology.merge_topics(&placed(8, &[(3, Follower)]));
        assert_eq!(replicas(&topology), [(3, false), (1, true)]);
        topology.forget_topic(TOPIC);
        assert_eq!(replicas(&topology), []);
    }

    #[test]
    fn a_topic_that_is_gone_has_no_leaders() {
        let mut topology = Topology::default();
        topology.merge_topics(&answer(5, Some(1), 4));
        topology.forget_topic(TOPIC);
        assert_eq!(leader(&topology), None);
    }
}
