//! `quorate-node`: one node of a cluster.

mod args;

use std::process::ExitCode;

use clap::Parser;
use quorate_cluster_config::NodeId;
use quorate_node::{Expulsion, MetadataRescue, Node, Seams, recover_metadata};
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

/// What a stopped node holds of the metadata, and what has become of them.
fn describe(rescue: &MetadataRescue) -> String {
    let list = |nodes: &[NodeId]| match nodes {
        [] => "none".to_owned(),
        nodes => nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let last = rescue.last.map_or_else(|| "nothing".to_owned(), |(term, index)| format!("term {term}, index {index}"));
    let mut text = format!(
        "node {} of cluster {}\nlast entry of the metadata: {last}\ntopics known: {}\nnodes that voted: {}\nnodes that take the metadata from this one: {}\n",
        rescue.node,
        rescue.cluster,
        rescue.topics,
        list(&rescue.voters),
        list(&rescue.left),
    );
    text.push_str(if rescue.done {
        "the metadata go on from this node: start it, then the others; partitions without a majority need `quorate topic recover`"
    } else {
        "nothing was changed; whatever was decided after that entry would be lost. If no other node that is left has a greater last entry, add --accept-data-loss"
    });
    text
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let loaded = args.load()?;
    if matches!(args.command, Some(Command::Config { .. })) {
        for setting in &loaded.settings {
            println!("{} = {}  # {}", setting.key, setting.value, setting.origin);
        }
        return Ok(());
    }
    if let Some(Command::RecoverMetadata { lost, accept_data_loss }) = &args.command {
        let lost = lost.iter().copied().map(NodeId).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let rescue = runtime.block_on(recover_metadata(loaded.config, Seams::default(), lost, *accept_data_loss))?;
        println!("{}", describe(&rescue));
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
        let expelled = tokio::select! {
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            why = node.expelled() => Some(why),
        };
        if expelled == Some(Expulsion::Removed) {
            tracing::warn!("this node was removed from the cluster and stops; to use the machine again, start it with an empty data directory and --join");
        }
        tracing::info!("stopping");
        node.stop().await;
        match expelled {
            Some(Expulsion::NotUnderstood(reason)) => Err(reason.into()),
            Some(Expulsion::Removed) | None => Ok(()),
        }
    })
}
