//! `docs/configuration.md` is what the types say: their settings, their documentation and their defaults. With
//! `QUORATE_WRITE_DOCS` set it is written anew.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use quorate_cluster_config::{Loaded, NodeConfig, Sources};

/// The files that declare settings, with the key that goes before theirs.
const DECLARED: [(&str, &str); 5] = [
    ("", "src/node.rs"),
    ("raft.", "src/node/raft.rs"),
    ("log.", "src/node/log.rs"),
    ("limits.", "src/node/limits.rs"),
    ("retention.", "src/node/retention.rs"),
];

/// The documentation of the public fields of a file.
fn fields(source: &str) -> BTreeMap<String, String> {
    let (mut found, mut doc) = (BTreeMap::new(), String::new());
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc = format!("{doc} {}", text.trim()).trim().to_owned();
        } else if let Some(field) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(": ")) {
            found.insert(field.0.to_owned(), std::mem::take(&mut doc));
        } else if !line.starts_with("#[") && !line.starts_with(")]") {
            doc.clear();
        }
    }
    found
}

/// Links of rustdoc lead nowhere here.
fn without_links(doc: &str) -> String {
    let mut text = doc.to_owned();
    while let Some(start) = text.find("[`") {
        let Some(end) = text[start..].find(']').map(|end| start + end) else { break };
        let inner = text[start + 1..end].to_owned();
        let after = match text[end + 1..].strip_prefix('(').and_then(|rest| rest.find(')')) {
            Some(length) => end + length + 3,
            None => end + 1,
        };
        text.replace_range(start..after, &inner);
    }
    text
}

fn reference() -> String {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let arguments =
        Sources { flags: vec![("data_dir".to_owned(), "/var/lib/quorate".to_owned())], ..Sources::default() };
    let Loaded { settings, .. } = NodeConfig::load(&arguments).unwrap();
    let defaults: BTreeMap<String, String> =
        settings.into_iter().map(|setting| (setting.key.to_string(), setting.value.to_string())).collect();
    let mut text = String::from(
        "# Configuration of a node\n\nMade from the types; do not edit. A flag goes before the environment, the environment before the \
         file (TOML, `--config FILE`), the file before the default. A key `log.writer_threads` is `writer_threads` in the table `[log]` \
         of the file and `QUORATE_LOG__WRITER_THREADS` in the environment. Unknown keys are refused. `quorate-node config show` prints each \
         value and where it comes from.\n\n| key | default | meaning |\n|---|---|---|\n",
    );
    for (prefix, file) in DECLARED {
        let documented = fields(&fs::read_to_string(crate_directory.join(file)).unwrap());
        for (field, doc) in documented {
            let key = format!("{prefix}{field}");
            let Some(default) = defaults.get(&key) else { continue };
            let default = if key == "data_dir" { "(required)".to_owned() } else { format!("`{default}`") };
            writeln!(text, "| `{key}` | {} | {} |", default.replace("``", "(none)"), without_links(&doc)).unwrap();
        }
    }
    text
}

#[test]
fn the_reference_says_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let reference = reference();
    assert!(reference.lines().count() > 25, "{reference}");
    if std::env::var_os("QUORATE_WRITE_DOCS").is_some() {
        fs::write(&path, &reference).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, reference, "run `make fix`, which writes docs/configuration.md anew");
}
