//! `quorate-chaos retries`.

use std::{io, process::ExitCode, time::Duration};

use clap::Args;
use quorate_chaos_tests::chaos::retries::retries;

use super::{block_on, exit_code, fail};
use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
Answers to clients are lost again and again while nodes are killed, so that producers send what was appended already once more. \
Every record is a batch of its own, and has to be there once. The exit code is 1 if one is not, and 3 if time was up before all \
retries had come.")]
pub(crate) struct Arguments {
    /// How many retries of what was appended already
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    retries: u64,
    /// For how long at most, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let within = Duration::from_secs(60 * arguments.minutes);
    let measured = block_on(async {
        let directory = tempfile::tempdir()?;
        retries(arguments.retries, within, directory.path()).await.map_err(io::Error::other)
    });
    let measured = match measured {
        Ok(measured) => measured,
        Err(error) => return fail(&error),
    };
    match output {
        Format::Table => say!("{measured}"),
        Format::Json => say!("{}", serde_json::json!(measured)),
    }
    exit_code(measured.outcome())
}
