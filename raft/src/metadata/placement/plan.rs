//! Which replicas are to be added, moved and dropped so that the partitions are where they should be.

use std::collections::{BTreeMap, BTreeSet};

use quorate_cluster_config::{NodeId, PartitionId};
use serde::{Deserialize, Serialize};

use super::{Domain, NodeLoad, Placed};

/// A change of one partition: one replica that comes, one that goes, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// The partition.
    pub partition: PartitionId,
    /// The node that is to get a replica.
    pub add: Option<NodeId>,
    /// The node whose replica is to go once the other one is there.
    pub drop: Option<NodeId>,
}

/// How far a plan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Only what must be: replicas leave nodes that take none, partitions get as many replicas as they are to have.
    Required,
    /// Also what makes partitions span more failure domains, and what makes the nodes that answer carry the same number of
    /// replicas. Nothing is moved for that to a node that does not answer.
    Even,
}

/// What is to change, in the order in which it should. A partition may change more than once; a change holds when those
/// before it are done.
///
/// Partitions that cannot have as many replicas as they are to have, for want of nodes, keep what they have on nodes that
/// take no replicas.
#[must_use]
pub fn plan(partitions: &[Placed], nodes: &[NodeLoad], goal: Goal) -> Vec<Change> {
    plan_at_most(partitions, nodes, goal, usize::MAX)
}

/// [`plan`], given up for evenness after so many changes: the rest is planned once these are done.
#[must_use]
pub fn plan_at_most(partitions: &[Placed], nodes: &[NodeLoad], goal: Goal, changes_max: usize) -> Vec<Change> {
    let mut planner = Planner::new(partitions, nodes);
    planner.require();
    if goal == Goal::Even {
        planner.spread();
        planner.even(changes_max);
    }
    planner.changes
}

struct Planner<'a> {
    nodes: BTreeMap<NodeId, &'a NodeLoad>,
    partitions: Vec<Partition>,
    /// By node: the replicas it will carry, and their bytes.
    carried: BTreeMap<NodeId, (u32, u64)>,
    changes: Vec<Change>,
}

struct Partition {
    id: PartitionId,
    nodes: BTreeSet<NodeId>,
    replication_factor: usize,
    bytes: u64,
}

impl<'a> Planner<'a> {
    fn new(partitions: &[Placed], nodes: &'a [NodeLoad]) -> Self {
        let nodes: BTreeMap<NodeId, &NodeLoad> = nodes.iter().map(|load| (load.node, load)).collect();
        let mut carried: BTreeMap<NodeId, (u32, u64)> = nodes.keys().map(|node| (*node, (0, 0))).collect();
        for placed in partitions {
            for node in &placed.nodes {
                let (replicas, bytes) = carried.entry(*node).or_default();
                *replicas += 1;
                *bytes = bytes.saturating_add(placed.bytes);
            }
        }
        let mut partitions: Vec<Partition> = partitions
            .iter()
            .map(|placed| Partition {
                id: placed.partition,
                nodes: placed.nodes.iter().copied().collect(),
                replication_factor: placed.replication_factor as usize,
                bytes: placed.bytes,
            })
            .collect();
        partitions.sort_by_key(|partition| partition.id);
        Self { nodes, partitions, carried, changes: Vec::new() }
    }

