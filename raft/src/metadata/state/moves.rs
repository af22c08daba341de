//! How moves begin, go on and end.

use std::collections::BTreeSet;

use quorate_cluster_config::{NodeId, PartitionId, ReplicaId, limits};

use super::{Assignment, Counters, MetadataState, Row, Tombstone, TopicRow};
use crate::metadata::{
    command::{MetadataRefusal, MetadataReply},
    moves::{MoveRow, MoveStep},
    placement::{Change, Placed},
};

type Applied = Result<(MetadataReply, Vec<Row>), MetadataRefusal>;

impl MetadataState {
    /// The moves under way, by partition.
    pub fn moves(&self) -> impl Iterator<Item = &MoveRow> {
        self.moves.values()
    }

    /// The move of a partition.
    #[must_use]
    pub fn move_of(&self, partition: PartitionId) -> Option<&MoveRow> {
        self.moves.get(&partition)
    }

    /// Whether a replica was placed once and is no part of the partition any more, nor on its way there.
    #[must_use]
    pub fn is_no_replica_of(&self, replica: ReplicaId, partition: PartitionId) -> bool {
        let placed = self.replicas(partition).unwrap_or_default().iter().chain(self.known_move(partition));
        // What was given out after this state was made may be on its way.
        replica.0 < self.counters.replica && !placed.into_iter().any(|placed| placed.replica == replica)
    }

    /// Whether a replica is placed in a partition.
    #[must_use]
    pub fn places(&self, partition: PartitionId, replica: ReplicaId) -> bool {
        self.replicas(partition).is_some_and(|placed| placed.iter().any(|placed| placed.replica == replica))
    }

    /// Whether a replica is the only one of its partition.
    #[must_use]
    pub fn is_alone(&self, partition: PartitionId, replica: ReplicaId) -> bool {
        self.replicas(partition).is_some_and(|placed| matches!(placed, [only] if only.replica == replica))
    }

    /// How many replicas are placed on a node.
    #[must_use]
    pub fn replicas_of(&self, node: NodeId) -> usize {
        let placed = self.topics.values().flat_map(|topic| topic.partitions.iter().flatten());
        placed.filter(|placed| placed.node == node).count()
    }

    fn known_move(&self, partition: PartitionId) -> Option<&Assignment> {
        self.moves.get(&partition)?.add.as_ref()
    }

    /// All partitions as placement will see them once all moves are done.
    #[must_use]
    pub fn planned(&self) -> Vec<Placed> {
        let mut placed = self.placed();
        for placed in &mut placed {
            let Some(row) = self.moves.get(&placed.partition).filter(|row| row.step != MoveStep::TakingBack) else {
                continue;
            };
            placed.nodes.retain(|node| row.drop.is_none_or(|drop| drop.node != *node));
            placed.nodes.extend(row.add.map(|add| add.node));
        }
        placed
    }

    fn replicas(&self, partition: PartitionId) -> Option<&[Assignment]> {
        self.topics.get(&partition.topic)?.partitions.get(partition.index as usize).map(Vec::as_slice)
    }

    /// Begins the changes that fit what holds now, each partition's first; the others are left out: whoever planned them looks
    /// again once these are done.
    pub(super) fn start_moves(&mut self, changes: &[Change]) -> Applied {
        if changes.len() > limits::MOVES_PER_COMMAND_MAX {
            let reason = format!("{} moves at once, at most {}", changes.len(), limits::MOVES_PER_COMMAND_MAX);
            return Err(MetadataRefusal::Invalid(reason));
        }
        let mut counters = self.counters;
        let mut begun = BTreeSet::new();
        let mut rows = Vec::new();
        for change in changes {
            // The changes of a partition come one after the other: one that does not fit holds up those behind it.
            if begun.insert(change.partition)
                && let Some(row) = self.begin(change, &mut counters)
            {
                rows.push(Row::Move(row));
            }
        }
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if count > 0 {
            rows.push(Row::Counters(counters));
        }
        self.load(rows.clone());
        Ok((MetadataReply::MovesStarted { count }, rows))
    }

