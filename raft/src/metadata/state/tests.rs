#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod moves;
mod nodes;

use quorate_cluster_config::{Address, limits};

use super::*;
use crate::metadata::command::Join;

fn place_of(port: u64, rack: Option<&str>) -> NodePlace {
    let address = |base: u64| Address::parse(&format!("127.0.0.1:{}", base + port)).unwrap();
    let rack = rack.map(|rack| Name::parse(rack).unwrap());
    NodePlace { client_address: address(7100), peer_address: address(7200), rack }
}

fn register(state: &mut MetadataState, id: u64, rack: Option<&str>) -> MetadataReply {
    let place = place_of(id, rack);
    state
        .apply(
            &MetadataCommand::RegisterNode { node: NodeId(id), metadata_replica: ReplicaId(id), place, levels: LEVELS },
            id,
        )
        .0
}

fn three_nodes() -> MetadataState {
    let mut state = MetadataState::default();
    state.reserve([1, 2, 3].map(|id| (ReplicaId(id), NodeId(id))).into_iter());
    for id in 1..=3 {
        register(&mut state, id, None);
    }
    state
}

/// Adds a node; returns its id.
fn join(state: &mut MetadataState, token: u128) -> (NodeId, ReplicaId) {
    let place = place_of(50, None);
    match state.apply(&MetadataCommand::AddNode(Join { token, place, levels: LEVELS }), 20).0 {
        MetadataReply::NodeAdded { node, metadata_replica } => (node, metadata_replica),
        reply => panic!("{reply:?}"),
    }
}

fn create(state: &mut MetadataState, name: &str, factor: u32) -> MetadataReply {
    let config = TopicConfig { partitions: 3, replication_factor: factor, ..TopicConfig::default() };
    let name = TopicName::parse(name).unwrap();
    state.apply(&MetadataCommand::CreateTopic { name, config, live: vec![NodeId(1), NodeId(2), NodeId(3)] }, 9).0
}

#[test]
fn ids_are_never_given_twice() {
    let mut state = three_nodes();
    let MetadataReply::TopicCreated { topic: first } = create(&mut state, "orders", 3) else { panic!("created") };
    let replicas: BTreeSet<_> = state.topic(first).unwrap().partitions.iter().flatten().map(|a| a.replica).collect();
    assert_eq!(replicas, (4..13).map(ReplicaId).collect(), "beyond the metadata replicas, all different");
    let name = TopicName::parse("orders").unwrap();
    state.apply(&MetadataCommand::DeleteTopic { topic: first, name }, 10);
    assert!(state.was_deleted(first) && replicas.iter().all(|replica| state.tombstone(*replica).is_some()));
    let MetadataReply::TopicCreated { topic: second } = create(&mut state, "orders", 3) else { panic!("created") };
    assert_ne!(first, second);
    let again: BTreeSet<_> = state.topic(second).unwrap().partitions.iter().flatten().map(|a| a.replica).collect();
    assert!(again.is_disjoint(&replicas));
    assert!(!state.was_deleted(second) && !state.was_deleted(TopicId(second.0 + 1)));
}

#[test]
fn impossible_topics_are_refused_and_change_nothing() {
    let mut state = three_nodes();
    create(&mut state, "orders", 3);
    let before = state.clone();
    assert!(matches!(create(&mut state, "orders", 3), MetadataReply::Refused(MetadataRefusal::TopicExists(_))));
    assert!(matches!(
        create(&mut state, "payments", 4),
        MetadataReply::Refused(MetadataRefusal::NotEnoughNodes { wanted: 4, nodes: 3 })
    ));
    assert_eq!(state, before);
}

#[test]
fn the_rows_rebuild_the_state() {
    let mut state = MetadataState::default();
    let mut rebuilt = MetadataState::default();
    rebuilt.load(state.reserve([(ReplicaId(5), NodeId(1))].into_iter()));
    let config = TopicConfig { replication_factor: 1, ..TopicConfig::default() };
    for (index, command) in [
        MetadataCommand::RegisterNode {
            node: NodeId(1),
            metadata_replica: ReplicaId(5),
            place: place_of(1, Some("a")),
            levels: LEVELS,
        },
        MetadataCommand::AddNode(Join { token: 7, place: place_of(2, None), levels: LEVELS }),
        MetadataCommand::AddNode(Join { token: 8, place: place_of(3, None), levels: LEVELS }),
        MetadataCommand::SetLeaving { node: NodeId(3), leaving: Some(Leaving::Dead) },
        MetadataCommand::ForgetNode { node: NodeId(3) },
        MetadataCommand::SetEvening { evening: true },
        MetadataCommand::SetDrained { node: NodeId(1), drained: true },
        MetadataCommand::CreateTopic { name: TopicName::parse("a/b").unwrap(), config: config.clone(), live: vec![] },
        MetadataCommand::ReserveProducerIds { count: 10 },
        MetadataCommand::DeleteTopic { topic: TopicId(1), name: TopicName::parse("a/b").unwrap() },
        MetadataCommand::CreateTopic { name: TopicName::parse("a/b").unwrap(), config, live: vec![] },
    ]
    .iter()
    .enumerate()
    {
        rebuilt.load(state.apply(command, index as u64).1);
        assert_eq!(rebuilt, state, "after {command:?}");
    }
}

#[test]
fn a_drained_node_stays_so_until_it_is_told_otherwise_and_is_not_preferred() {
    let mut state = three_nodes();
    let drain = |state: &mut MetadataState, id, drained| {
        state.apply(&MetadataCommand::SetDrained { node: NodeId(id), drained }, 9).0
    };
    assert_eq!(drain(&mut state, 1, true), MetadataReply::NodeChanged);
    assert_eq!(drain(&mut state, 4, true), MetadataReply::Refused(MetadataRefusal::UnknownNode(NodeId(4))));
    register(&mut state, 1, Some("cellar"));
    let node = state.node(NodeId(1)).unwrap();
    assert!(node.drained && node.place == place_of(1, Some("cellar")), "a restart does not end it");
    create(&mut state, "orders", 3);
    let placed = state.placed();
    assert!(placed.len() == 3 && placed.iter().all(|placed| placed.nodes.len() == 3 && placed.nodes[0] != NodeId(1)));
    assert_eq!(drain(&mut state, 1, false), MetadataReply::NodeChanged);
    assert!(!state.node(NodeId(1)).unwrap().drained);
}

#[test]
fn new_topics_span_the_racks_that_nodes_were_registered_with() {
    let mut state = three_nodes();
    for (id, rack) in [(1, "a"), (2, "a"), (3, "b")] {
        register(&mut state, id, Some(rack));
    }
    create(&mut state, "orders", 2);
    assert!(state.placed().iter().all(|placed| placed.nodes.contains(&NodeId(3))), "{:?}", state.placed());
}
