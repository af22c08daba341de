//! What is remembered of a local cluster: `DIR/cluster.json`, and where its files lie.
//!
//! ```text
//! DIR/cluster.json      this state, replaced as a whole
//! DIR/cluster.lock      held by the command that is changing the cluster
//! DIR/node-N/data/      the node's data directory
//! DIR/node-N/node.log   what the node wrote to stdout and stderr
//! ```

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_cluster_config::{Address, Name};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ports::{self, NodePorts};
use super::process::ProcessIdentity;
use crate::error::Failure;

/// How often a command looks whether the other one is done.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A local cluster, running or stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LocalCluster {
    pub(crate) base_port: NonZeroU16,
    /// By number, dense from 1.
    pub(crate) nodes: Vec<LocalNode>,
}

/// One node of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LocalNode {
    /// Its number on the command line, from 1. Its id in the cluster is another matter: the cluster gives it.
    pub(crate) number: u16,
    /// The process last started for it; it may have ended since.
    pub(crate) process: Option<ProcessIdentity>,
    pub(crate) client_port: NonZeroU16,
    pub(crate) peer_port: NonZeroU16,
    pub(crate) http_port: NonZeroU16,
    pub(crate) data_dir: PathBuf,
    /// Whether it joined the cluster later, instead of forming it.
    #[serde(default)]
    pub(crate) joined: bool,
    /// Its failure domain.
    #[serde(default)]
    pub(crate) rack: Option<Name>,
}

impl LocalCluster {
    /// A cluster that never ran.
    pub(crate) fn new(dir: &LocalDir, base_port: NonZeroU16, ports: &[NodePorts]) -> Self {
        let nodes = (1..).zip(ports).map(|(number, ports)| LocalNode::new(dir, number, *ports));
        Self { base_port, nodes: nodes.collect() }
    }

    /// Another node, which joins the cluster; returns its number.
    pub(crate) fn add(&mut self, dir: &LocalDir, rack: Option<Name>) -> Result<u16, Failure> {
        let number = u16::try_from(self.nodes.len() + 1).unwrap_or(u16::MAX);
        if number > ports::NODES_MAX {
            let most = ports::NODES_MAX;
            return Err(Failure::message(format!("a local cluster has {most} nodes at most, and this one has them")));
        }
        let ports = ports::assign(self.base_port, number)?.pop();
        let ports = ports.ok_or_else(|| Failure::message("there are no ports left"))?;
        self.nodes.push(LocalNode { joined: true, rack, ..LocalNode::new(dir, number, ports) });
        Ok(number)
    }

    /// Where the nodes that formed the cluster reach each other.
    pub(crate) fn seeds(&self) -> Vec<Address> {
        self.nodes.iter().filter(|node| !node.joined).map(LocalNode::peer_address).collect()
    }

    /// The node of this number.
    pub(crate) fn node(&self, number: u16) -> Result<&LocalNode, Failure> {
        self.nodes.iter().find(|node| node.number == number).ok_or_else(|| {
            Failure::message(format!(
                "there is no node {number}, the local cluster has nodes 1 to {}",
                self.nodes.len()
            ))
        })
    }

    /// The processes that run.
    pub(crate) fn running(&self) -> Vec<ProcessIdentity> {
        self.nodes.iter().filter_map(LocalNode::running).cloned().collect()
    }

    /// Where clients reach the nodes.
    pub(crate) fn client_addresses(&self) -> Vec<Address> {
        self.nodes.iter().map(LocalNode::client_address).collect()
    }
}

impl LocalNode {
    fn new(dir: &LocalDir, number: u16, ports: NodePorts) -> Self {
        Self {
            number,
            process: None,
            client_port: ports.client,
            peer_port: ports.peer,
            http_port: ports.http,
            data_dir: dir.node_dir(number).join("data"),
            joined: false,
            rack: None,
        }
    }

    /// The node's process, if it runs.
    pub(crate) fn running(&self) -> Option<&ProcessIdentity> {
        self.process.as_ref().filter(|process| process.is_running())
    }

    pub(crate) fn client_address(&self) -> Address {
        Address::loopback(self.client_port)
    }

    pub(crate) fn peer_address(&self) -> Address {
        Address::loopback(self.peer_port)
    }

    pub(crate) fn http_address(&self) -> Address {
        Address::loopback(self.http_port)
    }

    pub(crate) fn ports(&self) -> NodePorts {
        NodePorts { client: self.client_port, peer: self.peer_port, http: self.http_port }
    }
}

/// The directory of a local cluster, an absolute path.
#[derive(Clone, Debug)]
pub(crate) struct LocalDir {
    path: PathBuf,
}

