//! Where the replicas of a new topic go: a pure function.

use std::cmp::Reverse;

use quorate_cluster_config::NodeId;

/// A node and what it carries already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// The node.
    pub node: NodeId,
    /// Replicas placed on it.
    pub replicas: u32,
    /// Partitions whose preferred leader it is.
    pub leaders: u32,
    /// Whether it answered lately.
    pub live: bool,
}

/// Places `partitions` × `replication_factor` replicas. Every inner list names distinct nodes, the preferred leader
/// first. Replicas go where fewest are, leaders where fewest lead; nodes that do not answer are taken last, and never
/// preferred as leader while another replica's node answers. Ties go by node id, so the result is deterministic.
///
/// Returns `None` if there are fewer nodes than replicas of one partition.
#[must_use]
pub fn place(partitions: u32, replication_factor: u32, nodes: &[NodeLoad]) -> Option<Vec<Vec<NodeId>>> {
    let replicas = replication_factor as usize;
    if replicas == 0 || replicas > nodes.len() {
        return None;
    }
    let mut nodes = nodes.to_vec();
    let mut place_one = || {
        // The first will lead. The others are those that lead most already: they leave the rest to lead later.
        nodes.sort_by_key(|load| (!load.live, load.replicas, load.leaders, load.node));
        nodes[1..].sort_by_key(|load| (!load.live, load.replicas, Reverse(load.leaders), load.node));
        let chosen = &mut nodes[..replicas];
        chosen.sort_by_key(|load| (!load.live, load.leaders, load.replicas, load.node));
        chosen.iter_mut().for_each(|load| load.replicas += 1);
        chosen[0].leaders += 1;
        chosen.iter().map(|load| load.node).collect()
    };
    Some((0..partitions).map(|_| place_one()).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn idle(count: u64) -> Vec<NodeLoad> {
        (1..=count).map(|id| NodeLoad { node: NodeId(id), replicas: 0, leaders: 0, live: true }).collect()
    }

    #[test]
    fn three_partitions_on_three_nodes_have_three_leaders() {
        let placed = place(3, 3, &idle(3)).unwrap();
        let leaders: Vec<u64> = placed.iter().map(|replicas| replicas[0].0).collect();
        assert_eq!(leaders, [1, 2, 3]);
    }

    #[test]
    fn a_dead_node_gets_replicas_but_is_not_preferred() {
        let mut nodes = idle(3);
        nodes[0].live = false;
        let placed = place(4, 3, &nodes).unwrap();
        assert!(placed.iter().all(|replicas| replicas.len() == 3 && replicas[0] != NodeId(1)));
    }

    #[test]
    fn too_few_nodes_give_nothing() {
        assert_eq!(place(1, 4, &idle(3)), None);
    }

    proptest! {
        #[test]
        fn live_and_idle_nodes_are_loaded_evenly(partitions in 1u32..60, factor in 1u32..5, nodes in 5u64..9) {
            let placed = place(partitions, factor, &idle(nodes)).unwrap();
            let mut replicas = vec![0u32; nodes as usize + 1];
            let mut leaders = vec![0u32; nodes as usize + 1];
            for partition in &placed {
                prop_assert_eq!(partition.iter().collect::<BTreeSet<_>>().len(), factor as usize);
                partition.iter().for_each(|node| replicas[node.0 as usize] += 1);
                leaders[partition[0].0 as usize] += 1;
            }
            let spread = |counts: &[u32]| counts[1..].iter().max().unwrap() - counts[1..].iter().min().unwrap();
            prop_assert!(spread(&replicas) <= 1, "replicas {:?}", replicas);
            prop_assert!(spread(&leaders) <= 2, "leaders {:?}", leaders);
        }
    }
}
