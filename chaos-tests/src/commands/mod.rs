//! The subcommands, one a file.

pub(crate) mod check;
pub(crate) mod failover;
pub(crate) mod figures;
pub(crate) mod grow;
pub(crate) mod list;
pub(crate) mod overload;
pub(crate) mod pipelining;
#[cfg(feature = "planted-bugs")]
pub(crate) mod planted;
pub(crate) mod repair;
pub(crate) mod replay;
pub(crate) mod retries;
pub(crate) mod run;
pub(crate) mod verify_lines;

use std::{future::Future, io, process::ExitCode};

use quorate_chaos_tests::chaos::Outcome;
use tracing_subscriber::EnvFilter;

/// Ends a process whose run proves too little.
const INCONCLUSIVE: u8 = 3;

/// The exit code of an outcome.
fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Passed => ExitCode::SUCCESS,
        Outcome::Violated => ExitCode::FAILURE,
        Outcome::Inconclusive => INCONCLUSIVE.into(),
    }
}

/// Runs to the end or to Ctrl-C. Then what it held is dropped, its processes with it.
fn block_on<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let filter = EnvFilter::try_from_env("QUORATE_LOG_FILTER").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = work => done,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"))
            }
        }
    })
}

/// Says why a command could not do its work.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("quorate-chaos: {error}");
    ExitCode::FAILURE
}
