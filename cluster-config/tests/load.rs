//! Loading the settings of a node: precedence, origins, and what a person reads when a source is wrong.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_cluster_config::{ConfigError, Loaded, NodeConfig, Origin, Sources};

/// Writes a configuration file; each test has its own, by name.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn load_file(name: &str, text: &str) -> Result<Loaded, ConfigError> {
    NodeConfig::load(&Sources { file: Some(file(name, text)), ..Sources::default() })
}

fn load_variables(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    NodeConfig::load(&Sources { variables: variables(pairs), ..Sources::default() })
}

fn load_flags(pairs: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    NodeConfig::load(&Sources { flags: flags(pairs), ..Sources::default() })
}

/// The error's message, which is one line whatever went wrong.
fn message(result: Result<Loaded, ConfigError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

fn setting(loaded: &Loaded, key: &str) -> (String, Origin) {
    let setting = loaded.settings.iter().find(|setting| setting.key == key).unwrap();
    (setting.value.clone(), setting.origin.clone())
}

#[test]
fn the_data_directory_alone_is_enough() {
    let loaded = load_flags(&[("data_dir", "/data")]).unwrap();
    assert_eq!(loaded.config, NodeConfig::new("/data"));
}

#[test]
fn without_a_data_directory_the_error_says_how_to_give_one() {
    let expected =
        "data_dir is not set: give --data-dir, set QUORATE_DATA_DIR, or put data_dir into the configuration file";
    assert_eq!(message(NodeConfig::load(&Sources::default())), expected);
    assert_eq!(message(load_file("no_data_dir", "listen = 'a:1'")), expected);
}

#[test]
fn every_setting_can_be_given_in_the_file() {
    let text = "
        data_dir = '/data'
        listen = '0.0.0.0:1'
        advertise = 'node1:1'
        peer_listen = '0.0.0.0:2'
        peer_advertise = 'node1:2'
http_listen = '127.0.0.1:7301'
join = []
standby = false
        seeds = ['node1:2', 'node2:2']
        rack = 'cellar'
        [raft]
        heartbeat_interval = '100ms'
        election_timeout_min = '1s'
        election_timeout_max = '2s 500ms'
        catch_up_bytes_per_second = '10MiB'
        [log]
        writer_threads = 4
        tail_cache_bytes = '1GiB'
        open_segments_max = 1000
        scrub_bytes_per_second = '0B'
        scrub_interval = '7days'
        reserve_bytes = '2GiB'
        [limits]
        append_bytes_in_flight = 16777216
        fetch_bytes_in_flight = '8MiB'
        replication_bytes_in_flight = '16MiB'
        client_connections = 10
        [retention]
        check_interval = '1s'
        producer_expiry = '1day'
    ";
    let loaded = load_file("every_setting", text).unwrap();
    assert_eq!(loaded.config, toml::from_str(text).unwrap());
    let found: Vec<_> = loaded.settings.iter().map(|setting| (setting.key, setting.value.as_str())).collect();
    let expected = [
        ("data_dir", "/data"),
        ("listen", "0.0.0.0:1"),
        ("advertise", "node1:1"),
        ("peer_listen", "0.0.0.0:2"),
        ("peer_advertise", "node1:2"),
        ("http_listen", "127.0.0.1:7301"),
        ("seeds", "node1:2,node2:2"),
        ("join", ""),
        ("standby", "false"),
        ("rack", "cellar"),
        ("raft.heartbeat_interval", "100ms"),
        ("raft.election_timeout_min", "1s"),
        ("raft.election_timeout_max", "2s 500ms"),
        ("raft.catch_up_bytes_per_second", "10MiB"),
        ("log.writer_threads", "4"),
        ("log.tail_cache_bytes", "1GiB"),
        ("log.open_segments_max", "1000"),
        ("log.scrub_bytes_per_second", "0B"),
        ("log.scrub_interval", "7days"),
        ("log.reserve_bytes", "2GiB"),
        ("limits.append_bytes_in_flight", "16MiB"),
        ("limits.fetch_bytes_in_flight", "8MiB"),
        ("limits.replication_bytes_in_flight", "16MiB"),
        ("limits.client_connections", "10"),
        ("retention.check_interval", "1s"),
        ("retention.producer_expiry", "1day"),
    ];
    assert_eq!(found, expected);
    assert!(loaded.settings.iter().all(|setting| matches!(setting.origin, Origin::File(_))));

    // What was shown can be given back, as flags and as variables, and means the same; what has no value is not given.
    let expected: Vec<_> = expected.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    assert_eq!(load_flags(&expected).unwrap().config, loaded.config);
    let named: Vec<_> =
        expected.iter().map(|(key, value)| (quorate_cluster_config::variable_name(key), *value)).collect();
    let named: Vec<_> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(load_variables(&named).unwrap().config, loaded.config);
}

#[test]
fn a_flag_goes_over_a_variable_over_the_file_over_the_default() {
    let path = file(
        "precedence",
        "data_dir = '/file'\nseeds = ['file:1', 'file:2', 'file:3']\n[log]\nwriter_threads = 3\ntail_cache_bytes = '8MiB'\n",
    );
    let loaded = NodeConfig::load(&Sources {
        file: Some(path.clone()),
        variables: variables(&[
            ("QUORATE_DATA_DIR", "/env"),
            ("QUORATE_SEEDS", "env:1,env:2"),
            ("QUORATE_LOG__WRITER_THREADS", "4"),
        ]),
        flags: flags(&[("data_dir", "/overridden"), ("data_dir", "/flag")]),
    })
    .unwrap();
    let env = |variable: &str| Origin::Env(variable.to_owned());
    assert_eq!(setting(&loaded, "data_dir"), ("/flag".into(), Origin::Flag("--data-dir".into())));
    assert_eq!(setting(&loaded, "seeds"), ("env:1,env:2".into(), env("QUORATE_SEEDS")));
    assert_eq!(setting(&loaded, "log.writer_threads"), ("4".into(), env("QUORATE_LOG__WRITER_THREADS")));
    assert_eq!(setting(&loaded, "log.tail_cache_bytes"), ("8MiB".into(), Origin::File(path)));
    assert_eq!(setting(&loaded, "listen"), ("127.0.0.1:7101".into(), Origin::Default));
    assert_eq!(loaded.config.data_dir, Path::new("/flag"));
    assert_eq!(loaded.config.log.writer_threads, 4);
}

#[test]
fn what_falls_back_shows_the_value_that_holds() {
    let loaded = load_flags(&[("data_dir", "/data"), ("peer_listen", "node1:7201")]).unwrap();
    assert_eq!(setting(&loaded, "peer_advertise"), ("node1:7201".into(), Origin::Default));
    assert_eq!(setting(&loaded, "seeds"), ("node1:7201".into(), Origin::Default));
    assert!(loaded.config.seeds.is_empty());
}

#[test]
fn values_of_flags_and_variables_are_text_whatever_they_look_like() {
    let loaded = load_variables(&[("QUORATE_DATA_DIR", "7"), ("QUORATE_LISTEN", "[::1]:7101")]).unwrap();
    assert_eq!(loaded.config.data_dir, Path::new("7"));
    assert_eq!(loaded.config.listen.host(), "::1");
    let loaded = load_flags(&[("data_dir", "true"), ("raft.heartbeat_interval", "50ms")]).unwrap();
    assert_eq!(loaded.config.data_dir, Path::new("true"));
    assert_eq!(loaded.config.raft.heartbeat_interval, Duration::from_millis(50));
}

#[test]
fn variables_of_others_are_left_alone() {
    let others =
        [("QUORATE_SERVER", "a:1"), ("QUORATE_LOG_FILTER", "debug"), ("PATH", "/bin"), ("quorate_listen", "x")];
    let loaded = load_variables(&[&others[..], &[("QUORATE_DATA_DIR", "/data")]].concat()).unwrap();
    assert_eq!(loaded.config, NodeConfig::new("/data"));
}

#[test]
fn an_unknown_variable_is_named() {
    for name in ["QUORATE_LISTE", "QUORATE_LOG", "QUORATE_LOG_WRITER_THREADS", "QUORATE_Listen", "QUORATE_"] {
        let found = message(load_variables(&[("QUORATE_DATA_DIR", "/data"), (name, "1")]));
        let expected =
            format!("unknown environment variable {name}: unset it or use one of QUORATE_DATA_DIR, QUORATE_LISTEN,");
        assert!(found.starts_with(&expected), "{found}");
    }
}

#[test]
fn an_unknown_key_of_the_file_is_named() {
    for (name, text, key) in [
        ("unknown_top", "liste = 'a:1'", "liste"),
        ("unknown_nested", "[log]\nwriter_thread = 2", "log.writer_thread"),
        ("unknown_section", "[logs]\nwriter_threads = 2", "logs.writer_threads"),
        ("section_for_a_value", "[listen]\nhost = 'a'", "listen.host"),
        ("value_for_a_section", "log = 2", "log"),
    ] {
        let found = message(load_file(name, &format!("data_dir = '/data'\n{text}")));
        assert!(found.starts_with(&format!("unknown setting {key:?} in file ")), "{found}");
        assert!(found.contains(&format!("{name}.toml: remove it or use one of data_dir, listen, ")), "{found}");
    }
}

#[test]
fn a_quoted_dotted_key_is_not_the_nested_key() {
    let found = message(load_file("quoted", "data_dir = '/data'\n'log.writer_threads' = 2"));
    assert!(found.contains("log.writer_threads"), "{found}");
}

#[test]
fn an_unknown_flag_is_named() {
    let found = message(load_flags(&[("data_dir", "/data"), ("log.writer_thread", "2")]));
    assert!(
        found.starts_with(r#"unknown setting "log.writer_thread" in flag --log-writer-thread: remove it"#),
        "{found}"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_origin() {
    let data_dir = ("data_dir", "/data");
    for (key, value, expected) in [
        ("listen", "node1", "listen from flag --listen is not valid: \"node1\" is not an address, the port is missing"),
        ("seeds", "a:1,b", "seeds from flag --seeds is not valid: \"b\" is not an address"),
        ("seeds", "", "seeds from flag --seeds is not valid: \"\" is not an address"),
        ("log.writer_threads", "two", "log.writer_threads from flag --log-writer-threads is not valid: invalid type"),
        ("log.writer_threads", "-1", "log.writer_threads from flag --log-writer-threads is not valid: invalid value"),
        ("log.tail_cache_bytes", "much", "log.tail_cache_bytes from flag --log-tail-cache-bytes is not valid: "),
        (
            "raft.heartbeat_interval",
            "200",
            "raft.heartbeat_interval from flag --raft-heartbeat-interval is not valid: ",
        ),
        ("advertise", "a\nb:1", "advertise from flag --advertise is not valid: \"a\\nb:1\" is not an address"),
        ("log.tail_cache_bytes", "a\nb", "log.tail_cache_bytes from flag --log-tail-cache-bytes is not valid: "),
    ] {
        let found = message(load_flags(&[data_dir, (key, value)]));
        assert!(found.starts_with(expected), "{found}");
    }
    let found = message(load_flags(&[data_dir, ("log.tail_cache_bytes", "much")]));
    assert_eq!(
        found,
        "log.tail_cache_bytes from flag --log-tail-cache-bytes is not valid: invalid value string \"much\", \
         expected a size such as \"256MiB\""
    );
    let found = message(load_variables(&[("QUORATE_DATA_DIR", "/data"), ("QUORATE_PEER_LISTEN", "a:0")]));
    assert!(found.starts_with("peer_listen from environment variable QUORATE_PEER_LISTEN is not valid: "), "{found}");
}

#[test]
fn a_value_of_the_wrong_type_in_the_file_is_told_with_its_path() {
    for (name, text, key) in [
        ("bad_seed", "seeds = ['a:1', 'b']", "seeds"),
        ("bad_rack", "rack = 'a b'", "rack"),
        ("seeds_number", "seeds = 1", "seeds"),
        ("bad_threads", "log.writer_threads = 2.5", "log.writer_threads"),
        ("bad_size", "log.tail_cache_bytes = -1", "log.tail_cache_bytes"),
        ("bad_duration", "raft.heartbeat_interval = 200", "raft.heartbeat_interval"),
        ("bad_date", "listen = 1979-05-27", "listen"),
    ] {
        let found = message(load_file(name, &format!("data_dir = '/data'\n{text}")));
        assert!(found.starts_with(&format!("{key} from file ")), "{found}");
        assert!(found.contains(&format!("{name}.toml is not valid: ")), "{found}");
    }
}

#[test]
fn a_broken_rule_is_told_with_the_origins_of_its_settings() {
    let found = message(load_variables(&[("QUORATE_DATA_DIR", "/data"), ("QUORATE_LOG__WRITER_THREADS", "17")]));
    assert_eq!(
        found,
        "log.writer_threads is 17, but must lie within 1..=16: set it to a value in that range \
         (log.writer_threads: environment variable QUORATE_LOG__WRITER_THREADS)"
    );
    let found = message(load_flags(&[("data_dir", "/data"), ("raft.heartbeat_interval", "300ms")]));
    assert!(
        found
            .ends_with("(raft.election_timeout_min: default, raft.heartbeat_interval: flag --raft-heartbeat-interval)"),
        "{found}"
    );
}

#[test]
fn an_empty_data_directory_is_not_one() {
    assert!(message(load_flags(&[("data_dir", "")])).starts_with("data_dir is empty: "));
}

#[test]
fn a_missing_file_is_an_error() {
    let found = message(NodeConfig::load(&Sources { file: Some("/nowhere/q.toml".into()), ..Sources::default() }));
    assert!(found.starts_with("cannot read the configuration file /nowhere/q.toml: "), "{found}");
}

#[test]
fn a_file_that_is_no_toml_is_told_with_line_and_column() {
    let found = message(load_file("no_toml", "data_dir = '/data'\nlisten = = 1\n"));
    assert!(found.contains("no_toml.toml:2:10: not valid TOML: "), "{found}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let value = OsString::from_vec(vec![0xff]);
    let sources = Sources { variables: vec![("QUORATE_LISTEN".into(), value)], ..Sources::default() };
    assert!(message(NodeConfig::load(&sources)).starts_with("environment variable QUORATE_LISTEN is not valid UTF-8"));
}
