//! Starts the process of one node.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::state::{LocalCluster, LocalDir, LocalNode};
use super::{binary, log_file, process::ProcessIdentity};
use crate::error::Failure;

/// A node that was just started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) number: u16,
    pub(crate) process: ProcessIdentity,
    /// What the log holds beyond this is of this process.
    pub(crate) log_offset: u64,
    /// To be waited for once it has ended, lest it stays as a zombie as long as we run.
    pub(crate) child: Child,
}

/// Starts node `number` and records its process before anything else can go wrong.
pub(crate) fn start(
    program: &Path,
    dir: &LocalDir,
    cluster: &mut LocalCluster,
    number: u16,
) -> Result<Started, Failure> {
    let node = cluster.node(number)?;
    // One that joins may ask any other node.
    let others = cluster.nodes.iter().filter(|other| other.number != number).map(LocalNode::peer_address);
    let (way_in, nodes) = match node.joined {
        true => ("--join", others.collect()),
        false => ("--seeds", cluster.seeds()),
    };
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    let log_path = dir.log_path(number);
    let log_offset = log_file::size(&log_path);
    let mut child = spawn(program, dir, node, [way_in, &nodes.join(",")])
        .map_err(|error| Failure::message(format!("cannot start node {number} with {}, {error}", program.display())))?;
    let Some(process) = ProcessIdentity::of(child.id()) else {
        let _ = child.wait();
        return Err(exited(dir, number, log_offset));
    };
    if let Some(node) = cluster.nodes.iter_mut().find(|node| node.number == number) {
        node.process = Some(process.clone());
    }
    if let Err(unrecorded) = dir.save(cluster) {
        // A process nobody remembers could never be stopped.
        let _ = child.kill().and_then(|()| child.wait());
        return Err(unrecorded);
    }
    Ok(Started { number, process, log_offset, child })
}

/// Why a started node is not there any more, in its own last words.
pub(crate) fn exited(dir: &LocalDir, number: u16, log_offset: u64) -> Failure {
    let log_path = dir.log_path(number);
    match log_file::last_line_since(&log_path, log_offset) {
        Some(line) => Failure::message(format!("node {number} exited: {line}")),
        None => Failure::message(format!("node {number} exited without a word, see {}", log_path.display())),
    }
}

fn spawn(program: &Path, dir: &LocalDir, node: &LocalNode, way_in: [&str; 2]) -> std::io::Result<Child> {
    fs::create_dir_all(&node.data_dir)?;
    let log = File::options().create(true).append(true).open(dir.log_path(node.number))?;
    Command::new(program)
        .arg("--data-dir")
        .arg(&node.data_dir)
        .args(["--listen", &node.client_address().to_string()])
        .args(["--peer-listen", &node.peer_address().to_string()])
        .args(["--http-listen", &node.http_address().to_string()])
        .args(way_in)
        .args(node.rack.iter().flat_map(|rack| ["--rack", rack.as_str()]))
        // These are ours; the node refuses variables it does not know.
        .env_remove("QUORATE_SERVER")
        .env_remove(binary::OVERRIDE_VARIABLE)
        .current_dir(dir.node_dir(node.number))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in our terminal is for us; we end the nodes in order.
        .process_group(0)
        .spawn()
}
