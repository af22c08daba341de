//! The style of the whole workspace, as far as a program can tell: who depends on whom, how long files are, and what
//! must not be left lying about.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const FILE_LINES_MAX: usize = 500;

/// What each package may depend on within the workspace. Arrows point down only; see `ARCHITECTURE.md`.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("quorate-planted-bugs", &[]),
    ("quorate-cluster-config", &[]),
    ("quorate-record", &[]),
    ("quorate-log-engine", &["quorate-record", "quorate-cluster-config"]),
    ("quorate-faulty-vfs", &["quorate-log-engine"]),
    ("quorate-raft", &["quorate-log-engine", "quorate-record", "quorate-cluster-config"]),
    ("quorate-protocol", &["quorate-record", "quorate-cluster-config"]),
    ("quorate", &["quorate-protocol", "quorate-record", "quorate-cluster-config"]),
    (
        "quorate-node",
        &[
            "quorate-raft",
            "quorate-log-engine",
            "quorate-coordinator",
            "quorate-protocol",
            "quorate-record",
            "quorate-cluster-config",
        ],
    ),
    ("quorate-coordinator", &["quorate-protocol", "quorate-cluster-config"]),
    // The log engine only for `quorate log inspect`, which reads the files of a node that may be down.
    ("quorate-cli", &["quorate", "quorate-log-engine", "quorate-cluster-config"]),
    ("quorate-cookbook", &["quorate", "quorate-testing"]),
    ("quorate-testing", &["quorate", "quorate-node", "quorate-faulty-vfs", "quorate-cluster-config"]),
    // The faulty disk for its random numbers, which are the same for ever.
    (
        "quorate-chaos-tests",
        &[
            "quorate",
            "quorate-testing",
            "quorate-node",
            "quorate-log-engine",
            "quorate-faulty-vfs",
            "quorate-cluster-config",
        ],
    ),
];

/// Where a package of others may be used, tests included; one that ends in `*` stands for its sisters too.
const CONFINED: [(&str, &[&str]); 3] = [
    ("openraft*", &["quorate-raft"]),
    ("rocksdb", &["quorate-raft"]),
    ("tarpc", &["quorate-protocol", "quorate", "quorate-node", "quorate-cli"]),
];

/// What the synchronous layers never see.
const SYNCHRONOUS: [&str; 4] = ["quorate-log-engine", "quorate-faulty-vfs", "quorate-record", "quorate-cluster-config"];

struct Package {
    name: String,
    /// Name, and whether only its tests, its build or builds with planted bugs need it.
    dependencies: Vec<(String, bool)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let is_planted =
        |dependency: &Value| dependency["name"] == "quorate-planted-bugs" && dependency["optional"] == true;
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| Package {
        name: text(&package["name"]),
        dependencies: (package["dependencies"].as_array().unwrap().iter())
            .map(|dependency| (text(&dependency["name"]), !dependency["kind"].is_null() || is_planted(dependency)))
            .collect(),
    });
    packages.collect()
}

#[test]
fn dependencies_point_down() {
    let may_use: BTreeMap<_, _> = MAY_USE.into();
    let packages = packages();
    assert!(packages.len() >= 9, "the workspace was not found");
    let mut wrong = Vec::new();
    for Package { name, dependencies } in &packages {
        let Some(allowed) = may_use.get(name.as_str()) else {
            wrong.push(format!("{name} is not in the table of this test"));
            continue;
        };
        let inner =
            dependencies.iter().filter(|(dependency, tests)| may_use.contains_key(dependency.as_str()) && !tests);
        let forbidden = inner.filter(|(dependency, _)| !allowed.contains(&dependency.as_str()));
        wrong.extend(forbidden.map(|(dependency, _)| format!("{name} must not use {dependency}")));
        for (confined, homes) in CONFINED {
            let is_it = |dependency: &str| match confined.strip_suffix('*') {
                Some(prefix) => dependency.starts_with(prefix),
                None => dependency == confined,
            };
            if !homes.contains(&name.as_str()) && dependencies.iter().any(|(dependency, _)| is_it(dependency)) {
                wrong.push(format!("{name} must not use {confined}"));
            }
        }
        let is_async = dependencies.iter().any(|(dependency, tests)| dependency.starts_with("tokio") && !tests);
        if SYNCHRONOUS.contains(&name.as_str()) && is_async {
            wrong.push(format!("{name} is synchronous and must not use tokio"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// All Rust files of the workspace.
fn sources() -> Vec<(PathBuf, String)> {
    let mut directories = vec![root()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    directories.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path, text));
            }
        }
    }
    assert!(sources.len() > 100, "the sources were not found");
    sources
}

#[test]
fn files_are_short_enough_to_be_read() {
    let lengths = sources().into_iter().map(|(path, text)| (path, text.lines().count()));
    let long: Vec<_> = lengths.filter(|(_, lines)| *lines > FILE_LINES_MAX).collect();
    assert!(long.is_empty(), "beyond {FILE_LINES_MAX} lines: {long:#?}");
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, lest this file be found.
    let words = [["to", "do!("], ["unimpl", "emented!("], ["FIX", "ME"], ["XX", "X"]].map(|halves| halves.concat());
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
