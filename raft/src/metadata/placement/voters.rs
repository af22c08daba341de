//! Which nodes decide about the metadata.

use std::collections::{BTreeMap, BTreeSet};

use quorate_cluster_config::{NodeId, limits};

use super::{Domain, NodeLoad};

/// The nodes whose replicas of the metadata group should vote: an odd number up to
/// [`METADATA_VOTERS_MAX`](limits::METADATA_VOTERS_MAX) (of two nodes both), in as many failure domains as there are, and
/// those that vote already before others. Nodes that do not answer are taken last, those that are being removed never.
#[must_use]
pub fn choose_voters(nodes: &[NodeLoad], voting: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut left: Vec<&NodeLoad> = nodes.iter().filter(|load| load.takes_replicas).collect();
    let count = match left.len().min(limits::METADATA_VOTERS_MAX as usize) {
        few @ 0..=2 => few,
        many => many - (many + 1) % 2,
    };
    let mut chosen = BTreeSet::new();
    let mut taken: BTreeMap<Domain<'_>, u32> = BTreeMap::new();
    while chosen.len() < count {
        let key = |load: &&NodeLoad| {
            let neighbours = taken.get(&load.domain()).copied().unwrap_or(0);
            (!load.live, neighbours, !voting.contains(&load.node), load.node)
        };
        let Some(best) = (0..left.len()).min_by_key(|at| key(&left[*at])) else { break };
        let load = left.swap_remove(best);
        *taken.entry(load.domain()).or_default() += 1;
        chosen.insert(load.node);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(racks: &str) -> Vec<NodeLoad> {
        // A letter a node: its rack; `-` for none.
        let node = |(id, rack): (u64, char)| NodeLoad {
            node: NodeId(id),
            rack: (rack != '-').then(|| rack.to_string()),
            live: true,
            takes_replicas: true,
            takes_leaders: true,
            replicas: 0,
            leaders: 0,
        };
        (1..).zip(racks.chars()).map(node).collect()
    }

    fn choose(nodes: &[NodeLoad], voting: &[u64]) -> Vec<u64> {
        let voting = voting.iter().copied().map(NodeId).collect();
        choose_voters(nodes, &voting).into_iter().map(|node| node.0).collect()
    }

    #[test]
    fn an_odd_number_up_to_five_votes() {
        let counts: Vec<usize> = (1..=9).map(|count| choose(&nodes(&"-".repeat(count)), &[]).len()).collect();
        assert_eq!(counts, [1, 2, 3, 3, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn those_that_vote_stay() {
        assert_eq!(choose(&nodes("------"), &[2, 4, 5, 6, 3]), [2, 3, 4, 5, 6]);
        assert_eq!(choose(&nodes("----"), &[2, 3, 4]), [2, 3, 4]);
    }

    #[test]
    fn they_are_spread_over_racks() {
        assert_eq!(choose(&nodes("aaabc"), &[1, 2, 3]), [1, 2, 3, 4, 5]);
        assert_eq!(choose(&nodes("aabc"), &[1, 2, 3]), [1, 3, 4]);
        assert_eq!(choose(&nodes("aaaaabb"), &[1, 2, 3, 4, 5]), [1, 2, 3, 6, 7]);
    }

    #[test]
    fn a_node_that_does_not_answer_or_leaves_gives_way() {
        let mut four = nodes("----");
        four[1].live = false;
        assert_eq!(choose(&four, &[1, 2, 3]), [1, 3, 4]);
        assert_eq!(choose(&four[..3], &[1, 2, 3]), [1, 2, 3], "there is no other");
        four[0].takes_replicas = false;
        assert_eq!(choose(&four, &[1, 3, 4]), [2, 3, 4]);
    }
}
