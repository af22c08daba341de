//! The commands, one a file.

mod bench;
mod cluster;
mod completions;
pub(crate) mod consume;
mod context;
mod doctor;
mod group;
mod local;
mod log;
mod node;
mod produce;
mod topic;

use clap::Subcommand;

use crate::args::Cli;
use crate::context::Context;
use crate::error::Failure;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a cluster of real nodes on this machine
    #[command(subcommand)]
    Local(local::LocalCommand),
    /// Ask after the cluster and its health
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Ask after nodes
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Create, list, describe, trim and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Look at consumer groups, reset and delete them
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Append lines of stdin or of a file to a topic
    Produce(produce::ProduceArgs),
    /// Read records of a topic
    Consume(consume::ConsumeArgs),
    /// Measure throughput and latency
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Name clusters, and choose one of them
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Check whether this machine is fit for a node
    Doctor(doctor::DoctorArgs),
    /// Write the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Look into a replica's log files, without a cluster
    #[command(subcommand)]
    Log(log::LogCommand),
}

/// Runs a command to its end.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    trace_if_asked()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| {
            Failure::message(format!("cannot start, {error}, check the limits on processes and files"))
        })?;
    let context = Context::new(&cli.global);
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Local(command) => local::run(&context, command).await,
            Command::Cluster(command) => cluster::run(&context, command).await,
            Command::Node(command) => node::run(&context, command).await,
            Command::Topic(command) => topic::run(&context, command).await,
            Command::Group(command) => group::run(&context, command).await,
            Command::Produce(args) => produce::run(&context, args).await,
            Command::Consume(args) => consume::run(&context, args).await,
            Command::Bench(command) => bench::run(&context, command).await,
            Command::Log(command) => log::run(&context, command),
            Command::Context(command) => context::run(&context, command),
            Command::Doctor(args) => doctor::run(&context, &args),
            Command::Completions(args) => completions::run(&args),
        }
    });
    // What still runs, such as a connection attempt, must not delay the end.
    runtime.shutdown_background();
    outcome
}

/// Traces of the SDK on stderr, if `QUORATE_LOG_FILTER` asks for them.
fn trace_if_asked() -> Result<(), Failure> {
    const VARIABLE: &str = "QUORATE_LOG_FILTER";
    let Some(filter) = std::env::var_os(VARIABLE).filter(|filter| !filter.is_empty()) else {
        return Ok(());
    };
    let filter = tracing_subscriber::EnvFilter::try_new(filter.to_string_lossy()).map_err(|error| {
        Failure::Usage(format!("{VARIABLE} is no log filter, {error}, write it like info or quorate=debug"))
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