/// Held while a command changes the cluster; released when dropped, or when the process ends in any way.
#[derive(Debug)]
pub(crate) struct LocalLock {
    _file: File,
}

impl LocalDir {
    /// The directory asked for, or the user's own.
    pub(crate) fn resolve(asked: Option<&Path>) -> Result<Self, Failure> {
        let path = match asked {
            Some(path) => path.to_owned(),
            None => user_dir().ok_or_else(|| {
                Failure::message(
                    "cannot tell where local clusters are kept, neither XDG_STATE_HOME nor HOME is set, use --dir DIR",
                )
            })?,
        };
        let path = std::path::absolute(&path).map_err(|error| failed("use", &path, &error))?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn node_dir(&self, number: u16) -> PathBuf {
        self.path.join(format!("node-{number}"))
    }

    pub(crate) fn log_path(&self, number: u16) -> PathBuf {
        self.node_dir(number).join("node.log")
    }

    /// What is remembered, if a cluster was ever started here.
    pub(crate) fn load(&self) -> Result<Option<LocalCluster>, Failure> {
        let path = self.state_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path, &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Failure::message(format!(
                "{} is damaged, {error}, stop its nodes by hand and delete the directory",
                path.display()
            ))
        })
    }

    /// What is remembered, or where none is, one line that says so.
    pub(crate) fn load_existing(&self) -> Result<LocalCluster, Failure> {
        self.load()?.ok_or_else(|| {
            Failure::message(format!(
                "no local cluster in {}, start one with `quorate local start`",
                self.path.display()
            ))
        })
    }

    /// Replaces what is remembered; a crash leaves the old or the new state.
    pub(crate) fn save(&self, cluster: &LocalCluster) -> Result<(), Failure> {
        let (path, fresh) = (self.state_path(), self.path.join("cluster.json.new"));
        let text = serde_json::to_vec_pretty(cluster).map_err(|error| failed("write", &path, &error.into()))?;
        File::create(&fresh)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|error| failed("write", &path, &error))
    }

    /// Creates the directory and waits, until `deadline`, for other commands that change the cluster.
    pub(crate) async fn lock(&self, deadline: Instant) -> Result<LocalLock, Failure> {
        let path = self.path.join("cluster.lock");
        let file = fs::create_dir_all(&self.path)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path))
            .map_err(|error| failed("open", &path, &error))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(LocalLock { _file: file }),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path, &error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(Failure::message(format!(
                        "another `quorate local` command is changing the cluster in {}, wait for it to end",
                        self.path.display()
                    )));
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
            }
        }
    }

    fn state_path(&self) -> PathBuf {
        self.path.join("cluster.json")
    }
}

fn user_dir() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(state.join("quorate/local"))
}

fn failed(verb: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::message(format!("cannot {verb} {}, {error}, correct that or use another --dir", path.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::local::ports;

    fn cluster(dir: &LocalDir) -> LocalCluster {
        let base_port = NonZeroU16::new(7101).unwrap();
        LocalCluster::new(dir, base_port, &ports::assign(base_port, 3).unwrap())
    }

    #[test]
    fn what_is_saved_is_what_is_loaded() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = LocalDir::resolve(Some(temporary.path())).unwrap();
        assert_eq!(dir.load().unwrap(), None);
        assert!(dir.load_existing().unwrap_err().to_string().contains("no local cluster in"));
        let mut cluster = cluster(&dir);
        cluster.nodes[1].process = ProcessIdentity::of(std::process::id());
        dir.save(&cluster).unwrap();
        assert_eq!(dir.load().unwrap(), Some(cluster.clone()));
        assert_eq!(cluster.running().len(), 1);
        assert!(cluster.node(3).is_ok());
        assert!(cluster.node(4).unwrap_err().to_string().contains("no node 4"));
    }

    #[test]
    fn a_damaged_state_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = LocalDir::resolve(Some(temporary.path())).unwrap();
        fs::write(temporary.path().join("cluster.json"), "{").unwrap();
        assert!(dir.load().unwrap_err().to_string().contains("cluster.json is damaged"));
    }

    #[tokio::test]
    async fn a_second_command_waits_for_the_first_but_not_forever() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = LocalDir::resolve(Some(temporary.path())).unwrap();
        let held = dir.lock(Instant::now()).await.unwrap();
        let refused = dir.lock(Instant::now() + 3 * LOCK_POLL).await.unwrap_err().to_string();
        assert!(refused.starts_with("another `quorate local` command"), "{refused}");
        drop(held);
        assert!(dir.lock(Instant::now()).await.is_ok());
    }
}
