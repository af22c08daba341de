#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::subsequence};
use quorate_cluster_config::TopicId;

use super::{plan::BYTES_APART_SHARE, *};

fn node(id: u64) -> NodeLoad {
    NodeLoad {
        node: NodeId(id),
        rack: None,
        live: true,
        takes_replicas: true,
        takes_leaders: true,
        replicas: 0,
        leaders: 0,
    }
}

fn idle(count: u64) -> Vec<NodeLoad> {
    (1..=count).map(node).collect()
}

fn in_racks(racks: &[&str]) -> Vec<NodeLoad> {
    (1..).zip(racks).map(|(id, rack)| NodeLoad { rack: Some((*rack).to_owned()), ..node(id) }).collect()
}

fn placed(index: u32, nodes: &[u64], replication_factor: u32) -> Placed {
    let nodes = nodes.iter().map(|id| NodeId(*id)).collect();
    let partition = PartitionId { topic: TopicId(1), index };
    Placed { partition, nodes, replication_factor, bytes: 100 + u64::from(index) }
}

/// The partitions after the changes.
fn changed(partitions: &[Placed], changes: &[Change]) -> Vec<Placed> {
    let mut partitions = partitions.to_vec();
    for change in changes {
        let placed = partitions.iter_mut().find(|placed| placed.partition == change.partition).unwrap();
        if let Some(drop) = change.drop {
            assert!(placed.nodes.contains(&drop), "{change:?} drops what is not there");
            placed.nodes.retain(|node| *node != drop);
        }
        if let Some(add) = change.add {
            assert!(!placed.nodes.contains(&add), "{change:?} would put two replicas on one node");
            placed.nodes.push(add);
        }
        assert!(!placed.nodes.is_empty());
    }
    partitions
}

fn counts(partitions: &[Placed], nodes: &[NodeLoad]) -> BTreeMap<NodeId, usize> {
    let mut counts: BTreeMap<NodeId, usize> =
        nodes.iter().filter(|load| load.takes_replicas).map(|load| (load.node, 0)).collect();
    for node in partitions.iter().flat_map(|placed| &placed.nodes) {
        *counts.entry(*node).or_default() += 1;
    }
    counts
}

fn spread(counts: &BTreeMap<NodeId, usize>) -> usize {
    counts.values().max().unwrap() - counts.values().min().unwrap()
}

fn domains(placed: &Placed, nodes: &[NodeLoad]) -> usize {
    let of = |node: &NodeId| nodes.iter().find(|load| load.node == *node).unwrap().domain();
    placed.nodes.iter().map(of).collect::<BTreeSet<_>>().len()
}

