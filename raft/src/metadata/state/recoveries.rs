//! What goes on after a majority is gone for good: partitions from one of their replicas, and the metadata themselves.
//!
//! Both are kept for whoever asks later what may have been lost, and when.

use quorate_cluster_config::{NodeId, PartitionId, ReplicaId, TopicId, limits};
use serde::{Deserialize, Serialize};

use super::{Assignment, Counters, Leaving, MetadataState, NodeRow, Row, Tombstone, TopicRow};
use crate::metadata::command::{MetadataRefusal, MetadataReply};

/// Ids that may have been given out by entries that are lost, of topics and replicas, of nodes, and of producers: far more.
const IDS_SKIPPED: u64 = 1 << 20;
const NODE_IDS_SKIPPED: u64 = 1_000;
const PRODUCER_IDS_SKIPPED: u64 = 1 << 32;

type Applied = Result<(MetadataReply, Vec<Row>), MetadataRefusal>;

/// Has a partition go on from one of its replicas alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The replica it goes on from.
    pub survivor: ReplicaId,
    /// One past the last offset of that replica.
    pub log_end_offset: u64,
    /// One past the last offset that it knew to be committed.
    pub high_watermark: u64,
    /// When that was decided, milliseconds since 1970.
    pub decided_at_ms: i64,
}

/// A partition that went on from one of its replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRow {
    /// What was decided.
    pub decided: RecoverPartition,
    /// The metadata index of the decision.
    pub index: u64,
    /// What the surviving replica is from then on: under its old id, the others could still reach it.
    pub to: Assignment,
    /// The replicas that are no part of the partition any more.
    pub lost: Vec<Assignment>,
}

/// Has the metadata go on from one of their replicas alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverMetadata {
    /// The node of that replica.
    pub survivor: NodeId,
    /// The nodes that are gone for good.
    pub lost: Vec<NodeId>,
    /// When that was decided, milliseconds since 1970.
    pub decided_at_ms: i64,
}

/// The metadata went on from one of their replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataRecoveryRow {
    /// What was decided.
    pub decided: RecoverMetadata,
    /// The metadata index of the decision.
    pub index: u64,
}

impl MetadataState {
    /// The partitions that went on from one of their replicas, oldest first.
    pub fn recoveries(&self) -> impl Iterator<Item = &RecoveryRow> {
        self.recoveries.values()
    }

    /// When the metadata went on from one of their replicas, oldest first.
    pub fn metadata_recoveries(&self) -> impl Iterator<Item = &MetadataRecoveryRow> {
        self.metadata_recoveries.values()
    }

    /// The recovery that made a replica what it is.
    #[must_use]
    pub fn recovery_of(&self, replica: ReplicaId) -> Option<&RecoveryRow> {
        self.recoveries.get(&replica)
    }

    pub(super) fn recover_partition(&mut self, recovery: &RecoverPartition, index: u64) -> Applied {
        let partition = recovery.partition;
        let unknown = || MetadataRefusal::NoSuchReplica { partition, replica: recovery.survivor };
        let topic = self.topics.get(&partition.topic).ok_or_else(unknown)?;
        let at = partition.index as usize;
        let placed = topic.partitions.get(at).ok_or_else(unknown)?;
        let moving = self.moves.get(&partition);
        let known = placed.iter().copied().chain(moving.and_then(|row| row.add));
        let (survivors, lost): (Vec<_>, Vec<_>) = known.partition(|placed| placed.replica == recovery.survivor);
        let survivor = survivors.first().ok_or_else(unknown)?;
        let counters = Counters { replica: self.counters.replica + 1, ..self.counters };
        let to = Assignment { replica: ReplicaId(self.counters.replica), node: survivor.node };
        let mut topic = topic.clone();
        topic.partitions[at] = vec![to];
        topic.moved.insert(partition.index);
        let mut rows = vec![Row::Counters(counters), Row::Topic(topic)];
        rows.extend(moving.map(|_| Row::MoveGone(partition)));
        let tombstone = |gone: &Assignment| Tombstone { replica: gone.replica, node: gone.node, keep_files: true };
        rows.extend(lost.iter().map(|gone| Row::Tombstone(tombstone(gone))));
        rows.push(Row::Recovery(RecoveryRow { decided: recovery.clone(), index, to, lost }));
        rows.extend(self.outdated_recovery().map(Row::RecoveryGone));
        self.load(rows.clone());
        Ok((MetadataReply::PartitionRecovered { replica: to.replica }, rows))
    }

    /// The replicas that partitions of a topic went on from, and that may still have their old ids: their nodes may not have
    /// heard of it.
    pub(super) fn outdated_survivors(&self, topic: TopicId) -> impl Iterator<Item = Assignment> {
        let of_topic = self.recoveries.values().filter(move |row| row.decided.partition.topic == topic);
        of_topic.map(|row| Assignment { replica: row.decided.survivor, node: row.to.node })
    }

    /// The oldest recovery that may be forgotten, once there are many: its replica is no part of the partition any more.
    fn outdated_recovery(&self) -> Option<ReplicaId> {
        if self.recoveries.len() < limits::RECOVERIES_KEPT {
            return None;
        }
        let is_over = |row: &&RecoveryRow| {
            let PartitionId { topic, index } = row.decided.partition;
            let placed = self.topics.get(&topic).and_then(|topic| topic.partitions.get(index as usize));
            !placed.is_some_and(|placed| placed.contains(&row.to))
        };
        self.recoveries.values().find(is_over).map(|row| row.to.replica)
    }

    pub(super) fn recover_metadata(&mut self, recovery: &RecoverMetadata, index: u64) -> Applied {
        let is_lost = |row: &&NodeRow| recovery.lost.contains(&row.id) && row.id != recovery.survivor;
        let dead = |row: &NodeRow| Row::Node(NodeRow { leaving: Some(Leaving::Dead), ..row.clone() });
        let mut rows: Vec<Row> = self.nodes.values().filter(is_lost).map(dead).collect();
        let survivor = self.nodes.get(&recovery.survivor).filter(|row| row.leaving == Some(Leaving::Dead));
        rows.extend(survivor.map(|row| Row::Node(NodeRow { leaving: None, ..row.clone() })));
        // What was decided and is lost may have given out ids, and some of them may be in use.
        let Counters { replica, topic, producer, node } = self.counters;
        rows.push(Row::Counters(Counters {
            replica: replica + IDS_SKIPPED,
            topic: topic + IDS_SKIPPED,
            producer: producer + PRODUCER_IDS_SKIPPED,
            node: node + NODE_IDS_SKIPPED,
        }));
        // What these partitions began with may have been replaced since: they never begin anew.
        let begun = |topic: &TopicRow| TopicRow { moved: (0..topic.config.partitions).collect(), ..topic.clone() };
        rows.extend(self.topics.values().map(|topic| Row::Topic(begun(topic))));
        rows.push(Row::MetadataRecovery(MetadataRecoveryRow { decided: recovery.clone(), index }));
        self.load(rows.clone());
        Ok((MetadataReply::MetadataRecovered, rows))
    }
}
