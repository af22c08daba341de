//! What the metadata group holds, and how commands change it: a pure function of command and state.
//!
//! Every object is a row; a change returns the rows it touched, so that the store writes just these.

use std::collections::{BTreeMap, BTreeSet};

use quorate_cluster_config::{Name, NodeId, PartitionId, ProducerId, ReplicaId, TopicConfig, TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::{
    command::{MetadataCommand, MetadataRefusal, MetadataReply},
    moves::MoveRow,
    placement::Placed,
};
use crate::codec::DecodeError;

pub use levels::{LEVELS, Levels};
pub use nodes::{Leaving, NodePlace, NodeRow};
pub use recoveries::{MetadataRecoveryRow, RecoverMetadata, RecoverPartition, RecoveryRow};
pub use topics::TopicAlteration;

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
    /// A node that was removed. Its id is never used again.
    NodeRetired(NodeId),
    /// A stream: a namespace of topics, there since its first topic.
    Stream(Name),
    /// A topic.
    Topic(TopicRow),
    /// A topic that is gone.
    TopicGone(TopicId),
    /// A replica that is no part of its group any more.
    Tombstone(Tombstone),
    /// A tombstone that has served its purpose.
    TombstoneGone(ReplicaId),
    /// A move.
    Move(MoveRow),
    /// A move that is over.
    MoveGone(PartitionId),
    /// Whether replicas are to be evened out.
    Evening(bool),
    /// A partition that went on from one of its replicas.
    Recovery(RecoveryRow),
    /// A recovery that need not be remembered any more, by its new replica.
    RecoveryGone(ReplicaId),
    /// The metadata went on from one of their replicas.
    MetadataRecovery(MetadataRecoveryRow),
    /// What all nodes understand.
    Level(u32),
}

/// A replica that is no part of its group any more: what it has may go, and nothing of it is ever taken for current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The replica.
    pub replica: ReplicaId,
    /// Its node, which forgets the tombstone once nothing of the replica is there.
    pub node: NodeId,
    /// Whether its files are put aside and not deleted: they may hold what was lost.
    pub keep_files: bool,
}

/// The ids to be given next. None is ever given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    replica: u64,
    topic: u64,
    producer: u64,
    node: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self { replica: 1, topic: 1, producer: 1, node: 1 }
    }
}

/// All metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataState {
    counters: Counters,
    nodes: BTreeMap<NodeId, NodeRow>,
    retired: BTreeSet<NodeId>,
    streams: BTreeSet<Name>,
    topics: BTreeMap<TopicId, TopicRow>,
    names: BTreeMap<TopicName, TopicId>,
    tombstones: BTreeMap<ReplicaId, Tombstone>,
    moves: BTreeMap<PartitionId, MoveRow>,
    evening: bool,
    /// By new replica.
    recoveries: BTreeMap<ReplicaId, RecoveryRow>,
    /// By metadata index.
    metadata_recoveries: BTreeMap<u64, MetadataRecoveryRow>,
    level: Option<u32>,
}

impl MetadataState {
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

    /// The tombstone of a replica.
    #[must_use]
    pub fn tombstone(&self, replica: ReplicaId) -> Option<&Tombstone> {
        self.tombstones.get(&replica)
    }

