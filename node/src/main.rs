//! `quorate-node`: one node of a cluster.

mod args;

use std::process::ExitCode;

use clap::Parser;
use quorate_node::{Node, Seams};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

/// openraft warns of every heartbeat to a node that is down; what matters of that is in `quorate cluster health`.
const FILTER_DEFAULT: &str = "info,openraft=error";

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate-node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let loaded = args.load()?;
    if matches!(args.command, Some(Command::Config { .. })) {
        for setting in &loaded.settings {
            println!("{} = {}  # {}", setting.key, setting.value, setting.origin);
        }
        return Ok(());
    }
    let filter = EnvFilter::try_from_env("QUORATE_LOG_FILTER").unwrap_or_else(|_| EnvFilter::new(FILTER_DEFAULT));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(args.workers()).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let node = tokio::select! {
            node = Node::start(loaded.config, Seams::default()) => node?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        if let Some(identity) = node.identity() {
            tracing::info!(node = %identity.node, cluster = %identity.cluster, "ready");
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = node.expelled() => {
                tracing::warn!("this node was removed from the cluster and stops; to use the machine again, start it with an empty data directory and --join");
            }
        }
        tracing::info!("stopping");
        node.stop().await;
        Ok(())
    })
}
