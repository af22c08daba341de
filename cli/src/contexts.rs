//! Clusters by name: `contexts.toml` in the user's configuration directory.
//!
//! ```toml
//! current = "staging"
//!
//! [contexts.staging]
//! servers = ["10.0.0.1:7101", "10.0.0.2:7101"]
//! ```

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use quorate_cluster_config::{Address, Name};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// The clusters that have names, and the one that is used where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Name>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<Name, Cluster>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// Client addresses of one or more of its nodes.
    pub(crate) servers: Vec<Address>,
}

impl Contexts {
    /// What the user has noted; nothing if there is no such file.
    pub(crate) fn load() -> Result<Self, Failure> {
        match path() {
            Some(path) => Self::read(&path),
            None => Ok(Self::default()),
        }
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed("read", path, &error.to_string())),
        };
        toml::from_str(&text).map_err(|error| failed("read", path, error.message()))
    }

    /// Changes what is noted, and returns what is then: as a whole or not at all, one command after the other.
    pub(crate) fn change(change: impl FnOnce(&mut Self) -> Result<(), Failure>) -> Result<Self, Failure> {
        let path = path().ok_or_else(|| {
            Failure::message(
                "cannot tell where contexts are kept, neither XDG_CONFIG_HOME nor HOME is set, set one of them",
            )
        })?;
        Self::change_at(&path, change)
    }

    fn change_at(path: &Path, change: impl FnOnce(&mut Self) -> Result<(), Failure>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| failed("write", path, &error.to_string());
        // Held until the end of this function. The file itself is replaced, so it cannot be what is locked.
        let _lock = lock(path).map_err(failed)?;
        let mut contexts = Self::read(path)?;
        change(&mut contexts)?;
        contexts.write(path).map_err(failed)?;
        Ok(contexts)
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let text = toml::to_string(self).map_err(std::io::Error::other)?;
        let new = path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    }

    /// The cluster of that name.
    pub(crate) fn get(&self, name: &Name) -> Result<&Cluster, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(Name::as_str).collect();
            let known =
                if known.is_empty() { "there are none".to_owned() } else { format!("known are {}", known.join(", ")) };
            Failure::message(format!("there is no context {name}, {known}, see `quorate context add`"))
        })
    }
}

/// Waits until no other command changes the contexts: that takes milliseconds.
fn lock(path: &Path) -> std::io::Result<fs::File> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let lock = fs::File::create(path.with_extension("lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn path() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(config.join("quorate/contexts.toml"))
}

fn failed(verb: &str, path: &Path, why: &str) -> Failure {
    let why = why.replace('\n', " ");
    Failure::message(format!("cannot {verb} {}, {why}, correct that or remove the file", path.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn named(name: &str) -> Name {
        Name::parse(name).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quorate/contexts.toml");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        let servers = Address::parse_list("10.0.0.1:7101,node-2.example:7101").unwrap();
        let contexts = Contexts {
            current: Some(named("staging")),
            contexts: BTreeMap::from([(named("staging"), Cluster { servers })]),
        };
        let copy = contexts.clone();
        let changed = Contexts::change_at(&path, |noted| {
            *noted = copy;
            Ok(())
        });
        assert_eq!(changed.unwrap(), contexts);
        assert_eq!(Contexts::read(&path).unwrap(), contexts);
        let unknown = contexts.get(&named("prod")).unwrap_err().to_string();
        assert_eq!(unknown, "there is no context prod, known are staging, see `quorate context add`");
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("contexts.toml");
        std::thread::scope(|scope| {
            for number in 0..16 {
                let path = &path;
                scope.spawn(move || {
                    let servers = Address::parse_list(&format!("10.0.0.{number}:7101")).unwrap();
                    Contexts::change_at(path, |noted| {
                        noted.contexts.insert(named(&format!("cluster-{number}")), Cluster { servers });
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(Contexts::read(&path).unwrap().contexts.len(), 16);
    }

    #[test]
    fn a_file_that_is_none_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("contexts.toml");
        for text in ["current = 7", "[contexts.a]\nservers = [\"nowhere\"]", "colour = \"red\"", "["] {
            fs::write(&path, text).unwrap();
            let error = Contexts::read(&path).unwrap_err().to_string();
            assert!(error.starts_with("cannot read ") && error.lines().count() == 1, "{error}");
        }
    }
}
