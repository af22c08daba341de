//! `quorate-chaos-node`: a node whose disk forgets at a kill what was not synced, and whose disk and clock can be broken while
//! it runs.
//!
//! It is the shipped node but for the seams of the file system and of the clock. While the file `hold-sync` exists in the data
//! directory, every sync waits; the file `faults.json` there says what else is wrong.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use quorate_chaos_tests::{
    node_faults::{FAULTS, FaultyClock, FaultyVfs, Watched},
    power_loss::{HOLD_SYNC, PowerLossVfs},
};
use quorate_cluster_config::{NodeConfig, Sources};
use quorate_node::{Build, Expulsion, Node, Seams};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// One node of a Quorate cluster on a disk that loses power at every kill
#[derive(Debug, Parser)]
#[command(name = "quorate-chaos-node", version)]
struct Args {
    /// The directory that holds all of the node's data
    #[arg(long, value_name = "DIR")]
    data_dir: String,
    /// Where clients connect
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where other nodes connect
    #[arg(long, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// What other nodes are told to connect to, if not --peer-listen
    #[arg(long, value_name = "HOST:PORT")]
    peer_advertise: Option<String>,
    /// Peer addresses of all nodes that form the cluster, this one included
    #[arg(long, value_name = "HOST:PORT,…")]
    seeds: Option<String>,
    /// The highest level of the metadata, and the highest version of the peer protocol, that the node says it understands
    /// beyond this build's: as a later build would
    #[arg(long, value_name = "N", default_value_t = 0, env = "CHAOS_NODE_LATER")]
    later: u16,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate-chaos-node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let flags = [
        ("data_dir", Some(args.data_dir)),
        ("listen", args.listen),
        ("peer_listen", args.peer_listen),
        ("peer_advertise", args.peer_advertise),
        ("seeds", args.seeds),
    ];
    let flags = flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    let sources = Sources { flags, ..Sources::default() };
    let config = NodeConfig::load(&sources.with_process_environment())?.config;
    let filter =
        EnvFilter::try_from_env("QUORATE_LOG_FILTER").unwrap_or_else(|_| EnvFilter::new("info,openraft=error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let faults = Watched::start(config.data_dir.join(FAULTS));
    let hold = config.data_dir.join(HOLD_SYNC);
    let disk = Arc::new(PowerLossVfs::torn(hold, Arc::clone(&faults), u64::from(std::process::id())));
    let vfs = Arc::new(FaultyVfs::new(disk, Arc::clone(&faults)));
    let mut build = Build::default();
    build.levels.max += u32::from(args.later);
    build.peer_versions.max += args.later;
    let seams = Seams { vfs, build, clock: Arc::new(FaultyClock(faults)), ..Seams::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let node = tokio::select! {
            node = Node::start(config, seams) => node?,
            _ = terminate.recv() => return Ok(()),
        };
        tracing::info!("ready");
        let expelled = tokio::select! {
            _ = terminate.recv() => None,
            why = node.expelled() => Some(why),
        };
        node.stop().await;
        match expelled {
            Some(Expulsion::NotUnderstood(reason)) => Err(reason.into()),
            Some(Expulsion::Removed) | None => Ok(()),
        }
    })
}
