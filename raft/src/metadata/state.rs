//! What the metadata group holds, and how commands change it: a pure function of command and state.
//!
//! Every object is a row; a change returns the rows it touched, so that the store writes just these.

use std::collections::{BTreeMap, BTreeSet};

use quorate_cluster_config::{
    Address, Name, NodeId, PartitionId, ProducerId, ReplicaId, TopicConfig, TopicId, TopicName, limits,
};
use serde::{Deserialize, Serialize};

use super::{
    command::{MetadataCommand, MetadataRefusal, MetadataReply},
    moves::MoveRow,
    placement::{NodeLoad, Placed, place},
};

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// Where clients reach it.
    pub client_address: Address,
    /// Where its peers reach it.
    pub peer_address: Address,
    /// Its failure domain; without one it is a domain of its own.
    pub rack: Option<Name>,
    /// Whether it is to lead nothing, until it is said otherwise.
    pub drained: bool,
}

/// One replica and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The replica.
    pub replica: ReplicaId,
    /// Its node.
    pub node: NodeId,
}

/// A topic and where its partitions are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRow {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its configuration.
    pub config: TopicConfig,
    /// The metadata index that created it.
    pub created_at: u64,
    /// The replicas of each partition, the preferred leader first.
    pub partitions: Vec<Vec<Assignment>>,
    /// The partitions whose replicas are not those they began with any more.
    pub moved: BTreeSet<u32>,
}

/// A row as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// The next ids.
    Counters(Counters),
    /// A node.
    Node(NodeRow),
    /// A stream: a namespace of topics, there since its first topic.
    Stream(Name),
    /// A topic.
    Topic(TopicRow),
    /// A topic that is gone.
    TopicGone(TopicId),
    /// A replica whose data may be deleted.
    Tombstone(ReplicaId),
    /// A move.
    Move(MoveRow),
    /// A move that is over.
    MoveGone(PartitionId),
}

/// The ids to be given next. None is ever given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    replica: u64,
    topic: u64,
    producer: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { replica: 1, topic: 1, producer: 1 }
    }
}

/// All metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataState {
    counters: Counters,
    nodes: BTreeMap<NodeId, NodeRow>,
    streams: BTreeSet<Name>,
    topics: BTreeMap<TopicId, TopicRow>,
    names: BTreeMap<TopicName, TopicId>,
    tombstones: BTreeSet<ReplicaId>,
    moves: BTreeMap<PartitionId, MoveRow>,
}