    fn takes_replicas(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|load| load.takes_replicas)
    }

    fn answers(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|load| load.live)
    }

    fn domain(&self, node: NodeId) -> Domain<'a> {
        self.nodes.get(&node).map_or(Domain::Node(node), |load| load.domain())
    }

    fn carried(&self, node: NodeId) -> (u32, u64) {
        self.carried.get(&node).copied().unwrap_or_default()
    }

    /// How many domains a partition spans without one of its nodes and with another one.
    fn domains(&self, at: usize, without: Option<NodeId>, with: Option<NodeId>) -> usize {
        let stays = self.partitions[at].nodes.iter().copied().filter(|node| Some(*node) != without);
        stays.chain(with).map(|node| self.domain(node)).collect::<BTreeSet<_>>().len()
    }

    /// The best node for another replica of a partition: the most domains, then nodes that answer, then the least load.
    fn target(&self, at: usize, without: Option<NodeId>) -> Option<NodeId> {
        let free = self.nodes.values().filter(|load| {
            load.takes_replicas && Some(load.node) != without && !self.partitions[at].nodes.contains(&load.node)
        });
        let key = |load: &&&NodeLoad| {
            let domains = self.domains(at, without, Some(load.node));
            (std::cmp::Reverse(domains), !load.live, self.carried(load.node), load.node)
        };
        free.min_by_key(key).map(|load| load.node)
    }

    /// The replica that is missed least: on a node that takes none, then in a domain that has another one, then on a node
    /// that does not answer, then where most are.
    fn superfluous(&self, at: usize) -> Option<NodeId> {
        let key = |node: &NodeId| {
            let live = self.nodes.get(node).is_some_and(|load| load.live);
            let domains = self.domains(at, Some(*node), None);
            (!self.takes_replicas(*node), domains, !live, self.carried(*node), *node)
        };
        self.partitions[at].nodes.iter().copied().max_by_key(key)
    }

    fn change(&mut self, at: usize, drop: Option<NodeId>, add: Option<NodeId>) {
        let partition = &mut self.partitions[at];
        if let Some(node) = drop {
            partition.nodes.remove(&node);
            let (replicas, bytes) = self.carried.entry(node).or_default();
            (*replicas, *bytes) = (replicas.saturating_sub(1), bytes.saturating_sub(partition.bytes));
        }
        if let Some(node) = add {
            partition.nodes.insert(node);
            let (replicas, bytes) = self.carried.entry(node).or_default();
            (*replicas, *bytes) = (*replicas + 1, bytes.saturating_add(partition.bytes));
        }
        self.changes.push(Change { partition: partition.id, add, drop });
    }

    /// As many replicas as there are to be, on nodes that take them.
    fn require(&mut self) {
        for at in 0..self.partitions.len() {
            while self.partitions[at].nodes.len() > self.partitions[at].replication_factor.max(1) {
                let drop = self.superfluous(at);
                self.change(at, drop, None);
            }
            let leaving: Vec<_> =
                self.partitions[at].nodes.iter().copied().filter(|node| !self.takes_replicas(*node)).collect();
            for node in leaving {
                let Some(add) = self.target(at, Some(node)) else { break };
                self.change(at, Some(node), Some(add));
            }
            while self.partitions[at].nodes.len() < self.partitions[at].replication_factor {
                let Some(add) = self.target(at, None) else { break };
                self.change(at, None, Some(add));
            }
        }
    }

    /// As many domains for each partition as there can be.
    fn spread(&mut self) {
        for at in 0..self.partitions.len() {
            loop {
                let now = self.domains(at, None, None);
                let nodes = self.partitions[at].nodes.iter().copied();
                let target = |drop| self.target(at, Some(drop)).filter(|add| self.answers(*add));
                let moves = nodes.filter_map(|drop| Some((drop, target(drop)?)));
                let key = |(drop, add): &(NodeId, NodeId)| {
                    let domains = self.domains(at, Some(*drop), Some(*add));
                    (domains, self.carried(*drop), std::cmp::Reverse((self.carried(*add), *drop)))
                };
                match moves.max_by_key(key) {
                    Some((drop, add)) if self.domains(at, Some(drop), Some(add)) > now => {
                        self.change(at, Some(drop), Some(add));
                    }
                    _ => break,
                }
            }
        }
    }

    /// The same number of replicas on all nodes, but for one, as far as the domains allow: each move takes one from a node
    /// that carries at least two more than the node it goes to, so their number is finite. Without racks some replica can
    /// always go from the fullest node to the emptiest: of the two, the one that carries more has one the other lacks.
    fn even(&mut self, changes_max: usize) {
        while self.changes.len() < changes_max
            && let Some((at, drop, add)) = self.next_even()
        {
            self.change(at, Some(drop), Some(add));
        }
    }

    fn next_even(&self) -> Option<(usize, NodeId, NodeId)> {
        let takes = |node: &&NodeId| self.takes_replicas(**node) && self.answers(**node);
        let mut ranked: Vec<_> = self.carried.keys().filter(takes).map(|node| (self.carried(*node), *node)).collect();
        ranked.sort_unstable();
        // The fullest first, and for each the emptiest first.
        for ((most, _), drop) in ranked.iter().rev() {
            for ((least, _), add) in &ranked {
                if *most < least + 2 {
                    break;
                }
                if let Some(at) = self.movable(*drop, *add) {
                    return Some((at, *drop, *add));
                }
            }
        }
        None
    }

    /// The partition that goes best from one node to another: it must not span fewer domains, and what makes their bytes most
    /// alike is best.
    fn movable(&self, drop: NodeId, add: NodeId) -> Option<usize> {
        let (from, to) = (self.carried(drop).1, self.carried(add).1);
        let fits = |at: &usize| {
            let partition = &self.partitions[*at];
            partition.nodes.contains(&drop)
                && !partition.nodes.contains(&add)
                && self.domains(*at, Some(drop), Some(add)) >= self.domains(*at, None, None)
        };
        let difference = |at: &usize| {
            let bytes = self.partitions[*at].bytes;
            (from.saturating_sub(bytes)).abs_diff(to.saturating_add(bytes))
        };
        (0..self.partitions.len()).filter(fits).min_by_key(|at| (difference(at), self.partitions[*at].id))
    }
}
