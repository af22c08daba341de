//! `quorate-chaos replay`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use quorate_chaos_tests::chaos::RunOptions;

use super::{
    fail,
    run::{default_results, run_all},
};
use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
The same faults come at the same times against the same roles. How processes are scheduled is not repeated: --times makes up \
for that.

Example:
  quorate-chaos replay results/2026-11-23T15-49-38.852Z-seed-1 --times 5")]
pub(crate) struct Arguments {
    /// The directory of a run's results
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    times: u16,
    /// Where each run makes a directory of its results [default: quorate-chaos in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let results = arguments.results.clone().unwrap_or_else(default_results);
    match RunOptions::of_run(&arguments.directory, results) {
        Ok(options) => run_all(vec![options; usize::from(arguments.times)], output),
        Err(why) => fail(&why),
    }
}
