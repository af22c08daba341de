//! `quorate`: the command line of Quorate.
//!
//! Exit code 0: done; 1: failed, with one line on stderr; 2: the command line itself was wrong.
//!
//! Not here: anything the cluster does. Every command speaks to it through the SDK, as any client would,
//! but for `log`, which reads the files of a node that may be down.

mod args;
mod base64;
mod commands;
mod confirm;
mod context;
mod contexts;
mod error;
mod format;
mod interrupt;
mod lines;
mod local;
mod moment;
mod output;
mod progress;
#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod reference;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return error::usage_exit(&usage),
    };
    let format = cli.global.output;
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(format),
    }
}
