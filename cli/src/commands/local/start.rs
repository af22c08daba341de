//! `quorate local start`

use std::num::NonZeroU16;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::DirArg;
use crate::context::Context;
use crate::error::{Failure, note};
use crate::interrupt::interrupted;
use crate::local::spawn::{self, Started};
use crate::local::state::{LocalCluster, LocalDir};
use crate::local::{binary, ports, wait};
use crate::output::{View, count};

const NODES_DEFAULT: u16 = 3;
const BASE_PORT_DEFAULT: u16 = 7101;
/// How often a start in the foreground looks after its nodes.
const WATCH_POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(after_help = "\
Starts real quorate-node processes on 127.0.0.1 and waits until they have formed a cluster: clients reach \
node N at base port + N - 1, nodes reach each other a hundred ports above. The binary is looked for in \
$QUORATE_NODE_BIN, beside this program and in $PATH. A stopped cluster starts again with its ports and data; \
to begin anew, stop it and delete its directory.

Without --detach, Ctrl-C stops the nodes.

Examples:
  quorate local start
  quorate local start --nodes 5 --dir /tmp/five --base-port 8101 --detach")]
pub(crate) struct StartArgs {
    /// The number of nodes [default: 3, or as before]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(ports::NODES_MAX)))]
    nodes: Option<u16>,
    /// The client port of node 1 [default: 7101, or as before]
    #[arg(long, value_name = "PORT")]
    base_port: Option<NonZeroU16>,
    #[command(flatten)]
    dir: DirArg,
    /// Return once the cluster has formed and leave the nodes running
    #[arg(long)]
    detach: bool,
}

#[derive(Serialize)]
struct StartedView {
    dir: String,
    server: String,
    nodes: Vec<u16>,
    #[serde(skip)]
    detached: bool,
}

pub(crate) async fn run(context: &Context, args: StartArgs) -> Result<(), Failure> {
    let context = context.with_timeout_default(wait::START_TIMEOUT_DEFAULT);
    let dir = args.dir.resolve()?;
    let program = binary::find()?;
    let lock = dir.lock(context.deadline()).await?;
    let mut cluster = cluster(&dir, &args)?;
    let all_ports: Vec<_> = cluster.nodes.iter().map(|node| node.ports()).collect();
    ports::ensure_free(&all_ports)?;

    let mut started = Vec::new();
    let formed = tokio::select! {
        formed = form(&context, &program, &dir, &mut cluster, &mut started) => formed,
        interrupted = interrupted() => {
            interrupted.and_then(|()| Err(Failure::message("interrupted before the cluster had formed, its nodes were stopped")))
        }
    };
    if let Err(failure) = formed {
        let processes: Vec<_> = started.iter().map(|started| started.process.clone()).collect();
        // The reason why it failed is worth more than a complaint about the clean-up.
        let _ = wait::stop(&processes, wait::STOP_GRACE).await;
        return Err(failure);
    }
    drop(lock);
    let servers: Vec<_> = cluster.client_addresses().iter().map(ToString::to_string).collect();
    context.show(&StartedView {
        dir: dir.path().display().to_string(),
        server: servers.join(","),
        nodes: cluster.nodes.iter().map(|node| node.number).collect(),
        detached: args.detach,
    })?;
    if args.detach { Ok(()) } else { stay(&dir, started).await }
}

/// The cluster that was kept here, if it may be started and is what was asked for; else a new one.
fn cluster(dir: &LocalDir, args: &StartArgs) -> Result<LocalCluster, Failure> {
    let Some(cluster) = dir.load()? else {
        let base_port = match args.base_port {
            Some(port) => port,
            None => NonZeroU16::new(BASE_PORT_DEFAULT).unwrap_or(NonZeroU16::MAX),
        };
        let ports = ports::assign(base_port, args.nodes.unwrap_or(NODES_DEFAULT))?;
        return Ok(LocalCluster::new(dir, base_port, &ports));
    };
    let place = dir.path().display();
    let running = cluster.running().len();
    if running > 0 {
        return Err(Failure::message(format!(
            "the local cluster in {place} runs already with {running} of its {}, use `quorate local status`, `restart N` or `stop`",
            count(cluster.nodes.len() as u64, "node")
        )));
    }
    let nodes_differ = args.nodes.is_some_and(|nodes| usize::from(nodes) != cluster.nodes.len());
    if nodes_differ || args.base_port.is_some_and(|port| port != cluster.base_port) {
        return Err(Failure::message(format!(
            "{place} holds a cluster of {} at base port {}, start it as it is, delete the directory or use another --dir",
            count(cluster.nodes.len() as u64, "node"),
            cluster.base_port
        )));
    }
    Ok(cluster)
}

async fn form(
    context: &Context,
    program: &std::path::Path,
    dir: &LocalDir,
    cluster: &mut LocalCluster,
    started: &mut Vec<Started>,
) -> Result<(), Failure> {
    for number in cluster.nodes.iter().map(|node| node.number).collect::<Vec<_>>() {
        started.push(spawn::start(program, dir, cluster, number)?);
    }
    wait::until_formed(dir, cluster, started, context.deadline()).await
}

/// Stays until Ctrl-C, then stops the nodes; or until somebody else has stopped them all.
async fn stay(dir: &LocalDir, mut started: Vec<Started>) -> Result<(), Failure> {
    let stopped = tokio::select! {
        stopped = watch(dir, &mut started) => stopped,
        interrupted = interrupted() => interrupted,
    };
    // Nodes that another command has restarted since belong to this cluster as well.
    let processes = dir.load_existing()?.running();
    if !processes.is_empty() {
        note(&format!("stopping {}", count(processes.len() as u64, "node")));
        wait::stop(&processes, wait::STOP_GRACE).await?;
    }
    stopped
}

/// Tells of nodes that end, and returns once none runs any more.
async fn watch(dir: &LocalDir, started: &mut Vec<Started>) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(WATCH_POLL).await;
        for node in started.iter_mut() {
            // A node not waited for stays as a zombie as long as we run.
            if let Ok(Some(status)) = node.child.try_wait() {
                note(&format!("node {} (process {}) ended, {status}", node.number, node.process.pid));
            }
        }
        started.retain(|node| node.process.is_running());
        // A restart in progress has no running node for a moment, and holds the lock meanwhile.
        if started.is_empty() && dir.load_existing()?.running().is_empty() {
            let _lock = dir.lock(tokio::time::Instant::now() + wait::START_TIMEOUT_DEFAULT).await?;
            if dir.load_existing()?.running().is_empty() {
                note("all nodes have ended");
                return Ok(());
            }
        }
    }
}

impl View for StartedView {
    fn text(&self) -> String {
        let nodes = count(self.nodes.len() as u64, "node");
        let stop = match self.detached {
            true => format!("`quorate local stop --dir {}` stops it", self.dir),
            false => format!("its files are in {}; Ctrl-C stops it", self.dir),
        };
        format!("a cluster of {nodes} is up: --server {}\n{stop}", self.server)
    }
}
