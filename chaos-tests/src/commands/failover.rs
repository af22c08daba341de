//! `quorate-chaos failover`.

use std::process::ExitCode;

use clap::Args;
use quorate_chaos_tests::chaos::failover::failover;
use serde_json::json;

use super::{block_on, fail};
use crate::Format;

#[derive(Debug, Args)]
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
        (Ok(measured), Format::Table) => println!("{measured}"),
        (Ok(measured), Format::Json) => {
            let gaps = measured.gaps.iter().map(|(led, gap)| json!({ "led": led, "seconds": gap.as_secs_f64() }));
            println!("{}", json!({ "idle_share": measured.idle_share, "gaps": gaps.collect::<Vec<_>>() }));
        }
        (Err(error), _) => return fail(&error),
    }
    ExitCode::SUCCESS
}
