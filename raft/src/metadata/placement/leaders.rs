//! Which replica of each partition should lead.

use std::collections::{BTreeMap, VecDeque};

use quorate_cluster_config::NodeId;

use super::{NodeLoad, Placed};

/// For each partition the node that should lead it, or `None` where no replica's node may: as evenly as can be, with as few
/// changes of what is preferred now as evenness allows. A node that takes no leaders, or does not answer, leads nothing.
///
/// Leaders are shifted along shortest paths from a node that leads most to one that leads at least two fewer (over
/// partitions that the next node on the path has a replica of), until there is none: that is the optimum, as with any
/// bipartite assignment improved along alternating paths.
#[must_use]
pub fn prefer_leaders(partitions: &[Placed], nodes: &[NodeLoad]) -> Vec<Option<NodeId>> {
    let mut leads: BTreeMap<NodeId, u32> =
        nodes.iter().filter(|load| load.takes_leaders && load.live).map(|load| (load.node, 0)).collect();
    let mut leaders: Vec<Option<NodeId>> = Vec::with_capacity(partitions.len());
    for placed in partitions {
        // What leads now stays, if it may; otherwise the one that leads least so far.
        let first = placed.nodes.first().filter(|node| leads.contains_key(node));
        let able = || placed.nodes.iter().filter_map(|node| Some((*leads.get(node)?, *node))).min();
        let leader = first.copied().or_else(|| able().map(|(_, node)| node));
        if let Some(count) = leader.and_then(|node| leads.get_mut(&node)) {
            *count += 1;
        }
        leaders.push(leader);
    }
    while let Some(path) = shorter(partitions, &leaders, &leads) {
        for (at, to) in path {
            if let Some(count) = leaders[at].and_then(|node| leads.get_mut(&node)) {
                *count -= 1;
            }
            leaders[at] = Some(to);
            *leads.entry(to).or_default() += 1;
        }
    }
    leaders
}

/// A path of shifts (partition, its new leader) that takes one from a node and gives it to one that leads at least two fewer.
fn shorter(
    partitions: &[Placed],
    leaders: &[Option<NodeId>],
    leads: &BTreeMap<NodeId, u32>,
) -> Option<Vec<(usize, NodeId)>> {
    let mut led_by: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (at, leader) in leaders.iter().enumerate() {
        if let Some(leader) = leader {
            led_by.entry(*leader).or_default().push(at);
        }
    }
    let mut fullest: Vec<_> = leads.iter().map(|(node, count)| (*count, *node)).collect();
    fullest.sort_unstable_by_key(|(count, node)| (std::cmp::Reverse(*count), *node));
    for (most, start) in fullest {
        // Breadth first: how each node was reached, by which partition from which node.
        let mut reached: BTreeMap<NodeId, Option<(usize, NodeId)>> = BTreeMap::from([(start, None)]);
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if leads.get(&node).is_some_and(|count| count + 2 <= most) {
                let mut path = Vec::new();
                let mut to = node;
                while let Some(Some((at, from))) = reached.get(&to) {
                    path.push((*at, to));
                    to = *from;
                }
                return Some(path);
            }
            for at in led_by.get(&node).into_iter().flatten() {
                for next in partitions[*at].nodes.iter().filter(|next| leads.contains_key(next)) {
                    if !reached.contains_key(next) {
                        reached.insert(*next, Some((*at, node)));
                        queue.push_back(*next);
                    }
                }
            }
        }
    }
    None
}
