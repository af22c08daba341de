//! `quorate-chaos overload`.

use std::{io, process::ExitCode, time::Duration};

use clap::Args;
use quorate_chaos_tests::chaos::overload::overload;
use serde_json::json;

use super::{block_on, exit_code, fail};
use crate::Format;

/// The memory of a node is at most so many times what it may have.
const HOLD: f64 = 1.2;

#[derive(Debug, Args)]
#[command(after_help = "\
Four producers send as fast as they can, then forty, then forty while readers ask for more than they take. A node may then have, besides \
what it has when it is idle, what its settings allow to be in memory, and a fifth more. What is written stays on the disk until \
the end, with three copies: some ten gigabytes. Linux only.")]
pub(crate) struct Arguments {
    /// How many readers
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    readers: u32,
    /// How long each of the three loads lasts, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(5..=600))]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let each = Duration::from_secs(arguments.seconds);
    let measured = block_on(async {
        let directory = tempfile::tempdir()?;
        overload(arguments.readers, each, directory.path()).await.map_err(io::Error::other)
    });
    let measured = match measured {
        Ok(measured) => measured,
        Err(error) => return fail(&error),
    };
    match output {
        Format::Table => say!("{measured}"),
        Format::Json => say!("{}", json!({ "overload": measured, "of_budget": measured.of_budget() })),
    }
    exit_code(measured.outcome(HOLD))
}
