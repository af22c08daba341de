//! `quorate-chaos pipelining`.

use std::process::ExitCode;

use clap::Args;
use quorate_chaos_tests::chaos::pipelining::{Settings, measure};
use serde_json::json;

use super::{block_on, fail};
use crate::Format;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Producers, each with a client of its own
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    producers: u32,
    /// Bytes of a full batch
    #[arg(long, value_name = "BYTES", default_value_t = 512 * 1024)]
    batch_bytes: usize,
    /// Batches of a producer on their way at once
    #[arg(long, value_name = "N", default_value_t = 5)]
    in_flight: usize,
    /// Added each way on every link between nodes, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    delay_ms: u64,
    /// How long each of the two measurements lasts
    #[arg(long, value_name = "S", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let Arguments { producers, batch_bytes, in_flight, delay_ms, seconds } = *arguments;
    let measured = block_on(async {
        let directory = tempfile::tempdir()?;
        measure(Settings { producers, batch_bytes, in_flight, delay_ms, seconds }, directory.path()).await
    });
    match (measured, output) {
        (Ok(measured), Format::Table) => say!("{measured}"),
        (Ok(measured), Format::Json) => say!("{}", json!({ "measured": measured, "ratio": measured.ratio() })),
        (Err(error), _) => return fail(&error),
    }
    ExitCode::SUCCESS
}
