//! Each example runs by itself, as the README says, and tells what it should.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

/// What an example prints, with no cluster but its own.
fn printed(name: &str) -> String {
    let programs = std::env::current_exe().unwrap();
    let program = programs.parent().unwrap().parent().unwrap().join("examples").join(name);
    let ran = Command::new(&program).env_remove("QUORATE_SERVER").output();
    let ran = ran.unwrap_or_else(|error| panic!("{}: {error}; examples are built by --all-targets", program.display()));
    assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn event_sourcing_pays_once() {
    let printed = printed("event_sourcing");
    assert_eq!(printed.matches(": paid").count() + printed.matches(":  paid").count(), 1, "{printed}");
    assert!(printed.contains("account alice has 4000 cents only"), "{printed}");
    assert!(printed.ends_with("alice has 4000 cents, by replay\n"), "{printed}");
}

#[test]
fn the_audit_trail_is_intact() {
    let printed = printed("audit_trail");
    let last = printed.lines().nth(2).unwrap().split_whitespace().nth(1).unwrap();
    assert!(printed.ends_with(&format!("intact: 3 entries, the last is {last}\n")), "{printed}");
}

#[test]
fn the_pipeline_counts() {
    let printed = printed("pipeline");
    assert!(printed.starts_with("300 records taken in"), "{printed}");
    assert!(printed.ends_with("home: 100\nsearch: 100\ncart: 100\n"), "{printed}");
}

#[test]
fn both_subscribers_get_all() {
    let printed = printed("fan_out");
    assert_eq!(printed.matches("\"value\":\"102\"").count(), 2, "{printed}");
}

#[test]
fn the_bridge_copies_everything_once() {
    let printed = printed("bridge");
    let copied = |round: &str| -> u64 {
        let lines = printed.lines().filter_map(|line| line.strip_prefix(round)?.strip_prefix(": ")?.split(' ').next());
        lines.map(|count| count.parse::<u64>().unwrap()).sum()
    };
    assert_eq!((copied("at first"), copied("again")), (100, 0), "{printed}");
}
