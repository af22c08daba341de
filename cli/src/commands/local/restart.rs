//! `quorate local restart`

use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::DirArg;
use crate::context::Context;
use crate::error::Failure;
use crate::local::state::LocalCluster;
use crate::local::{binary, ports, spawn, wait};
use crate::output::View;

#[derive(Debug, Args)]
#[command(after_help = "\
A running node is asked to end first (SIGTERM, killed after 10 s). Returns once the node answers. With `all`, \
all nodes are down together for a moment.

Examples:
  quorate local restart 2
  quorate local restart all")]
pub(crate) struct RestartArgs {
    /// The node's number, from 1, or `all`
    #[arg(value_name = "N|all")]
    which: Which,
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
    let numbers = numbers(&cluster, args.which)?;

    let chosen = || cluster.nodes.iter().filter(|node| numbers.contains(&node.number));
    let running: Vec<_> = chosen().filter_map(|node| node.running()).cloned().collect();
    let chosen_ports: Vec<_> = chosen().map(|node| node.ports()).collect();
    wait::stop(&running, wait::STOP_GRACE).await?;
    ports::ensure_free(&chosen_ports)?;

    let mut started = Vec::new();
    for &number in &numbers {
        started.push(spawn::start(&program, &dir, &mut cluster, number)?);
    }
    match args.which {
        Which::All => wait::until_formed(&dir, &cluster, &started, context.deadline()).await?,
        Which::One(number) => {
            wait::until_answering(&dir, cluster.node(number)?, &started, context.deadline()).await?;
        }
    }
    context.show(&RestartedView { restarted: numbers })
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
