//! The command line of `quorate-node`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use quorate_cluster_config::{ConfigError, Loaded, NodeConfig, Sources};

/// Threads that run the node's tasks: one a core, two at least.
const WORKERS_MIN: usize = 2;

/// One node of a Quorate cluster.
///
/// Every setting can also stand in the file given by --config (TOML) or in the environment (QUORATE_LISTEN,
/// QUORATE_LOG__WRITER_THREADS, …); a flag wins over the environment, the environment over the file.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = false,
    after_help = "Example: a cluster of three on one machine; run this three times with other ports and directories:\n  \
    quorate-node --data-dir /var/lib/quorate/1 --listen 127.0.0.1:7101 --peer-listen 127.0.0.1:7201 \\\n      \
    --http-listen 127.0.0.1:7301 --seeds 127.0.0.1:7201,127.0.0.1:7202,127.0.0.1:7203\n\n\
Example: another node for that cluster:\n  \
    quorate-node --data-dir /var/lib/quorate/4 --listen 127.0.0.1:7104 --peer-listen 127.0.0.1:7204 \\\n      \
    --http-listen 127.0.0.1:7304 --join 127.0.0.1:7201,127.0.0.1:7202"
)]
pub(crate) struct Args {
    /// A TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory that holds all of the node's data
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where clients connect [default: 127.0.0.1:7101]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// What clients are told to connect to, if not --listen
    #[arg(long, global = true, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Where other nodes connect [default: 127.0.0.1:7201]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// What other nodes are told to connect to, if not --peer-listen
    #[arg(long, global = true, value_name = "HOST:PORT")]
    peer_advertise: Option<String>,
    /// Where /metrics, /livez and /readyz are answered; off: nowhere [default: 127.0.0.1:7301]
    #[arg(long, global = true, value_name = "HOST:PORT|off")]
    http_listen: Option<String>,
    /// Peer addresses of all nodes that form the cluster, this one included
    #[arg(long, global = true, value_name = "HOST:PORT,…")]
    seeds: Option<String>,
    /// Peer addresses of nodes of a cluster that this node joins, as long as it has no data
    #[arg(long, global = true, value_name = "HOST:PORT,…", conflicts_with_all = ["seeds", "standby"])]
    join: Option<String>,
    /// Wait, as long as this node has no data, until `quorate node add` adds it to a cluster
    #[arg(long, global = true, conflicts_with = "seeds")]
    standby: bool,
    /// The failure domain this node is in: replicas of a partition are spread over as many as there are
    #[arg(long, global = true, value_name = "NAME")]
    rack: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Looks at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Has the metadata go on from this node, after a majority of the nodes that vote on them is gone for good: data are lost
    ///
    /// The node must be stopped. Without --accept-data-loss the command only tells what the node holds. Of several nodes that
    /// are left, the one with the greatest last entry holds most: recover there and only there, then start it and the others;
    /// they take the metadata from it. What was decided after its last entry is lost: topics, nodes, moves of replicas. The
    /// lost nodes are given up as dead and must never be started again with their data. Partitions without a majority need
    /// `quorate topic recover` after that.
    #[command(after_help = "Examples:\n  quorate-node recover-metadata --data-dir /var/lib/quorate/1 --lost 2,3\n  \
        quorate-node recover-metadata --data-dir /var/lib/quorate/1 --lost 2,3 --accept-data-loss")]
    RecoverMetadata {
        /// The nodes that are gone for good
        #[arg(long, value_name = "N,…", value_delimiter = ',', required = true)]
        lost: Vec<u64>,
        /// Go on without what only the lost nodes have
        #[arg(long)]
        accept_data_loss: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints every setting with its value and where that comes from
    Show,
}

impl Args {
    pub(crate) fn load(&self) -> Result<Loaded, ConfigError> {
        let flags = [
            ("data_dir", &self.data_dir),
            ("listen", &self.listen),
            ("advertise", &self.advertise),
            ("peer_listen", &self.peer_listen),
            ("peer_advertise", &self.peer_advertise),
            ("http_listen", &self.http_listen),
            ("seeds", &self.seeds),
            ("join", &self.join),
            ("standby", &self.standby.then(|| "true".to_owned())),
            ("rack", &self.rack),
        ];
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
        let sources = Sources { file: self.config.clone(), flags, ..Sources::default() };
        NodeConfig::load(&sources.with_process_environment())
    }

    pub(crate) fn workers(&self) -> usize {
        std::thread::available_parallelism().map_or(WORKERS_MIN, |cores| cores.get().max(WORKERS_MIN))
    }
}
