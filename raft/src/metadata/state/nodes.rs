//! How nodes come and go.

use std::collections::{BTreeMap, BTreeSet};

use quorate_cluster_config::{Address, Name, NodeId, ReplicaId, limits};
use serde::{Deserialize, Serialize};

use super::{Counters, Levels, MetadataState, Row};
use crate::metadata::{
    command::{Join, MetadataRefusal, MetadataReply},
    placement::NodeLoad,
};

type Applied = Result<(MetadataReply, Vec<Row>), MetadataRefusal>;

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlace {
    /// Where clients reach it.
    pub client_address: Address,
    /// Where its peers reach it.
    pub peer_address: Address,
    /// Its failure domain; without one it is a domain of its own.
    pub rack: Option<Name>,
}

/// A registered node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// Where it is.
    pub place: NodePlace,
    /// Its replica of the metadata group.
    pub metadata_replica: ReplicaId,
    /// What it called itself when it asked to join; 0 for the nodes the cluster formed of.
    pub join_token: u128,
    /// Whether it is to lead nothing, until it is said otherwise.
    pub drained: bool,
    /// Whether it is to be removed.
    pub leaving: Option<Leaving>,
    /// What its build understands.
    pub levels: Levels,
}

/// How a node leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leaving {
    /// It serves until all it has is elsewhere.
    Serving,
    /// It is gone for good; should it come back, nobody talks to it.
    Dead,
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

    /// Whether a node was removed, or is given up as dead: nobody talks to it any more.
    #[must_use]
    pub fn is_shunned(&self, id: NodeId) -> bool {
        self.retired.contains(&id) || self.nodes.get(&id).is_some_and(|node| node.leaving == Some(Leaving::Dead))
    }

    /// Whether a node was removed.
    #[must_use]
    pub fn is_retired(&self, id: NodeId) -> bool {
        self.retired.contains(&id)
    }

    /// Whether replicas are to be evened out over the nodes, as soon as all of them answer.
    #[must_use]
    pub fn is_evening(&self) -> bool {
        self.evening
    }

    /// Whether a node has a replica of a partition, or one is on its way there or away.
    #[must_use]
    pub fn carries(&self, id: NodeId) -> bool {
        let placed = self.topics.values().flat_map(|topic| topic.partitions.iter().flatten());
        let moved = self.moves.values().flat_map(|row| row.add.iter().chain(row.drop.iter()));
        placed.chain(moved).any(|assignment| assignment.node == id)
    }

    /// Never gives ids that a membership of the metadata group itself uses.
    pub(crate) fn reserve(&mut self, members: impl Iterator<Item = (ReplicaId, NodeId)>) -> Vec<Row> {
        let mut counters = self.counters;
        for (replica, node) in members {
            counters.replica = counters.replica.max(replica.0 + 1);
            counters.node = counters.node.max(node.0 + 1);
        }
        if counters == self.counters {
            return Vec::new();
        }
        self.counters = counters;
        vec![Row::Counters(counters)]
    }

    pub(super) fn add_node(&mut self, join: &Join) -> Applied {
        let added = |row: &NodeRow| MetadataReply::NodeAdded { node: row.id, metadata_replica: row.metadata_replica };
        if let Some(known) = self.nodes.values().find(|node| node.join_token == join.token && join.token != 0) {
            // Its first try was executed, and the answer was lost.
            return Ok((added(known), Vec::new()));
        }
        #[cfg(feature = "planted-bugs")]
        if quorate_planted_bugs::PlantedBug::RejoinUnderOldId.is_planted()
            && let Some(known) = self.nodes.values().find(|node| node.place.peer_address == join.place.peer_address)
        {
            return Ok((added(known), Vec::new()));
        }
        self.check_room()?;
        self.check_levels(join.levels)?;
        let row = NodeRow {
            id: NodeId(self.counters.node),
            place: join.place.clone(),
            metadata_replica: ReplicaId(self.counters.replica),
            join_token: join.token,
            drained: false,
            leaving: None,
            levels: join.levels,
        };
        let counters = Counters { node: row.id.0 + 1, replica: row.metadata_replica.0 + 1, ..self.counters };
        let reply = added(&row);
        let mut rows = vec![Row::Counters(counters), Row::Node(row), Row::Evening(true)];
        rows.extend(self.first_level(join.levels));
        self.load(rows.clone());
        Ok((reply, rows))
    }

    fn check_room(&self) -> Result<(), MetadataRefusal> {
        if self.nodes.len() < limits::NODES_MAX as usize {
            return Ok(());
        }
        Err(MetadataRefusal::Invalid(format!("the cluster holds its maximum of {} nodes", limits::NODES_MAX)))
    }

    pub(super) fn register_node(
        &mut self,
        id: NodeId,
        metadata_replica: ReplicaId,
        place: &NodePlace,
        levels: Levels,
    ) -> Applied {
        if self.retired.contains(&id) {
            return Err(MetadataRefusal::NodeRemoved(id));
        }
        self.check_levels(levels)?;
        let place = place.clone();
        let row = match self.nodes.get(&id) {
            Some(known) => NodeRow { place, levels, ..known.clone() },
            None => {
                self.check_room()?;
                NodeRow { id, place, metadata_replica, join_token: 0, drained: false, leaving: None, levels }
            }
        };
        let mut rows = self.reserve([(row.metadata_replica, row.id)].into_iter());
        rows.extend(self.first_level(levels));
        rows.push(Row::Node(row));
        self.load(rows.clone());
        Ok((MetadataReply::NodeRegistered, rows))
    }

    fn change_node(&mut self, id: NodeId, change: impl FnOnce(NodeRow) -> NodeRow) -> Applied {
        let node = self.nodes.get(&id).ok_or_else(|| self.unknown_node(id))?;
        let rows = vec![Row::Node(change(node.clone()))];
        self.load(rows.clone());
        Ok((MetadataReply::NodeChanged, rows))
    }

    fn unknown_node(&self, id: NodeId) -> MetadataRefusal {
        if self.retired.contains(&id) { MetadataRefusal::NodeRemoved(id) } else { MetadataRefusal::UnknownNode(id) }
    }

    pub(super) fn set_drained(&mut self, id: NodeId, drained: bool) -> Applied {
        self.change_node(id, |node| NodeRow { drained, ..node })
    }

    /// Has a node leave if the others can hold what there is to hold.
    pub(super) fn set_leaving(&mut self, id: NodeId, leaving: Option<Leaving>) -> Applied {
        if leaving.is_some() && self.nodes.contains_key(&id) {
            let others = self.nodes.values().filter(|node| node.id != id && node.leaving.is_none()).count();
            let factor = |topic: &super::TopicRow| topic.config.replication_factor as usize;
            let needs_more = self.names.values().filter_map(|topic| self.topics.get(topic));
            let topics: Vec<_> = needs_more.filter(|topic| factor(topic) > others).map(|t| t.name.clone()).collect();
            if others == 0 || !topics.is_empty() {
                let left = u32::try_from(others).unwrap_or(u32::MAX);
                return Err(MetadataRefusal::TooFewNodesLeft { node: id, left, topics });
            }
        }
        self.change_node(id, |node| NodeRow { leaving, ..node })
    }

    /// Forgets a node that has nothing any more.
    pub(super) fn forget_node(&mut self, id: NodeId) -> Applied {
        if self.retired.contains(&id) {
            return Ok((MetadataReply::NodeForgotten, Vec::new()));
        }
        let node = self.nodes.get(&id).ok_or(MetadataRefusal::UnknownNode(id))?;
        if node.leaving.is_none() || self.carries(id) {
            return Err(MetadataRefusal::Invalid(format!("node {id} is not ready to be removed")));
        }
        // Nothing of it comes back: it is talked to no more.
        let tombstones = self.tombstones_of(id).map(|tombstone| Row::TombstoneGone(tombstone.replica));
        let rows: Vec<Row> = tombstones.chain([Row::NodeRetired(id)]).collect();
        self.load(rows.clone());
        Ok((MetadataReply::NodeForgotten, rows))
    }

    pub(super) fn set_evening(&mut self, evening: bool) -> Applied {
        let rows = vec![Row::Evening(evening)];
        self.load(rows.clone());
        Ok((MetadataReply::EveningSet, rows))
    }

    /// The nodes as placement sees them, with what they carry; `live` are those that answered lately.
    #[must_use]
    pub fn loads(&self, live: &[NodeId]) -> Vec<NodeLoad> {
        let live: BTreeSet<NodeId> = live.iter().copied().collect();
        let load = |node: &NodeRow| NodeLoad {
            node: node.id,
            rack: node.place.rack.as_ref().map(ToString::to_string),
            live: live.contains(&node.id) && node.leaving != Some(Leaving::Dead),
            takes_replicas: node.leaving.is_none(),
            takes_leaders: !node.drained && node.leaving.is_none(),
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
}
