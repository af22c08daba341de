//! `quorate-chaos`: tortures clusters and judges what came out of them.
//!
//! Exit code 0: verified; 1: violated, or unreadable; 2: the command line itself was wrong; 3: inconclusive.

/// Writes a line to stdout. Whoever reads it may have had enough: that ends no run.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use commands::{
    check, failover, figures, grow, list, overload, pipelining, repair, replay, retries, run, verify_lines,
};

/// Tortures clusters of real processes and judges what came out of them
#[derive(Debug, Parser)]
#[command(name = "quorate-chaos", version, propagate_version = true)]
struct Args {
    /// How results are written to stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for a person
    Table,
    /// One JSON object
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a cluster under faults that follow from a seed, and checks what its clients saw
    Run(run::Arguments),
    /// Repeats a run
    Replay(replay::Arguments),
    /// Checks the history of a run once more
    Check(check::Arguments),
    /// Runs each kind of fault alone and prints what was measured beside what is to hold
    Figures(figures::Arguments),
    /// Lists the nemeses and the anomalies
    List,
    /// Measures how long partitions take no records after their leader is killed, and what idle ones cost
    Failover(failover::Arguments),
    /// Measures what it costs those who produce that a fourth node is added, and how fast it gets its share
    Grow(grow::Arguments),
    /// Measures what nodes do under ten times the producers they can serve and a thousand slow readers
    Overload(overload::Arguments),
    /// Measures what one partition takes with and without delay between the nodes
    Pipelining(pipelining::Arguments),
    /// Has producers send again what was appended already while leaders fail, and looks whether anything is there twice
    Retries(retries::Arguments),
    /// Overwrites half of what a node has finished, and measures how fast that is found and mended from the others
    Repair(repair::Arguments),
    /// Has each bug of this build in turn, and looks whether a run finds it
    #[cfg(feature = "planted-bugs")]
    Planted(commands::planted::Arguments),
    /// Proves that a consumed stream on stdin holds every line of a file exactly once and in order
    VerifyLines(verify_lines::Arguments),
}

fn main() -> ExitCode {
    let Args { output, command } = Args::parse();
    match command {
        Command::Run(arguments) => run::run(&arguments, output),
        Command::Replay(arguments) => replay::run(&arguments, output),
        Command::Figures(arguments) => figures::run(&arguments, output),
        Command::Check(arguments) => check::run(&arguments, output),
        Command::List => list::run(output),
        Command::Failover(arguments) => failover::run(&arguments, output),
        Command::Grow(arguments) => grow::run(&arguments, output),
        Command::Overload(arguments) => overload::run(&arguments, output),
        Command::Pipelining(arguments) => pipelining::run(&arguments, output),
        Command::Repair(arguments) => repair::run(&arguments, output),
        Command::Retries(arguments) => retries::run(&arguments, output),
        #[cfg(feature = "planted-bugs")]
        Command::Planted(arguments) => commands::planted::run(&arguments, output),
        Command::VerifyLines(arguments) => verify_lines::run(&arguments, output),
    }
}
