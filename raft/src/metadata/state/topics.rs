//! How topics come, change and go.

use std::{collections::BTreeSet, time::Duration};

use quorate_cluster_config::{NodeId, ReplicaId, TopicConfig, TopicId, TopicName, limits};
use serde::{Deserialize, Serialize};

use super::{Assignment, Counters, MetadataState, Row, TopicRow, moves::tombstone};
use crate::metadata::{
    command::{MetadataRefusal, MetadataReply},
    placement::place,
};

type Applied = Result<(MetadataReply, Vec<Row>), MetadataRefusal>;

/// A change of a topic's settings. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicAlteration {
    /// How many partitions it is to have: no fewer than it has.
    pub partitions: Option<u32>,
    /// How many replicas each partition is to have.
    pub replication_factor: Option<u32>,
    /// How long records are kept; `Some(None)`: for ever.
    pub retention_time: Option<Option<Duration>>,
    /// How many bytes a partition may have; `Some(None)`: any number.
    pub retention_bytes: Option<Option<u64>>,
}

impl TopicAlteration {
    fn of(&self, config: &TopicConfig) -> TopicConfig {
        TopicConfig {
            partitions: self.partitions.unwrap_or(config.partitions),
            replication_factor: self.replication_factor.unwrap_or(config.replication_factor),
            retention_time: self.retention_time.unwrap_or(config.retention_time),
            retention_bytes: self.retention_bytes.unwrap_or(config.retention_bytes),
            ..config.clone()
        }
    }
}

impl MetadataState {
    fn known_topic(&self, id: TopicId, name: &TopicName) -> Result<&TopicRow, MetadataRefusal> {
        let topic = self.topic_named(name).filter(|topic| topic.id == id);
        topic.ok_or_else(|| MetadataRefusal::UnknownTopic(name.clone()))
    }

    /// Places new partitions.
    fn placed_anew(
        &self,
        partitions: u32,
        replication_factor: u32,
        live: &[NodeId],
        counters: &mut Counters,
    ) -> Result<Vec<Vec<Assignment>>, MetadataRefusal> {
        let count = self.topics.values().map(|topic| topic.partitions.len()).sum::<usize>();
        if count + partitions as usize > limits::PARTITIONS_MAX {
            return Err(MetadataRefusal::TooManyPartitions(limits::PARTITIONS_MAX));
        }
        let placed = place(partitions, replication_factor, &self.loads(live));
        let placed = placed.ok_or_else(|| self.not_enough_nodes(replication_factor))?;
        let mut assign = |node| {
            counters.replica += 1;
            Assignment { replica: ReplicaId(counters.replica - 1), node }
        };
        Ok(placed.into_iter().map(|nodes| nodes.into_iter().map(&mut assign).collect()).collect())
    }

    fn not_enough_nodes(&self, wanted: u32) -> MetadataRefusal {
        let nodes = self.nodes.values().filter(|node| node.leaving.is_none()).count();
        MetadataRefusal::NotEnoughNodes { wanted, nodes: u32::try_from(nodes).unwrap_or(u32::MAX) }
    }

    pub(super) fn create_topic(
        &mut self,
        name: &TopicName,
        config: &TopicConfig,
        live: &[NodeId],
        index: u64,
    ) -> Applied {
        if self.names.contains_key(name) {
            return Err(MetadataRefusal::TopicExists(name.clone()));
        }
        if self.topics.len() >= limits::TOPICS_MAX {
            return Err(MetadataRefusal::TooManyTopics(limits::TOPICS_MAX));
        }
        config.validate().map_err(|error| MetadataRefusal::InvalidConfig(error.to_string()))?;
        let mut counters = Counters { topic: self.counters.topic + 1, ..self.counters };
        let partitions = self.placed_anew(config.partitions, config.replication_factor, live, &mut counters)?;
        let topic = TopicId(self.counters.topic);
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

    pub(super) fn delete_topic(&mut self, id: TopicId, name: &TopicName) -> Applied {
        let topic = self.known_topic(id, name)?;
        let placed = topic.partitions.iter().flatten().copied();
        let replicas = placed.chain(self.outdated_survivors(id)).map(tombstone);
        let rows: Vec<Row> = replicas.chain(self.end_moves(topic)).chain([Row::TopicGone(id)]).collect();
        self.load(rows.clone());
        Ok((MetadataReply::TopicDeleted { topic: id }, rows))
    }

    /// Changes a topic. Partitions are added here; replicas are added and dropped by moves.
    pub(super) fn alter_topic(
        &mut self,
        id: TopicId,
        name: &TopicName,
        alteration: &TopicAlteration,
        live: &[NodeId],
    ) -> Applied {
        let mut topic = self.known_topic(id, name)?.clone();
        let config = alteration.of(&topic.config);
        config.validate().map_err(|error| MetadataRefusal::InvalidConfig(error.to_string()))?;
        let Some(added) = config.partitions.checked_sub(topic.config.partitions) else {
            let now = topic.config.partitions;
            return Err(MetadataRefusal::FewerPartitions { topic: name.clone(), now, wanted: config.partitions });
        };
        let factor = config.replication_factor;
        let stay = self.nodes.values().filter(|node| node.leaving.is_none()).count();
        if factor > topic.config.replication_factor && factor as usize > stay {
            return Err(self.not_enough_nodes(factor));
        }
        let mut counters = self.counters;
        topic.partitions.extend(self.placed_anew(added, factor, live, &mut counters)?);
        topic.config = config;
        let rows = vec![Row::Counters(counters), Row::Topic(topic)];
        self.load(rows.clone());
        Ok((MetadataReply::TopicAltered { topic: id }, rows))
    }
}
