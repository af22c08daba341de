//! `quorate-chaos failover`.

use std::process::ExitCode;

use clap::Args;
use quorate_chaos_tests::chaos::failover::{Failover, failover};
use serde_json::json;

use super::{block_on, fail};
use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
Each time a node is killed that leads exactly a third of the partitions. The cluster evens leadership out gently, so it takes \
a while until one does; after two minutes one that leads nearly a third is killed. Both are told apart in the end.")]
pub(crate) struct Arguments {
    /// Partitions, each with a replica on all three nodes
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(3..=1_000))]
    partitions: u32,
    /// How often a leader is killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    rounds: u32,
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let measured =
        block_on(async { failover(arguments.partitions, arguments.rounds).await.map_err(std::io::Error::other) });
    match (measured, output) {
        (Ok(measured), Format::Table) => say!("{measured}"),
        (Ok(measured), Format::Json) => {
            let (third, all) = (measured.of_a_third(), measured.of_all());
            let Failover { idle_share, kills, .. } = measured;
            say!("{}", json!({ "idle_share": idle_share, "gaps": kills, "of_a_third": third, "of_all": all }));
        }
        (Err(error), _) => return fail(&error),
    }
    ExitCode::SUCCESS
}
