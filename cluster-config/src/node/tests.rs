//! The rules that hold for the settings of a node, and the forms in which they are written.

use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn after(change: impl Fn(&mut NodeConfig)) -> Result<(), NodeConfigError> {
    let mut config = NodeConfig::new("data");
    change(&mut config);
    config.validate()
}

#[test]
fn the_defaults_are_valid_and_form_a_cluster_of_one() {
    let config = NodeConfig::new("data");
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.advertised(), &address("127.0.0.1:7101"));
    assert_eq!(config.forming_seeds(), [address("127.0.0.1:7201")]);
}

#[test]
fn the_defaults_of_toml_are_the_defaults() {
    assert_eq!(toml::from_str::<NodeConfig>("data_dir = 'data'").unwrap(), NodeConfig::new("data"));
}

#[test]
fn what_is_advertised_is_what_forms_the_cluster() {
    let mut config = NodeConfig::new("data");
    config.peer_advertise = Some(address("node1:7201"));
    assert_eq!(config.forming_seeds(), [address("node1:7201")]);
    config.seeds = vec![address("node2:7201"), address("node1:7201")];
    assert_eq!(config.forming_seeds(), config.seeds);
}

#[test]
fn an_empty_data_directory_is_refused() {
    assert_eq!(NodeConfig::new("").validate(), Err(NodeConfigError::DataDirEmpty));
}

#[test]
fn the_listeners_must_not_share_a_port_of_one_host() {
    let collide = |listen: &str, peer_listen: &str| {
        after(|config| {
            (config.listen, config.peer_listen) = (address(listen), address(peer_listen));
            config.advertise = Some(address("node1:1"));
            config.peer_advertise = Some(address("node1:2"));
        })
    };
    for (listen, peer_listen) in [("a:1", "a:1"), ("0.0.0.0:1", "a:1"), ("a:1", "[::]:1")] {
        assert!(matches!(collide(listen, peer_listen), Err(NodeConfigError::ListenersCollide { .. })), "{listen}");
    }
    let http = after(|config| config.http_listen = Some(config.peer_listen.clone())).unwrap_err();
    assert_eq!(http.keys(), ["peer_listen", "http_listen"]);
    assert_eq!(after(|config| config.http_listen = None), Ok(()));
    assert_eq!(collide("a:1", "b:1"), Ok(()));
    assert_eq!(collide("0.0.0.0:1", "0.0.0.0:2"), Ok(()));
}

#[test]
fn what_is_advertised_must_be_reachable() {
    let unreachable = after(|config| config.listen = address("0.0.0.0:7101"));
    assert_eq!(
        unreachable.unwrap_err().to_string(),
        "other processes cannot connect to 0.0.0.0:7101: set advertise to an address of this node they can reach"
    );
    for change in [
        |config: &mut NodeConfig| config.peer_listen = address("[::]:7201"),
        |config: &mut NodeConfig| config.advertise = Some(address("0.0.0.0:7101")),
        |config: &mut NodeConfig| config.peer_advertise = Some(address("[::]:7201")),
    ] {
        assert!(matches!(after(change), Err(NodeConfigError::Unreachable { .. })));
    }
    let repaired = after(|config| {
        config.listen = address("0.0.0.0:7101");
        config.advertise = Some(address("node1:7101"));
    });
    assert_eq!(repaired, Ok(()));
}

#[test]
fn clients_and_nodes_must_be_told_different_addresses() {
    let alike = after(|config| config.advertise = Some(config.peer_listen.clone()));
    assert_eq!(alike, Err(NodeConfigError::AdvertisedAlike { found: address("127.0.0.1:7201") }));
}

#[test]
fn seeds_are_reachable_and_each_named_once() {
    let with = |seeds: &str| after(|config| config.seeds = Address::parse_list(seeds).unwrap());
    assert_eq!(with("a:1,b:1,a:2"), Ok(()));
    assert_eq!(with("a:1,b:1,A:1"), Err(NodeConfigError::SeedRepeated { key: "seeds", found: address("a:1") }));
    assert_eq!(
        with("a:1,0.0.0.0:1"),
        Err(NodeConfigError::SeedUnreachable { key: "seeds", found: address("0.0.0.0:1") })
    );
}

#[test]
fn a_node_has_one_way_into_a_cluster_and_does_not_join_itself() {
    let nodes = |text: &str| Address::parse_list(text).unwrap();
    assert_eq!(after(|config| config.join = nodes("a:1,b:1")), Ok(()));
    assert_eq!(after(|config| config.standby = true), Ok(()));
    let repeated = after(|config| config.join = nodes("a:1,a:1"));
    assert_eq!(repeated, Err(NodeConfigError::SeedRepeated { key: "join", found: address("a:1") }));
    let itself = after(|config| config.join = vec![config.peer_listen.clone()]);
    assert_eq!(itself, Err(NodeConfigError::JoinsItself { found: address("127.0.0.1:7201") }));
    let both = after(|config| (config.seeds, config.join) = (nodes("a:1"), nodes("b:1")));
    assert_eq!(both, Err(NodeConfigError::WaysIn { one: "seeds", other: "join" }));
    let waits = after(|config| (config.join, config.standby) = (nodes("b:1"), true)).unwrap_err();
    assert!(waits.to_string().contains("keep one of them") && waits.keys() == ["join", "standby"]);
}

#[test]
fn there_are_no_more_seeds_than_nodes() {
    let with = |count: u16| after(|config| config.seeds = (1..=count).map(|n| address(&format!("a:{n}"))).collect());
    assert_eq!(with(64), Ok(()));
    assert!(with(65).unwrap_err().to_string().starts_with("seeds is 65 addresses, but must lie within 1..=64"));
}

#[test]
fn the_sections_are_validated_too() {
    assert_eq!(after(|config| config.log.writer_threads = 0).unwrap_err().keys(), ["log.writer_threads"]);
    assert_eq!(after(|config| config.limits.client_connections = 0).unwrap_err().keys(), ["limits.client_connections"]);
    let retention = after(|config| config.retention.check_interval = std::time::Duration::ZERO);
    assert_eq!(retention.unwrap_err().keys(), ["retention.check_interval"]);
    let raft = after(|config| config.raft.election_timeout_max = config.raft.election_timeout_min);
    assert!(matches!(raft, Err(NodeConfigError::ElectionTimeoutsReversed { .. })));
}

#[test]
fn the_settings_are_exactly_the_keys_of_the_toml() {
    let mut config = NodeConfig::new("data");
    config.advertise = Some(address("node1:7101"));
    config.peer_advertise = Some(address("node1:7201"));
    config.seeds = vec![address("node1:7201")];
    config.join = vec![address("node2:7201")];
    config.rack = Some(Name::parse("cellar").unwrap());
    let mut expected = Vec::new();
    for (key, value) in toml::Table::try_from(&config).unwrap() {
        match value {
            toml::Value::Table(section) => expected.extend(section.keys().map(|name| format!("{key}.{name}"))),
            _ => expected.push(key),
        }
    }
    let mut found: Vec<_> = config.settings().into_iter().map(|(key, _)| key.to_owned()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_is_written_as_toml_is_read_back() {
    let mut config = NodeConfig::new("data");
    assert_eq!(toml::from_str::<NodeConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    config.advertise = Some(address("node1:7101"));
    config.seeds = vec![address("node1:7201"), address("node2:7201")];
    config.log.tail_cache_bytes = (4 << 20) + 1;
    assert_eq!(toml::from_str::<NodeConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
}