    fn begin(&self, change: &Change, counters: &mut Counters) -> Option<MoveRow> {
        let replicas = self.replicas(change.partition)?;
        if self.moves.contains_key(&change.partition) || (change.add, change.drop) == (None, None) {
            return None;
        }
        let drop = match change.drop {
            Some(node) => Some(*replicas.iter().find(|assignment| assignment.node == node)?),
            None => None,
        };
        let add = match change.add {
            Some(node) if self.nodes.get(&node).is_none_or(|node| node.leaving.is_some()) => return None,
            // A replica that cannot be used any more is replaced on its own node.
            Some(node) if change.drop != Some(node) && replicas.iter().any(|placed| placed.node == node) => {
                return None;
            }
            Some(node) => {
                counters.replica += 1;
                Some(Assignment { replica: ReplicaId(counters.replica - 1), node })
            }
            None if replicas.len() <= 1 => return None,
            None => None,
        };
        let step = if add.is_some() { MoveStep::Adding } else { MoveStep::Switching };
        Some(MoveRow { partition: change.partition, step, add, drop })
    }

    /// Notes that a step is done. One that was noted before, or of an earlier move, changes nothing.
    pub(super) fn advance_move(&mut self, done: &MoveRow) -> Applied {
        let partition = done.partition;
        let row =
            *self.moves.get(&partition).filter(|row| *row == done).ok_or(MetadataRefusal::NoSuchMove(partition))?;
        let mut rows = Vec::new();
        let next = row.step.next();
        match (next, row.step) {
            (Some(step), _) => rows.push(Row::Move(MoveRow { step, ..row })),
            (None, MoveStep::TakingBack) => {
                rows.push(Row::MoveGone(partition));
                rows.extend(row.add.map(tombstone));
            }
            (None, _) => {
                let topic = self.topics.get(&partition.topic).ok_or(MetadataRefusal::NoSuchMove(partition))?;
                rows.push(Row::Topic(replaced(topic, &row)));
                rows.push(Row::MoveGone(partition));
                rows.extend(row.drop.map(|drop| {
                    // One that is replaced on its own node was in doubt: damage never deletes.
                    let keep_files = row.add.is_some_and(|add| add.node == drop.node);
                    Row::Tombstone(Tombstone { replica: drop.replica, node: drop.node, keep_files })
                }));
            }
        }
        self.load(rows.clone());
        Ok((MetadataReply::MoveAdvanced { step: next }, rows))
    }

    /// Has a move taken back; whether that is still possible shows when the group's leader is asked.
    pub(super) fn cancel_move(&mut self, partition: PartitionId) -> Applied {
        let row = *self.moves.get(&partition).ok_or(MetadataRefusal::NoSuchMove(partition))?;
        // Without a replica that comes there is none to be taken back: the one that goes just goes.
        if row.add.is_none() {
            return Err(MetadataRefusal::MoveTooFar(partition));
        }
        Ok(self.go_to(MoveRow { step: MoveStep::TakingBack, ..row }))
    }

    /// Has a move go on that was to be taken back.
    pub(super) fn resume_move(&mut self, row: &MoveRow) -> Applied {
        let taken_back = self.moves.get(&row.partition).filter(|known| *known == row);
        let taken_back = taken_back.filter(|row| row.step == MoveStep::TakingBack);
        let row = *taken_back.ok_or(MetadataRefusal::NoSuchMove(row.partition))?;
        Ok(self.go_to(MoveRow { step: MoveStep::Switching, ..row }))
    }

    fn go_to(&mut self, row: MoveRow) -> (MetadataReply, Vec<Row>) {
        let rows = vec![Row::Move(row)];
        self.load(rows.clone());
        (MetadataReply::MoveAdvanced { step: Some(row.step) }, rows)
    }

    /// What becomes of a deleted topic's moves.
    pub(super) fn end_moves(&self, topic: &TopicRow) -> Vec<Row> {
        let moves = self.moves.values().filter(|row| row.partition.topic == topic.id);
        let ended = |row: &MoveRow| row.add.map(tombstone).into_iter().chain([Row::MoveGone(row.partition)]);
        moves.flat_map(ended).collect()
    }
}

/// What becomes of a replica that is no part of its partition any more.
pub(super) fn tombstone(gone: Assignment) -> Row {
    Row::Tombstone(Tombstone { replica: gone.replica, node: gone.node, keep_files: false })
}

/// The topic with the new replica in the place of the old one, or at the end.
fn replaced(topic: &TopicRow, row: &MoveRow) -> TopicRow {
    let mut topic = topic.clone();
    topic.moved.insert(row.partition.index);
    if let Some(replicas) = topic.partitions.get_mut(row.partition.index as usize) {
        let at = row.drop.and_then(|drop| replicas.iter().position(|assignment| *assignment == drop));
        match (at, row.add) {
            (Some(at), Some(add)) => replicas[at] = add,
            (Some(at), None) => _ = replicas.remove(at),
            (None, Some(add)) => replicas.push(add),
            (None, None) => {}
        }
    }
    topic
}
