//! `quorate-chaos run`.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum, builder::PossibleValuesParser, builder::TypedValueParser};
use quorate_chaos_tests::{
    chaos::{self, Outcome, RunOptions, Verdict, nemesis::NemesisKind},
    harness::NodeKind,
};
use serde_json::json;

use super::{block_on, exit_code, fail};
use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
A run fails (exit code 1) on any anomaly, crash, panic or hang. It is inconclusive (3) with fewer than 1,000 acknowledged \
writes, an unfinished drain, or a nemesis that was asked for and never installed.

Example:
  quorate-chaos run --profile quick --seeds 1,2,3 --nemesis kill,isolate,one-way --results results")]
pub(crate) struct Arguments {
    /// How long faults are injected: quick 30 s, standard 2 min, long 20 min
    #[arg(long, value_enum, default_value_t = Profile::Standard)]
    profile: Profile,
    /// How long faults are injected, in seconds
    #[arg(long, value_name = "S", conflicts_with_all = ["profile", "minutes"], value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// How long faults are injected, in minutes
    #[arg(long, value_name = "M", conflicts_with = "profile", value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: Option<u64>,
    /// Decides which faults come when
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Several runs, one after the other
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', conflicts_with = "seed")]
    seeds: Vec<u64>,
    /// The faults to inject, each at least once [default: all; see `quorate-chaos list`]
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = nemesis_parser())]
    nemesis: Vec<NemesisKind>,
    /// Nodes whose disks lose at every kill what was not synced
    #[arg(long)]
    power_loss: bool,
    /// Where each run makes a directory of its results [default: quorate-chaos in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Quick,
    Standard,
    Long,
}

fn nemesis_parser() -> impl TypedValueParser<Value = NemesisKind> {
    PossibleValuesParser::new(NemesisKind::ALL.map(NemesisKind::name))
        .try_map(|name| NemesisKind::from_name(&name).ok_or("there is no such nemesis"))
}

impl Arguments {
    fn runs(&self) -> Vec<RunOptions> {
        let faults_for = match (self.seconds, self.minutes, self.profile) {
            (Some(seconds), ..) => Duration::from_secs(seconds),
            (_, Some(minutes), _) => Duration::from_secs(60 * minutes),
            (.., Profile::Quick) => chaos::Profile::Quick.faults_for(),
            (.., Profile::Standard) => chaos::Profile::Standard.faults_for(),
            (.., Profile::Long) => chaos::Profile::Long.faults_for(),
        };
        let mut nemeses = if self.nemesis.is_empty() { NemesisKind::ALL.to_vec() } else { self.nemesis.clone() };
        nemeses.sort_unstable();
        nemeses.dedup();
        let seeds = if self.seeds.is_empty() { vec![self.seed] } else { self.seeds.clone() };
        let results = self.results.clone().unwrap_or_else(|| std::env::temp_dir().join("quorate-chaos"));
        let nodes = if self.power_loss { NodeKind::PowerLoss } else { NodeKind::Shipped };
        let run = |seed| RunOptions { seed, nemeses: nemeses.clone(), faults_for, nodes, results: results.clone() };
        seeds.into_iter().map(run).collect()
    }
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let ran = block_on(async {
        let mut verdicts = Vec::new();
        for options in arguments.runs() {
            let verdict = chaos::run(&options).await?;
            if output == Format::Table {
                println!("{verdict}");
            }
            verdicts.push(verdict);
        }
        io::Result::Ok(verdicts)
    });
    match ran {
        Ok(verdicts) => {
            let outcome =
                verdicts.iter().map(|verdict: &Verdict| verdict.outcome).max().unwrap_or(Outcome::Inconclusive);
            if output == Format::Json {
                println!("{}", json!({ "outcome": outcome, "runs": verdicts }));
            }
            exit_code(outcome)
        }
        Err(error) => fail(&error),
    }
}