/// The fewest moves after which no two nodes differ by more than one: the fullest nodes keep one more than the others.
fn fewest_moves(counts: &BTreeMap<NodeId, usize>) -> usize {
    let total: usize = counts.values().sum();
    let mut sorted: Vec<usize> = counts.values().copied().collect();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let (each, more) = (total / sorted.len(), total % sorted.len());
    sorted.iter().enumerate().map(|(rank, count)| count.saturating_sub(each + usize::from(rank < more))).sum()
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
fn a_node_that_is_drained_gets_replicas_and_one_that_leaves_gets_none() {
    let mut nodes = idle(4);
    nodes[0].takes_leaders = false;
    nodes[1].takes_replicas = false;
    let placed = place(4, 3, &nodes).unwrap();
    assert!(placed.iter().all(|replicas| replicas[0] != NodeId(1) && !replicas.contains(&NodeId(2))));
    assert_eq!(place(1, 4, &nodes), None);
}

#[test]
fn too_few_nodes_give_nothing() {
    assert_eq!((place(1, 4, &idle(3)), place(1, 0, &idle(3))), (None, None));
}

#[test]
fn new_replicas_span_as_many_racks_as_there_are() {
    let nodes = in_racks(&["a", "a", "a", "b", "c"]);
    for replicas in place(20, 3, &nodes).unwrap() {
        let racks: BTreeSet<_> = replicas.iter().map(|id| &nodes[id.0 as usize - 1].rack).collect();
        assert_eq!(racks.len(), 3, "{replicas:?}");
    }
}

#[test]
fn a_new_node_gets_its_fair_share_and_only_it_gets_any() {
    let partitions: Vec<_> = (0..200).map(|index| placed(index, &[1, 2, 3], 3)).collect();
    let changes = plan(&partitions, &idle(4), Goal::Even);
    assert_eq!(changes.len(), 150);
    assert!(changes.iter().all(|change| change.add == Some(NodeId(4)) && change.drop.is_some()));
    assert_eq!(counts(&changed(&partitions, &changes), &idle(4)).into_values().collect::<Vec<_>>(), [150; 4]);
    assert_eq!(plan(&partitions, &idle(4), Goal::Required), [], "nothing has to move");
}

#[test]
fn nothing_is_moved_for_evenness_to_a_node_that_does_not_answer() {
    let partitions: Vec<_> = (0..30).map(|index| placed(index, &[1, 2, 3], 3)).collect();
    let mut nodes = idle(4);
    nodes[3].live = false;
    assert_eq!(plan(&partitions, &nodes, Goal::Even), []);
    let mut nodes = in_racks(&["a", "a", "b"]);
    nodes[2].live = false;
    assert_eq!(plan(&[placed(0, &[1, 2], 2)], &nodes, Goal::Even), []);
}

#[test]
fn a_node_that_leaves_keeps_nothing_if_the_others_can_take_it() {
    let partitions: Vec<_> = (0..30).map(|index| placed(index, &[1, 2, 3], 3)).collect();
    let mut nodes = idle(4);
    nodes[0].takes_replicas = false;
    let after = changed(&partitions, &plan(&partitions, &nodes, Goal::Required));
    assert!(after.iter().all(|placed| placed.nodes.len() == 3 && !placed.nodes.contains(&NodeId(1))));
    let stuck = plan(&partitions, &nodes[..3], Goal::Even);
    assert_eq!(stuck, [], "two nodes cannot carry three replicas: nothing is given up");
}

#[test]
fn the_replication_factor_is_followed_both_ways() {
    let more = plan(&[placed(0, &[1, 2], 3)], &idle(3), Goal::Required);
    assert_eq!(more, [Change { partition: placed(0, &[], 3).partition, add: Some(NodeId(3)), drop: None }]);
    let mut nodes = in_racks(&["a", "a", "b"]);
    nodes[1].live = false;
    let less = plan(&[placed(0, &[1, 2, 3], 2)], &nodes, Goal::Required);
    assert_eq!(less[0].drop, Some(NodeId(2)), "one of the two in a rack, the one that does not answer");
}

#[test]
fn a_partition_within_one_rack_is_spread_over_all() {
    let nodes = in_racks(&["a", "a", "a", "b", "c"]);
    let partitions = [placed(0, &[1, 2, 3], 3)];
    let changes = plan(&partitions, &nodes, Goal::Even);
    assert_eq!((changes.len(), domains(&changed(&partitions, &changes)[0], &nodes)), (2, 3));
}

#[test]
fn bytes_are_evened_where_the_numbers_of_replicas_allow() {
    let partitions: Vec<_> =
        (0..4).map(|index| Placed { bytes: [10, 1_000, 20, 30][index as usize], ..placed(index, &[1], 1) }).collect();
    let after = changed(&partitions, &plan(&partitions, &idle(2), Goal::Even));
    let bytes = |id| after.iter().filter(|placed| placed.nodes == [NodeId(id)]).map(|placed| placed.bytes).sum::<u64>();
    assert_eq!(counts(&after, &idle(2)).into_values().collect::<Vec<_>>(), [2, 2]);
    assert_eq!(bytes(1).max(bytes(2)), 1_010, "the large one with the smallest");
}

const GIB: u64 = 1 << 30;

fn bytes(partitions: &[Placed]) -> BTreeMap<NodeId, u64> {
    let mut bytes = BTreeMap::new();
    for placed in partitions {
        placed.nodes.iter().for_each(|node| *bytes.entry(*node).or_default() += placed.bytes);
    }
    bytes
}

#[test]
fn large_partitions_change_places_with_small_ones_until_nodes_carry_about_the_same() {
    // All large ones of one topic are on nodes 1 to 3, all small ones of another on nodes 4 to 6.
    let large = (0..30).map(|index| Placed { bytes: 10 * GIB, ..placed(index, &[1, 2, 3], 3) });
    let small = (30..60).map(|index| Placed { bytes: GIB / 10, ..placed(index, &[4, 5, 6], 3) });
    let partitions: Vec<_> = large.chain(small).collect();
    let changes = plan(&partitions, &idle(6), Goal::Even);
    let after = changed(&partitions, &changes);
    assert_eq!(spread(&counts(&after, &idle(6))), 0, "the numbers stay as they are");
    let bytes = bytes(&after);
    let (most, least) = (bytes.values().max().unwrap(), bytes.values().min().unwrap());
    assert!(most - least <= 151 * GIB / BYTES_APART_SHARE, "{bytes:?}");
    assert!(changes.len() <= 2 * 3 * 15, "no more than half of the large ones of each node move: {}", changes.len());
    assert_eq!(plan(&after, &idle(6), Goal::Even), []);
    // What differs by little is not worth a move.
    let alike: Vec<_> = (0..30).map(|index| Placed { bytes: 200 << 20, ..placed(index, &[1], 1) }).collect();
    let alike = [alike, vec![placed(30, &[2], 1)]].concat();
    let once = changed(&alike, &plan(&alike, &idle(2), Goal::Even));
    assert_eq!(plan(&once, &idle(2), Goal::Even), []);
}

#[test]
fn a_drained_node_leads_nothing_and_what_leads_well_stays() {
    let partitions: Vec<_> = (0..6).map(|index| placed(index, &[1, 2, 3], 3)).collect();
    let mut nodes = idle(3);
    nodes[0].takes_leaders = false;
    let leaders = prefer_leaders(&partitions, &nodes);
    assert_eq!(leaders.iter().filter(|leader| **leader == Some(NodeId(2))).count(), 3);
    assert_eq!(leaders.iter().filter(|leader| **leader == Some(NodeId(3))).count(), 3);
    let even: Vec<_> = [[1, 2, 3], [2, 3, 1], [3, 1, 2]].iter().map(|nodes| placed(0, nodes, 3)).collect();
    assert_eq!(prefer_leaders(&even, &idle(3)), [1, 2, 3].map(|id| Some(NodeId(id))));
    nodes.iter_mut().for_each(|load| load.live = false);
    assert_eq!(prefer_leaders(&partitions[..1], &nodes), [None]);
}

/// Partitions placed anyhow on nodes 1 to `nodes`.
fn anyhow(nodes: u64) -> impl Strategy<Value = Vec<Placed>> {
    let ids: Vec<u64> = (1..=nodes).collect();
    let one = (1..=nodes.min(4) as usize).prop_flat_map(move |factor| (subsequence(ids.clone(), factor), 0u64..1_000));
    proptest::collection::vec(one, 1..40).prop_map(|all| {
        let placed = |(index, (nodes, bytes)): (u32, (Vec<u64>, u64))| Placed {
            bytes,
            ..placed(index, &nodes, nodes.len() as u32)
        };
        (0..).zip(all).map(placed).collect()
    })
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

    #[test]
    fn without_racks_all_nodes_carry_the_same_after_the_fewest_moves(partitions in anyhow(6), more in 0u64..3) {
        let nodes = idle(6 + more);
        let changes = plan(&partitions, &nodes, Goal::Even);
        prop_assert_eq!(changes.len(), fewest_moves(&counts(&partitions, &nodes)));
        let after = changed(&partitions, &changes);
        prop_assert!(spread(&counts(&after, &nodes)) <= 1);
        prop_assert_eq!(plan(&after, &nodes, Goal::Even), []);
    }

    #[test]
    fn evening_bytes_keeps_numbers_and_racks_and_leaves_nodes_no_further_apart(
        mut partitions in anyhow(7),
        racks in proptest::collection::vec(0u8..4, 7),
    ) {
        let names: Vec<String> = racks.iter().map(u8::to_string).collect();
        let nodes = in_racks(&names.iter().map(String::as_str).collect::<Vec<_>>());
        // Without sizes first: what is left to do then is about bytes alone.
        let sizes: Vec<u64> = partitions.iter().map(|placed| placed.bytes * GIB / 10).collect();
        partitions.iter_mut().for_each(|placed| placed.bytes = 0);
        let mut partitions = changed(&partitions, &plan(&partitions, &nodes, Goal::Even));
        partitions.iter_mut().zip(sizes).for_each(|(placed, size)| placed.bytes = size);
        let changes = plan(&partitions, &nodes, Goal::Even);
        let after = changed(&partitions, &changes);
        prop_assert_eq!(counts(&after, &nodes), counts(&partitions, &nodes));
        for (before, after) in partitions.iter().zip(&after) {
            prop_assert!(domains(after, &nodes) >= domains(before, &nodes));
        }
        let squares = |partitions: &[Placed]| bytes(partitions).values().map(|b| u128::from(*b).pow(2)).sum::<u128>();
        prop_assert!(changes.is_empty() || squares(&after) < squares(&partitions));
    }

    #[test]
    fn nodes_that_leave_are_left_and_racks_are_spanned(
        partitions in anyhow(7),
        leaving in 1u64..8,
        racks in proptest::collection::vec(0u8..4, 7),
    ) {
        let names: Vec<String> = racks.iter().map(u8::to_string).collect();
        let mut nodes = in_racks(&names.iter().map(String::as_str).collect::<Vec<_>>());
        nodes[leaving as usize - 1].takes_replicas = false;
        let changes = plan(&partitions, &nodes, Goal::Even);
        let mut shuffled: Vec<_> = partitions.iter().rev().cloned().collect();
        shuffled.iter_mut().for_each(|placed| placed.nodes.reverse());
        prop_assert_eq!(&plan(&shuffled, &nodes.iter().rev().cloned().collect::<Vec<_>>(), Goal::Even), &changes);
        let there_are = nodes.iter().filter(|load| load.takes_replicas).map(NodeLoad::domain).collect::<BTreeSet<_>>().len();
        for (before, after) in partitions.iter().zip(changed(&partitions, &changes)) {
            prop_assert_eq!(before.nodes.len(), after.nodes.len());
            prop_assert!(!after.nodes.contains(&NodeId(leaving)));
            prop_assert_eq!(domains(&after, &nodes), there_are.min(after.nodes.len()));
        }
    }

    #[test]
    fn leaders_are_as_even_as_the_replicas_allow(partitions in anyhow(4)) {
        let partitions = &partitions[..partitions.len().min(6)];
        let nodes = idle(4);
        let unevenness = |leaders: &[NodeId]| {
            let mut counts = [0u32; 5];
            leaders.iter().for_each(|leader| counts[leader.0 as usize] += 1);
            counts.iter().map(|count| count * count).sum::<u32>()
        };
        let chosen: Vec<NodeId> = prefer_leaders(partitions, &nodes).into_iter().map(Option::unwrap).collect();
        prop_assert!(partitions.iter().zip(&chosen).all(|(placed, leader)| placed.nodes.contains(leader)));
        let mut all: Vec<Vec<NodeId>> = vec![Vec::new()];
        for placed in partitions {
            let with = |leaders: &Vec<NodeId>| {
                let leaders = leaders.clone();
                placed.nodes.iter().map(move |node| [leaders.as_slice(), &[*node]].concat()).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(with).collect();
        }
        prop_assert_eq!(unevenness(&chosen), all.iter().map(|leaders| unevenness(leaders)).min().unwrap());
    }
}
