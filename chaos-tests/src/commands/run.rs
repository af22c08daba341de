//! `quorate-chaos run`.

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum, builder::PossibleValuesParser, builder::TypedValueParser};
use quorate_chaos_tests::{
    chaos::{
        self, NODES, NODES_MAX, Network, Outcome, RunOptions, Verdict,
        nemesis::{NemesisKind, Pace, Role},
    },
    harness::NodeKind,
    netns,
};
use serde_json::json;

use super::{block_on, exit_code, fail};
use crate::Format;

/// Faults come no more often and no more rarely than this.
const EVERY_MIN: Duration = Duration::from_millis(200);
const EVERY_MAX: Duration = Duration::from_secs(3_600);

#[derive(Debug, Args)]
#[command(after_help = "\
A run fails (exit code 1) on any anomaly, crash, panic or hang. It is inconclusive (3) with fewer than 1,000 acknowledged \
writes, an unfinished drain, or a nemesis that was asked for and never installed.

Example:
  quorate-chaos run --profile quick --seeds 1,2,3 --nemesis kill,isolate,one-way --results results")]
pub(crate) struct Arguments {
    /// How long faults are injected: quick 2 min, full 30 min, soak eight times 30 min
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
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
    /// How often faults come, on average: the time one of them, its healing and the quiet after it take
    #[arg(long, value_name = "TIME", default_value = "3500ms", value_parser = pace_parser)]
    every: Duration,
    /// The only role that is hit, by those faults that may hit it [default: any]
    #[arg(long, value_name = "ROLE", value_parser = role_parser())]
    role: Option<Role>,
    /// How many nodes the cluster begins with; every partition has three replicas
    #[arg(long, value_name = "N", default_value_t = NODES, value_parser = clap::value_parser!(u16).range(3..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// Give each node a network namespace of its own, and drop packets between them; needs `unshare` and `ip`, and no root
    #[arg(long)]
    netns: bool,
    /// Run the shipped binaries: a kill is a kill, no power cut, and disks and clocks work
    #[arg(long)]
    shipped: bool,
    /// Where each run makes a directory of its results [default: quorate-chaos in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Quick,
    Full,
    Soak,
}

fn nemesis_parser() -> impl TypedValueParser<Value = NemesisKind> {
    PossibleValuesParser::new(NemesisKind::ALL.map(NemesisKind::name))
        .try_map(|name| NemesisKind::from_name(&name).ok_or("there is no such nemesis"))
}

fn role_parser() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::name))
        .try_map(|name| Role::from_name(&name).ok_or("there is no such role"))
}

fn pace_parser(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (EVERY_MIN..=EVERY_MAX).contains(&every) {
        return Ok(every);
    }
    Err(format!("it must lie within {EVERY_MIN:?} and {EVERY_MAX:?}"))
}

impl Arguments {
    fn runs(&self) -> Vec<RunOptions> {
        let profile = match self.profile {
            Profile::Quick => chaos::Profile::Quick,
            Profile::Full => chaos::Profile::Full,
            Profile::Soak => chaos::Profile::Soak,
        };
        let (faults_for, runs) = match (self.seconds, self.minutes) {
            (Some(seconds), _) => (Duration::from_secs(seconds), 1),
            (_, Some(minutes)) => (Duration::from_secs(60 * minutes), 1),
            (None, None) => (profile.faults_for(), profile.runs()),
        };
        let size = self.nodes;
        let network = if self.netns { Network::Namespaces } else { Network::Proxies };
        let nodes = if self.shipped { NodeKind::Shipped } else { NodeKind::PowerLoss };
        let mut nemeses = if self.nemesis.is_empty() { NemesisKind::ALL.to_vec() } else { self.nemesis.clone() };
        if self.nemesis.is_empty() {
            let fits = |kind: &NemesisKind| kind.nodes_min() <= self.nodes && !(self.netns && kind.needs_proxies());
            nemeses.retain(|kind| fits(kind) && !(self.shipped && kind.needs_seams()));
        }
        nemeses.sort_unstable();
        nemeses.dedup();
        let following = (0..runs).map(|run| self.seed.wrapping_add(run)).collect();
        let seeds = if self.seeds.is_empty() { following } else { self.seeds.clone() };
        let results = self.results.clone().unwrap_or_else(default_results);
        let pace = Pace { every: self.every, role: self.role, overlap: true };
        let run = |seed| RunOptions {
            seed,
            nemeses: nemeses.clone(),
            faults_for,
            pace,
            size,
            network,
            nodes,
            results: results.clone(),
        };
        seeds.into_iter().map(run).collect()
    }
}

/// Where results go unless that is said.
pub(super) fn default_results() -> PathBuf {
    std::env::temp_dir().join("quorate-chaos")
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    if let Some(kind) = arguments.nemesis.iter().find(|kind| arguments.shipped && kind.needs_seams()) {
        eprintln!(
            "quorate-chaos: {kind} breaks disks, power or clocks, which the shipped binaries do not let it; leave --shipped out"
        );
        return ExitCode::from(2);
    }
    if let Some(kind) = arguments.nemesis.iter().find(|kind| kind.nodes_min() > arguments.nodes) {
        let (needs, nodes) = (kind.nodes_min(), arguments.nodes);
        eprintln!("quorate-chaos: {kind} needs {needs} nodes, and there are to be {nodes}; add --nodes {needs}");
        return ExitCode::from(2);
    }
    if let Some(kind) = arguments.nemesis.iter().find(|kind| arguments.netns && kind.needs_proxies()) {
        eprintln!(
            "quorate-chaos: {kind} is done to connections by proxies, of which there are none with --netns; leave one of them out"
        );
        return ExitCode::from(2);
    }
    run_all(arguments.runs(), output)
}

/// Runs this program with its own arguments again, in namespaces of its own.
fn in_namespaces() -> ExitCode {
    if let Err(why) = netns::possible() {
        eprintln!("quorate-chaos: --netns is skipped, since no network namespaces can be made here: {why}");
        return exit_code(Outcome::Inconclusive);
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let entered = std::env::current_exe().map_err(|error| error.to_string());
    match entered.and_then(|program| netns::enter(program.as_os_str(), &arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(why) => fail(&io::Error::other(why)),
    }
}

/// Runs one after the other and tells what came of each.
pub(super) fn run_all(runs: Vec<RunOptions>, output: Format) -> ExitCode {
    if runs.iter().any(|run| run.network == Network::Namespaces) && !netns::is_inside() {
        return in_namespaces();
    }
    let ran = block_on(async {
        let mut verdicts = Vec::new();
        for options in runs {
            let verdict = chaos::run(&options).await?;
            if output == Format::Table {
                say!("{verdict}");
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
                say!("{}", json!({ "outcome": outcome, "runs": verdicts }));
            }
            exit_code(outcome)
        }
        Err(error) => fail(&error),
    }
}
