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
    /// replicas and about the same bytes. Nothing is moved for that to a node that does not answer.
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
        planner.even_bytes(changes_max);
    }
    planner.changes
}

/// Nodes whose bytes differ by no more than this are alike, or than this part of what a node carries on the average.
const BYTES_APART_MIN: u64 = 1 << 30;
pub(super) const BYTES_APART_SHARE: u64 = 5;
/// Partitions of a node that are looked at for a swap: those whose sizes matter most.
const SWAPS_LOOKED_AT: usize = 256;

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

    /// About the same bytes on all nodes: two partitions change places between the node that carries most and the one that
    /// carries least, so that the number of replicas stays as it is. Each swap brings the two closer by a hundredth of what a
    /// node carries at least, and does not turn them about, so that the sum of the squares of all bytes falls by no less than a
    /// part of that each time, and that ends. Two large ones do not change places for little.
    fn even_bytes(&mut self, changes_max: usize) {
        while self.changes.len() + 1 < changes_max
            && let Some((from, to, there, back)) = self.next_swap()
        {
            self.change(there, Some(from), Some(to));
            self.change(back, Some(to), Some(from));
        }
    }

    fn next_swap(&self) -> Option<(NodeId, NodeId, usize, usize)> {
        let takes = |node: &&NodeId| self.takes_replicas(**node) && self.answers(**node);
        let nodes: Vec<(u64, NodeId)> =
            self.carried.keys().filter(takes).map(|node| (self.carried(*node).1, *node)).collect();
        let ((most, from), (least, to)) = (nodes.iter().max()?, nodes.iter().min()?);
        let average = nodes.iter().map(|(bytes, _)| bytes / nodes.len() as u64).sum::<u64>();
        let apart = most - least;
        if apart <= BYTES_APART_MIN.max(average / BYTES_APART_SHARE) {
            return None;
        }
        let mut there = self.going(*from, *to);
        let mut back = self.going(*to, *from);
        there.sort_unstable_by_key(|at| (std::cmp::Reverse(self.partitions[*at].bytes), *at));
        back.sort_unstable_by_key(|at| (self.partitions[*at].bytes, *at));
        there.truncate(SWAPS_LOOKED_AT);
        back.truncate(SWAPS_LOOKED_AT);
        let gain_min = (BYTES_APART_MIN / 16).max(average / 100);
        let pairs = there.iter().flat_map(|there| back.iter().map(|back| (*there, *back)));
        let left = |(there, back): &(usize, usize)| {
            let gained = self.partitions[*there].bytes.checked_sub(self.partitions[*back].bytes)?;
            let is_worth_it = gained >= gain_min && self.bytes_of((*there, *back)) <= gained.saturating_mul(4);
            (is_worth_it && gained <= apart / 4 * 3).then(|| apart.abs_diff(gained.saturating_mul(2)))
        };
        // Of those that bring about as much, the one that moves least.
        let best =
            pairs.filter_map(|pair| Some((left(&pair)? / (BYTES_APART_MIN / 4), self.bytes_of(pair), pair))).min()?;
        let (there, back) = best.2;
        Some((*from, *to, there, back))
    }

    fn bytes_of(&self, (there, back): (usize, usize)) -> u64 {
        self.partitions[there].bytes.saturating_add(self.partitions[back].bytes)
    }

    /// The partitions that may go from one node to another without spanning fewer domains.
    fn going(&self, from: NodeId, to: NodeId) -> Vec<usize> {
        let fits = |at: &usize| {
            let nodes = &self.partitions[*at].nodes;
            let is_between = nodes.contains(&from) && !nodes.contains(&to);
            is_between && self.domains(*at, Some(from), Some(to)) >= self.domains(*at, None, None)
        };
        (0..self.partitions.len()).filter(fits).collect()
    }

    /// The partition that goes best from one node to another: it must not span fewer domains, and what makes their bytes most
    /// alike is best.
    fn movable(&self, drop: NodeId, add: NodeId) -> Option<usize> {
        let (from, to) = (self.carried(drop).1, self.carried(add).1);
        let difference = |at: &usize| {
            let bytes = self.partitions[*at].bytes;
            (from.saturating_sub(bytes)).abs_diff(to.saturating_add(bytes))
        };
        self.going(drop, add).into_iter().min_by_key(|at| (difference(at), self.partitions[*at].id))
    }
}
