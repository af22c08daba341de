//! `quorate-chaos planted`.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser};
use quorate_chaos_tests::chaos::nemesis::NemesisKind;
use quorate_planted_bugs::{PlantedBug, VARIABLE};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{block_on, fail, run::default_results};
use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
Each bug has a profile: faults, and how long they are injected. A run of it has to fail with the bug, and to pass without. \
The exit code is 1 if a bug is not found, or if a run without one does not pass.")]
pub(crate) struct Arguments {
    /// The bugs [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = bug_parser())]
    bug: Vec<PlantedBug>,
    /// Decides which faults come when
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Leave the runs without bugs out
    #[arg(long)]
    no_controls: bool,
    /// Where each run makes a directory of its results [default: quorate-chaos in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

fn bug_parser() -> impl TypedValueParser<Value = PlantedBug> {
    PossibleValuesParser::new(PlantedBug::ALL.map(PlantedBug::name))
        .try_map(|name| PlantedBug::from_name(&name).ok_or("there is no such bug"))
}

/// The faults that bring a bug to light, for how many seconds they are injected, and how often, in milliseconds.
fn profile(bug: PlantedBug) -> (&'static [NemesisKind], u64, u64) {
    use NemesisKind::{Clients, Damage, Delay, Isolate, Kill, Pause, PowerCut, Reset, VoteLoss, Wipe};
    let (kinds, seconds): (&[NemesisKind], u64) = match bug {
        // The power goes while batches are acknowledged slowly and segments begin.
        PlantedBug::DedupLostInSnapshot => return (&[Delay, PowerCut], 120, 1_200),
        PlantedBug::AckBeforeSync => (&[Kill, PowerCut], 60),
        PlantedBug::VoteBeforeSync => (&[VoteLoss], 90),
        PlantedBug::DedupLostOnFailover => (&[Kill, Isolate, Clients], 60),
        PlantedBug::TornTailTakenForCorruption => (&[Kill], 60),
        PlantedBug::CorruptionTakenForTornTail => (&[Damage, Kill], 60),
        PlantedBug::ReadsBeyondCommit => (&[Kill, Isolate], 60),
        PlantedBug::StaleEndOffsets => (&[Isolate, Pause], 60),
        PlantedBug::RetryWithNewSequence => (&[Reset, Clients], 30),
        PlantedBug::OffsetFromLogIndex => (&[Reset], 10),
        PlantedBug::RejoinUnderOldId => (&[Wipe], 30),
    };
    (kinds, seconds, 3_500)
}

/// What came of one run.
#[derive(Serialize)]
struct Row {
    /// None in a run without one.
    bug: Option<&'static str>,
    nemeses: String,
    seconds: u64,
    found: bool,
    /// Anomalies with how many there were, and the first defect.
    by: String,
}

impl Row {
    fn is_as_it_should_be(&self) -> bool {
        self.found == self.bug.is_some()
    }

    fn show(&self) {
        let verdict = match (self.found, self.bug) {
            (true, _) => self.by.as_str(),
            (false, Some(_)) => "NOT FOUND",
            (false, None) => "passed",
        };
        say!("{:<32} {:<24} {:>4}  {verdict}", self.bug.unwrap_or("none"), self.nemeses, self.seconds);
    }
}

/// Runs this program with a bug or without one, and reads its verdict.
async fn one(bug: PlantedBug, planted: bool, seed: u64, results: &Path) -> io::Result<Row> {
    let (kinds, seconds, every_ms) = profile(bug);
    let nemeses = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--output", "json", "run", "--nemesis", &nemeses, "--every", &format!("{every_ms}ms")]);
    command.args(["--seconds", &seconds.to_string(), "--seed", &seed.to_string(), "--results"]).arg(results);
    match planted {
        true => command.env(VARIABLE, bug.name()),
        false => command.env_remove(VARIABLE),
    };
    let ran = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    let said: Value = serde_json::from_slice(&ran.stdout).map_err(|error| {
        io::Error::other(format!("a run ended with {} and said nothing that can be read: {error}", ran.status))
    })?;
    let verdict = &said["runs"][0];
    let anomalies = verdict["anomalies"].as_object().into_iter().flatten();
    let mut by: Vec<String> = anomalies.map(|(name, found)| format!("{name} {}", found["count"])).collect();
    by.extend(verdict["defects"][0].as_str().map(str::to_owned));
    let outcome = said["outcome"].as_str().unwrap_or_default();
    if by.is_empty() && outcome != "passed" {
        by.push(format!("{outcome}: {}", verdict["inconclusive"]));
    }
    let bug = planted.then(|| bug.name());
    // A run that proves nothing has found nothing, and does not pass either.
    let found = outcome == "violated" || (outcome != "passed" && !planted);
    Ok(Row { bug, nemeses, seconds, found, by: by.join(", ") })
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let bugs = if arguments.bug.is_empty() { PlantedBug::ALL.to_vec() } else { arguments.bug.clone() };
    let results = arguments.results.clone().unwrap_or_else(default_results);
    let ran = block_on(async {
        if output == Format::Table {
            say!("{:<32} {:<24} {:>4}  FOUND BY", "BUG", "FAULTS", "S");
        }
        let mut rows = Vec::new();
        for bug in bugs {
            for planted in [true, false] {
                if !planted && arguments.no_controls {
                    continue;
                }
                let row = one(bug, planted, arguments.seed, &results).await?;
                if output == Format::Table {
                    row.show();
                }
                rows.push(row);
            }
        }
        io::Result::Ok(rows)
    });
    match ran {
        Ok(rows) => {
            if output == Format::Json {
                say!("{}", json!({ "rows": rows }));
            }
            if rows.iter().all(Row::is_as_it_should_be) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => fail(&error),
    }
}
