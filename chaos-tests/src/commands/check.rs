//! `quorate-chaos check`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use quorate_chaos_tests::{
    chaos::Outcome,
    checker::{self, Report},
    history,
};
use serde_json::json;

use super::{exit_code, fail};
use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "Which faults were injected is not in a history: a pass says that nothing is wrong with it.")]
pub(crate) struct Arguments {
    /// The history.jsonl of a run
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let report = match history::read(&arguments.file) {
        Ok(history) => checker::check(&history),
        Err(error) => return fail(&format!("{}: {error}", arguments.file.display())),
    };
    let outcome = match (report.findings.is_empty(), report.inconclusive.is_empty()) {
        (false, _) => Outcome::Violated,
        (true, false) => Outcome::Inconclusive,
        (true, true) => Outcome::Passed,
    };
    match output {
        Format::Json => say!("{}", json!({ "outcome": outcome, "report": report })),
        Format::Table => show(outcome, &report),
    }
    exit_code(outcome)
}

fn show(outcome: Outcome, report: &Report) {
    let counts = report.counts;
    say!(
        "{outcome}: {} acknowledged, {} unknown, {} failed writes",
        counts.acknowledged,
        counts.unknown,
        counts.failed
    );
    for (kind, found) in report.findings.iter() {
        say!("  {kind} {}", found.count);
        for example in &found.examples {
            say!("    {}: {}", example.partition, example.detail);
        }
    }
    for reason in &report.inconclusive {
        say!("  inconclusive: {reason}");
    }
}