impl MetadataState {
    /// The nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.values()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRow> {
        self.nodes.get(&id)
    }

    /// The topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &TopicRow> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// A topic.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&TopicRow> {
        self.topics.get(&id)
    }

    /// The topic of a name.
    #[must_use]
    pub fn topic_named(&self, name: &TopicName) -> Option<&TopicRow> {
        self.names.get(name).and_then(|id| self.topics.get(id))
    }

    /// Whether a topic of this id has existed and was deleted.
    #[must_use]
    pub fn was_deleted(&self, id: TopicId) -> bool {
        id.0 > 0 && id.0 < self.counters.topic && !self.topics.contains_key(&id)
    }

    /// Whether the data of a replica may be deleted.
    #[must_use]
    pub fn has_tombstone(&self, replica: ReplicaId) -> bool {
        self.tombstones.contains(&replica)
    }

    /// Never gives replica ids that a membership of the metadata group itself uses.
    pub(crate) fn reserve_replicas(&mut self, members: impl Iterator<Item = ReplicaId>) -> Vec<Row> {
        let next = members.map(|replica| replica.0 + 1).max().unwrap_or(0);
        if next <= self.counters.replica {
            return Vec::new();
        }
        self.counters.replica = next;
        vec![Row::Counters(self.counters)]
    }

    /// Applies the command at log index `index`; returns the reply and the rows that changed.
    pub fn apply(&mut self, command: &MetadataCommand, index: u64) -> (MetadataReply, Vec<Row>) {
        let result = match command {
            MetadataCommand::RegisterNode { node, client_address, peer_address, rack } => {
                self.register_node(*node, client_address, peer_address, rack.as_ref())
            }
            MetadataCommand::SetDrained { node, drained } => self.set_drained(*node, *drained),
            MetadataCommand::StartMoves { changes } => self.start_moves(changes),
            MetadataCommand::AdvanceMove { done } => self.advance_move(done),
            MetadataCommand::CancelMove { partition } => self.cancel_move(*partition),
            MetadataCommand::CreateTopic { name, config, live } => self.create_topic(name, config, live, index),
            MetadataCommand::DeleteTopic { topic, name } => self.delete_topic(*topic, name),
            MetadataCommand::ReserveProducerIds { count } => self.reserve_producers(*count),
        };
        result.unwrap_or_else(|refusal| (MetadataReply::Refused(refusal), Vec::new()))
    }

    fn register_node(
        &mut self,
        id: NodeId,
        client_address: &Address,
        peer_address: &Address,
        rack: Option<&Name>,
    ) -> Result<(MetadataReply, Vec<Row>), MetadataRefusal> {
        if !self.nodes.contains_key(&id) && self.nodes.len() >= limits::NODES_MAX as usize {
            return Err(MetadataRefusal::Invalid(format!(
                "the cluster holds its maximum of {} nodes",
                limits::NODES_MAX
            )));
        }
        let row = NodeRow {
            id,
            client_address: client_address.clone(),
            peer_address: peer_address.clone(),
            rack: rack.cloned(),
            drained: self.nodes.get(&id).is_some_and(|known| known.drained),
        };
        let rows = vec![Row::Node(row)];
        self.load(rows.clone());
        Ok((MetadataReply::NodeRegistered, rows))
    }

    fn set_drained(&mut self, id: NodeId, drained: bool) -> Result<(MetadataReply, Vec<Row>), MetadataRefusal> {
        let node = self.nodes.get(&id).ok_or(MetadataRefusal::UnknownNode(id))?;
        let rows = vec![Row::Node(NodeRow { drained, ..node.clone() })];
        self.load(rows.clone());
        Ok((MetadataReply::NodeChanged, rows))
    }

    fn create_topic(
        &mut self,
        name: &TopicName,
        config: &TopicConfig,
        live: &[NodeId],
        index: u64,
    ) -> Result<(MetadataReply, Vec<Row>), MetadataRefusal> {
        if self.names.contains_key(name) {
            return Err(MetadataRefusal::TopicExists(name.clone()));
        }
        if self.topics.len() >= limits::TOPICS_MAX {
            return Err(MetadataRefusal::TooManyTopics(limits::TOPICS_MAX));
        }
        config.validate().map_err(|error| MetadataRefusal::InvalidConfig(error.to_string()))?;
        let placed = place(config.partitions, config.replication_factor, &self.loads(live)).ok_or(
            MetadataRefusal::NotEnoughNodes { wanted: config.replication_factor, nodes: self.nodes.len() as u32 },
        )?;
        let topic = TopicId(self.counters.topic);
        let mut counters = Counters { topic: topic.0 + 1, ..self.counters };
        let mut assign = |node| {
            counters.replica += 1;
            Assignment { replica: ReplicaId(counters.replica - 1), node }
        };
        let partitions = placed.into_iter().map(|nodes| nodes.into_iter().map(&mut assign).collect()).collect();
        let row = TopicRow {
            id: topic,
            name: name.clone(),
            config: config.clone(),
            created_at: index,
            partitions,
            moved: BTreeSet::new(),
        };
        let rows = vec![Row::Counters(counters), Row::Stream(name.stream.clone()), Row::Topic(row)];
        self.load(rows.clone());
        Ok((MetadataReply::TopicCreated { topic }, rows))
    }

    fn delete_topic(&mut self, id: TopicId, name: &TopicName) -> Result<(MetadataReply, Vec<Row>), MetadataRefusal> {
        let topic = self.topic_named(name).filter(|topic| topic.id == id);
        let topic = topic.ok_or_else(|| MetadataRefusal::UnknownTopic(name.clone()))?;
        let replicas = topic.partitions.iter().flatten().map(|assignment| Row::Tombstone(assignment.replica));
        let rows: Vec<Row> = replicas.chain(self.end_moves(topic)).chain([Row::TopicGone(id)]).collect();
        self.load(rows.clone());
        Ok((MetadataReply::TopicDeleted { topic: id }, rows))
    }

    fn reserve_producers(&mut self, count: u32) -> Result<(MetadataReply, Vec<Row>), MetadataRefusal> {
        let first = self.counters.producer;
        let next = first.checked_add(count.into()).filter(|next| count > 0 && *next <= i64::MAX as u64);
        let producer = next.ok_or_else(|| MetadataRefusal::Invalid(format!("cannot reserve {count} producer ids")))?;
        let rows = vec![Row::Counters(Counters { producer, ..self.counters })];
        self.load(rows.clone());
        Ok((MetadataReply::ProducerIds { first: ProducerId(first) }, rows))
    }

    /// The nodes as placement sees them, with what they carry; `live` are those that answered lately.
    #[must_use]
    pub fn loads(&self, live: &[NodeId]) -> Vec<NodeLoad> {
        let load = |node: &NodeRow| NodeLoad {
            node: node.id,
            rack: node.rack.as_ref().map(ToString::to_string),
            live: live.contains(&node.id),
            takes_replicas: true,
            takes_leaders: !node.drained,
            replicas: 0,
            leaders: 0,
        };
        let mut loads: BTreeMap<NodeId, NodeLoad> = self.nodes.iter().map(|(id, node)| (*id, load(node))).collect();
        for placed in self.planned() {
            for (rank, node) in placed.nodes.iter().enumerate() {
                if let Some(load) = loads.get_mut(node) {
                    load.replicas += 1;
                    load.leaders += u32::from(rank == 0);
                }
            }
        }
        loads.into_values().collect()
    }

    /// All partitions as placement sees them, by topic and index.
    #[must_use]
    pub fn placed(&self) -> Vec<Placed> {
        let of_topic = |topic: &TopicRow| {
            let (id, replication_factor) = (topic.id, topic.config.replication_factor);
            let placed = |(index, replicas): (u32, &Vec<Assignment>)| Placed {
                partition: PartitionId { topic: id, index },
                nodes: replicas.iter().map(|assignment| assignment.node).collect(),
                replication_factor,
                bytes: 0,
            };
            (0..).zip(&topic.partitions).map(placed).collect::<Vec<_>>()
        };
        self.topics.values().flat_map(of_topic).collect()
    }

    /// Takes rows in, as a command made them or as the store kept them.
    pub(crate) fn load(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row {
                Row::Counters(counters) => self.counters = counters,
                Row::Node(node) => drop(self.nodes.insert(node.id, node)),
                Row::Stream(name) => drop(self.streams.insert(name)),
                Row::Topic(topic) => {
                    self.names.insert(topic.name.clone(), topic.id);
                    self.topics.insert(topic.id, topic);
                }
                Row::TopicGone(id) => {
                    if let Some(topic) = self.topics.remove(&id) {
                        self.names.remove(&topic.name);
                    }
                }
                Row::Tombstone(replica) => drop(self.tombstones.insert(replica)),
                Row::Move(row) => drop(self.moves.insert(row.partition, row)),
                Row::MoveGone(partition) => drop(self.moves.remove(&partition)),
            }
        }
    }
}

mod moves;
#[cfg(test)]
mod tests;
