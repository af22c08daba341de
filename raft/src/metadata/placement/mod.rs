//! Where replicas go: pure functions of what the nodes carry.
//!
//! *Spread* comes first: no two replicas of a partition on one node, and as many failure domains (racks) for a partition as
//! it has replicas, as far as there are that many. Then *evenness*: of replicas, of preferred leaders, of bytes. Then *few
//! moves*. Ties go by id, so that every result is deterministic.

mod leaders;
mod plan;
mod voters;

use quorate_cluster_config::{NodeId, PartitionId};

pub use leaders::prefer_leaders;
pub use plan::{Change, Goal, plan, plan_at_most};
pub use voters::choose_voters;

/// A node that may carry replicas, and what it carries already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// The node.
    pub node: NodeId,
    /// Its failure domain. Nodes without one are each a domain of their own.
    pub rack: Option<String>,
    /// Whether it answered lately.
    pub live: bool,
    /// Whether it is to carry replicas: nodes that are being removed are not.
    pub takes_replicas: bool,
    /// Whether it is to lead: nodes that are being drained are not.
    pub takes_leaders: bool,
    /// Replicas placed on it.
    pub replicas: u32,
    /// Partitions whose preferred leader it is.
    pub leaders: u32,
}

impl NodeLoad {
    /// What tells its failure domain from others.
    fn domain(&self) -> Domain<'_> {
        self.rack.as_deref().map_or(Domain::Node(self.node), Domain::Rack)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Domain<'a> {
    Rack(&'a str),
    Node(NodeId),
}

/// A partition as it is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: PartitionId,
    /// The nodes of its replicas, the preferred leader first.
    pub nodes: Vec<NodeId>,
    /// How many replicas it is to have.
    pub replication_factor: u32,
    /// The size of a replica, bytes, as last heard.
    pub bytes: u64,
}

/// Places `partitions` × `replication_factor` replicas of a new topic. Every inner list names distinct nodes, the preferred
/// leader first. Replicas go where fewest are, leaders where fewest lead; nodes that do not answer are taken last, and never
/// preferred as leader while another replica's node answers.
///
/// Returns `None` if there are fewer nodes that take replicas than replicas of one partition.
#[must_use]
pub fn place(partitions: u32, replication_factor: u32, nodes: &[NodeLoad]) -> Option<Vec<Vec<NodeId>>> {
    let replicas = replication_factor as usize;
    let mut nodes: Vec<NodeLoad> = nodes.iter().filter(|load| load.takes_replicas).cloned().collect();
    if replicas == 0 || replicas > nodes.len() {
        return None;
    }
    let mut place_one = || {
        let mut chosen: Vec<usize> = Vec::with_capacity(replicas);
        while chosen.len() < replicas {
            // The first will lead. The others are those that lead most already: they leave the rest to lead later.
            let first = chosen.is_empty();
            let key = |load: &NodeLoad| {
                let taken = chosen.iter().any(|at| nodes[*at].domain() == load.domain());
                let leaders = if first { i64::from(load.leaders) } else { -i64::from(load.leaders) };
                (!load.live, taken, load.replicas, leaders, load.node)
            };
            let best = (0..nodes.len()).filter(|at| !chosen.contains(at)).min_by_key(|at| key(&nodes[*at]));
            // There are at least as many nodes as replicas.
            chosen.extend(best);
        }
        chosen.sort_by_key(|at| {
            let load = &nodes[*at];
            (!load.live, !load.takes_leaders, load.leaders, load.replicas, load.node)
        });
        chosen.iter().for_each(|at| nodes[*at].replicas += 1);
        nodes[chosen[0]].leaders += 1;
        chosen.iter().map(|at| nodes[*at].node).collect()
    };
    Some((0..partitions).map(|_| place_one()).collect())
}

#[cfg(test)]
mod tests;
