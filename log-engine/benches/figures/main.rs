//! The figures the engine is held to, one a line: name, value, what is required, verdict.
//!
//! What depends on the disk is a ratio to a plain loop of system calls that runs in turn with the engine, round by round,
//! and the median of the rounds counts: another disk or a busy machine moves both. See `support` for the environment;
//! arguments choose figures by parts of their groups' names, as in `cargo bench --bench figures -- roll`.

#![allow(clippy::unwrap_used, reason = "benchmarks")]

mod append;
mod closed_loop;
mod group_commit;
mod memory;
mod open;
mod read;
mod roll;
mod rounds;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod unsynced;

use std::{alloc::System, env};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const GROUPS: [(&str, fn()); 7] = [
    ("append", append::run),
    ("group_commit", group_commit::run),
    ("roll", roll::run),
    ("unsynced", unsynced::run),
    ("read", read::run),
    ("memory", memory::run),
    ("open", open::run),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // Test runners ask for tests, and there are none.
    if arguments.iter().any(|argument| argument == "--list" || argument == "--test")
        || !arguments.iter().any(|argument| argument == "--bench")
    {
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    for (name, run) in GROUPS.into_iter().filter(|(name, _)| is_wanted(name)) {
        table::title(name);
        run();
    }
}
