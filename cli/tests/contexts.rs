//! Clusters by name, completions and the look at the machine: the built program.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::process::{Command, Output};

use support::{Local, program};

/// Runs `quorate` with this configuration directory and nothing else set.
fn run(config: &std::path::Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program());
    command.env_remove("QUORATE_SERVER").env_remove("QUORATE_CONTEXT").env("XDG_CONFIG_HOME", config);
    command.envs(variables.iter().copied()).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_cluster_is_used_by_its_name_and_what_is_closer_goes_first() {
    let local = Local::start();
    local.ok(&["topic", "create", "orders"], b"");
    let config = tempfile::tempdir().unwrap();
    let quorate = |arguments: &[&str], variables: &[(&str, &str)]| run(config.path(), arguments, variables);
    let address = format!("127.0.0.1:{}", local.port);
    assert!(quorate(&["context", "add", "here", &address], &[]).status.success());
    let listed = quorate(&["context", "add", "nowhere", "127.0.0.1:9"], &[]);
    let expected = format!("CURRENT  CONTEXT  SERVERS\n*        here     {address}\n         nowhere  127.0.0.1:9\n");
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), expected);

    let names = ["topic", "list"];
    let works = |arguments: &[&str], variables: &[(&str, &str)]| quorate(arguments, variables).status.success();
    assert!(works(&names, &[]), "the first one is the current one");
    assert!(!works(&[&names[..], &["--context", "nowhere"]].concat(), &[]));
    assert!(!works(&names, &[("QUORATE_CONTEXT", "nowhere")]));
    assert!(works(&[&names[..], &["--context", "here"]].concat(), &[("QUORATE_SERVER", "127.0.0.1:9")]));
    assert!(works(&names, &[("QUORATE_SERVER", &address), ("QUORATE_CONTEXT", "nowhere")]));
    assert!(quorate(&["context", "use", "nowhere"], &[]).status.success());
    assert!(!works(&names, &[]));
    assert!(works(&[&names[..], &["--server", &address]].concat(), &[]));

    let unknown = quorate(&["context", "use", "elsewhere"], &[]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("there is no context elsewhere, known are here, nowhere"), "{unknown:?}");
    assert!(quorate(&["context", "remove", "nowhere"], &[]).status.success());
    let both = quorate(&["topic", "list", "--server", &address, "--context", "here"], &[]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    let bad = quorate(&names, &[("QUORATE_SERVER", "here:there")]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
}

#[test]
fn completions_are_written_for_each_shell() {
    let config = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let written = run(config.path(), &["completions", shell], &[]);
        assert!(written.status.success() && written.stdout.len() > 1_000, "{shell}: {written:?}");
    }
    assert_eq!(run(config.path(), &["completions", "tcsh"], &[]).status.code(), Some(2));
}

#[test]
fn a_machine_is_looked_at_and_memory_is_no_disk() {
    let config = tempfile::tempdir().unwrap();
    let found = run(config.path(), &["doctor", "--dir", "/proc", "--output", "json"], &[]);
    assert_eq!(found.status.code(), Some(1), "nothing can be written there: {found:?}");
    assert!(stderr(&found).contains("that a node must not run with"), "{found:?}");
    let findings: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let checks: Vec<&str> =
        findings["findings"].as_array().unwrap().iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(checks, ["file system", "free space", "fdatasync", "open files", "clock", "memory", "processors"]);
}
