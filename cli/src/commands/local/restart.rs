//! `quorate local restart`

use std::path::Path;
use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::DirArg;
use crate::context::Context;
use crate::error::{Failure, note};
use crate::local::spawn::Started;
use crate::local::state::{LocalCluster, LocalDir};
use crate::local::{binary, ports, spawn, wait};
use crate::output::View;

#[derive(Debug, Args)]
#[command(after_help = "\
A running node is asked to end first (SIGTERM, killed after 10 s). Returns once the node answers. With `all`, \
all nodes are down together for a moment; with --rolling, one after the other, each once all replicas keep up, so that \
producers and consumers go on.

Examples:
  quorate local restart 2
  quorate local restart --rolling
  quorate local restart all")]
pub(crate) struct RestartArgs {
    /// The node's number, from 1, or `all`
    #[arg(value_name = "N|all", required_unless_present = "rolling")]
    which: Option<Which>,
    /// Restart all nodes one after the other, each once the cluster is healthy
    #[arg(long, conflicts_with = "which")]
    rolling: bool,
    #[command(flatten)]
    dir: DirArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    One(u16),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::One).map_err(|_| "write a node's number or `all`".to_owned()),
        }
    }
}

#[derive(Serialize)]
struct RestartedView {
    restarted: Vec<u16>,
}

pub(crate) async fn run(context: &Context, args: RestartArgs) -> Result<(), Failure> {
    let context = context.with_timeout_default(wait::START_TIMEOUT_DEFAULT);
    let dir = args.dir.resolve()?;
    dir.load_existing()?;
    let program = binary::find()?;
    let _lock = dir.lock(context.deadline()).await?;
    let mut cluster = dir.load_existing()?;
    let numbers = numbers(&cluster, args.which.unwrap_or(Which::All))?;
    if args.rolling {
        for &number in &numbers {
            let context = context.renewed();
            wait::until_healthy(&cluster, context.deadline()).await?;
            let started = restart(&program, &dir, &mut cluster, &[number]).await?;
            wait::until_answering(&dir, cluster.node(number)?, &started, context.deadline()).await?;
            note(&format!("restarted node {number}"));
        }
        wait::until_healthy(&cluster, context.renewed().deadline()).await?;
        return context.show(&RestartedView { restarted: numbers });
    }
    let started = restart(&program, &dir, &mut cluster, &numbers).await?;
    match args.which {
        Some(Which::One(number)) => {
            wait::until_answering(&dir, cluster.node(number)?, &started, context.deadline()).await?;
        }
        Some(Which::All) | None => wait::until_formed(&dir, &cluster, &started, context.deadline()).await?,
    }
    context.show(&RestartedView { restarted: numbers })
}

/// Stops these nodes and starts them again.
async fn restart(
    program: &Path,
    dir: &LocalDir,
    cluster: &mut LocalCluster,
    numbers: &[u16],
) -> Result<Vec<Started>, Failure> {
    let chosen = || cluster.nodes.iter().filter(|node| numbers.contains(&node.number));
    let running: Vec<_> = chosen().filter_map(|node| node.running()).cloned().collect();
    let chosen_ports: Vec<_> = chosen().map(|node| node.ports()).collect();
    wait::stop(&running, wait::STOP_GRACE).await?;
    ports::ensure_free(&chosen_ports)?;
    numbers.iter().map(|number| spawn::start(program, dir, cluster, *number)).collect()
}

fn numbers(cluster: &LocalCluster, which: Which) -> Result<Vec<u16>, Failure> {
    match which {
        Which::All => Ok(cluster.nodes.iter().map(|node| node.number).collect()),
        Which::One(number) => Ok(vec![cluster.node(number)?.number]),
    }
}

impl View for RestartedView {
    fn text(&self) -> String {
        let numbers: Vec<_> = self.restarted.iter().map(ToString::to_string).collect();
        let noun = if numbers.len() == 1 { "node" } else { "nodes" };
        format!("restarted {noun} {}", numbers.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_all_is_taken() {
        assert_eq!(("all".parse(), "2".parse()), (Ok(Which::All), Ok(Which::One(2))));
        assert!("two".parse::<Which>().is_err());
    }
}