    /// The tombstones of a node's replicas.
    pub fn tombstones_of(&self, node: NodeId) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.values().filter(move |tombstone| tombstone.node == node)
    }

    /// Applies the command at log index `index`; returns the reply and the rows that changed.
    pub fn apply(&mut self, command: &MetadataCommand, index: u64) -> (MetadataReply, Vec<Row>) {
        let result = match command {
            MetadataCommand::AddNode(join) => self.add_node(join),
            MetadataCommand::RegisterNode { node, metadata_replica, place, levels } => {
                self.register_node(*node, *metadata_replica, place, *levels)
            }
            MetadataCommand::SetDrained { node, drained } => self.set_drained(*node, *drained),
            MetadataCommand::SetLeaving { node, leaving } => self.set_leaving(*node, *leaving),
            MetadataCommand::ForgetNode { node } => self.forget_node(*node),
            MetadataCommand::SetEvening { evening } => self.set_evening(*evening),
            MetadataCommand::StartMoves { changes } => self.start_moves(changes),
            MetadataCommand::AdvanceMove { done } => self.advance_move(done),
            MetadataCommand::CancelMove { partition } => self.cancel_move(*partition),
            MetadataCommand::ResumeMove { row } => self.resume_move(row),
            MetadataCommand::CreateTopic { name, config, live } => self.create_topic(name, config, live, index),
            MetadataCommand::AlterTopic { topic, name, alteration, live } => {
                self.alter_topic(*topic, name, alteration, live)
            }
            MetadataCommand::DeleteTopic { topic, name } => self.delete_topic(*topic, name),
            MetadataCommand::ReserveProducerIds { count } => self.reserve_producers(*count),
            MetadataCommand::ForgetTombstones { node, replicas } => self.forget_tombstones(*node, replicas),
            MetadataCommand::RecoverPartition(recovery) => self.recover_partition(recovery, index),
            MetadataCommand::RecoverMetadata(recovery) => self.recover_metadata(recovery, index),
            MetadataCommand::RaiseLevel { level } => self.raise_level(*level),
        };
        result.unwrap_or_else(|refusal| (MetadataReply::Refused(refusal), Vec::new()))
    }

    fn reserve_producers(&mut self, count: u32) -> Result<(MetadataReply, Vec<Row>), MetadataRefusal> {
        let first = self.counters.producer;
        let next = first.checked_add(count.into()).filter(|next| count > 0 && *next <= i64::MAX as u64);
        let producer = next.ok_or_else(|| MetadataRefusal::Invalid(format!("cannot reserve {count} producer ids")))?;
        let rows = vec![Row::Counters(Counters { producer, ..self.counters })];
        self.load(rows.clone());
        Ok((MetadataReply::ProducerIds { first: ProducerId(first) }, rows))
    }

    /// Forgets tombstones of a node that says that nothing of the replicas is there.
    fn forget_tombstones(
        &mut self,
        node: NodeId,
        replicas: &[ReplicaId],
    ) -> Result<(MetadataReply, Vec<Row>), MetadataRefusal> {
        let known = replicas.iter().filter_map(|replica| self.tombstones.get(replica));
        let rows: Vec<Row> = known.filter(|t| t.node == node).map(|t| Row::TombstoneGone(t.replica)).collect();
        self.load(rows.clone());
        Ok((MetadataReply::TombstonesForgotten, rows))
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

    /// All of it as rows: [`MetadataState::load`] makes the same of them.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let Self { counters, nodes, retired, streams, topics, names: _, tombstones, moves, evening, .. } = self;
        let Self { recoveries, metadata_recoveries, level, .. } = self;
        let rows = [Row::Counters(*counters), Row::Evening(*evening)].into_iter().chain(level.map(Row::Level));
        let rows = rows.chain(nodes.values().cloned().map(Row::Node));
        let rows = rows.chain(retired.iter().copied().map(Row::NodeRetired));
        let rows = rows.chain(streams.iter().cloned().map(Row::Stream));
        let rows = rows.chain(topics.values().cloned().map(Row::Topic));
        let rows = rows.chain(tombstones.values().copied().map(Row::Tombstone));
        let rows = rows.chain(recoveries.values().cloned().map(Row::Recovery));
        let rows = rows.chain(metadata_recoveries.values().cloned().map(Row::MetadataRecovery));
        rows.chain(moves.values().copied().map(Row::Move)).collect()
    }

    /// The level as u32, little-endian, then the rows: so that a build that does not know them all can say why.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let level = self.level().to_le_bytes();
        // Nothing in a row makes this fail; if it did, whoever reads nothing would refuse it.
        [&level, bincode::serialize(&self.rows()).unwrap_or_default().as_slice()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (level, rows) = bytes.split_first_chunk().ok_or(DecodeError::Short)?;
        let unknown = || match u32::from_le_bytes(*level) > LEVELS.max {
            true => DecodeError::Malformed("metadata: they are at a level that only newer builds know"),
            false => DecodeError::Malformed("metadata"),
        };
        let rows = bincode::deserialize(rows).map_err(|_| unknown())?;
        let mut state = Self::default();
        state.load(rows);
        Ok(state)
    }

    /// Takes rows in, as a command made them or as the store kept them.
    pub(crate) fn load(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row {
                Row::Counters(counters) => self.counters = counters,
                Row::Node(node) => drop(self.nodes.insert(node.id, node)),
                Row::NodeRetired(node) => {
                    self.nodes.remove(&node);
                    self.retired.insert(node);
                }
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
                Row::Tombstone(tombstone) => drop(self.tombstones.insert(tombstone.replica, tombstone)),
                Row::TombstoneGone(replica) => drop(self.tombstones.remove(&replica)),
                Row::Move(row) => drop(self.moves.insert(row.partition, row)),
                Row::MoveGone(partition) => drop(self.moves.remove(&partition)),
                Row::Evening(evening) => self.evening = evening,
                Row::Recovery(row) => drop(self.recoveries.insert(row.to.replica, row)),
                Row::RecoveryGone(replica) => drop(self.recoveries.remove(&replica)),
                Row::MetadataRecovery(row) => drop(self.metadata_recoveries.insert(row.index, row)),
                Row::Level(level) => self.level = Some(level),
            }
        }
    }
}

mod levels;
mod moves;
mod nodes;
mod recoveries;
#[cfg(test)]
mod tests;
mod topics;
