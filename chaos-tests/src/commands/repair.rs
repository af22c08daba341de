//! `quorate-chaos repair`.

use std::{io, process::ExitCode};

use clap::Args;
use quorate_chaos_tests::chaos::{Outcome, repair::repair};
use serde_json::json;

use super::{block_on, exit_code, fail};
use crate::Format;

/// What is to be mended a second at least, in MiB.
const HOLD: f64 = 16.0;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How much is written before half of what one node has finished is overwritten, in MiB
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(128..=65_536))]
    mib: u64,
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let measured = block_on(async {
        let directory = tempfile::tempdir()?;
        repair(arguments.mib, directory.path()).await.map_err(io::Error::other)
    });
    let measured = match measured {
        Ok(measured) => measured,
        Err(error) => return fail(&error),
    };
    match output {
        Format::Table => say!("{measured}"),
        Format::Json => say!("{}", json!({ "repair": measured, "mib_per_second": measured.mib_per_second() })),
    }
    let holds = measured.whole && measured.mib_per_second() >= HOLD;
    exit_code(if holds { Outcome::Passed } else { Outcome::Violated })
}
