//! `quorate-chaos figures`.

mod one_node;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use quorate_chaos_tests::{
    chaos::{
        self, NODES, Network, Outcome, RunOptions, Verdict,
        failover::{Gaps, failover},
        nemesis::{NemesisKind, Pace, Role},
    },
    harness::NodeKind,
};
use serde::Serialize;
use serde_json::json;

use super::{block_on, exit_code, fail, run::default_results};
use crate::Format;

#[derive(Debug, Args)]
#[command(after_help = "\
One run for each kind of fault, all under the same seed, then one node of three that is not as it should be, and kills of the \
busiest node. What is to hold is beside what was measured; a figure that is missed is marked and makes the exit code 1, as does any anomaly.")]
pub(crate) struct Arguments {
    /// How long each kind of fault is injected, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    seconds: u64,
    /// Decides which faults come when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where each run makes a directory of its results [default: quorate-chaos in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

/// What is to hold of a run with one kind of fault, in seconds. A bound that says nothing is missing.
#[derive(Clone, Copy)]
struct Hold {
    kind: NemesisKind,
    /// Once, long, and against a leader.
    long: bool,
    /// The longest time without an acknowledgement on a partition.
    gap: Option<f64>,
    /// No send of a producer that never crashes fails, and of none the end is unknown.
    all_acknowledged: bool,
    /// From the end of the faults until every partition acknowledges.
    writable: f64,
    /// From the end of the sends until all replicas are alike.
    converged: f64,
}

const HOLDS: [Hold; 22] = {
    const fn hold(kind: NemesisKind, gap: Option<f64>) -> Hold {
        Hold { kind, long: false, gap, all_acknowledged: false, writable: 10.0, converged: 10.0 }
    }
    /// A replica that is refused is replaced ten seconds later.
    const fn replaced(kind: NemesisKind) -> Hold {
        Hold { converged: 30.0, ..hold(kind, Some(2.0)) }
    }
    [
        // A majority may be gone for as long as the fault lasts.
        hold(NemesisKind::Kill, None),
        hold(NemesisKind::PowerCut, Some(10.0)),
        hold(NemesisKind::VoteLoss, None),
        hold(NemesisKind::Split, None),
        hold(NemesisKind::Pause, None),
        Hold { long: true, ..hold(NemesisKind::Pause, Some(2.0)) },
        hold(NemesisKind::Isolate, Some(2.0)),
        hold(NemesisKind::Sever, Some(2.0)),
        hold(NemesisKind::OneWay, Some(2.0)),
        // Where nearly all is corrupted, nothing passes.
        hold(NemesisKind::Corrupt, None),
        hold(NemesisKind::SlowDisk, Some(2.0)),
        hold(NemesisKind::Clock, Some(2.0)),
        hold(NemesisKind::FullDisk, None),
        Hold { all_acknowledged: true, ..hold(NemesisKind::Rolling, Some(2.0)) },
        replaced(NemesisKind::FailSync),
        replaced(NemesisKind::Damage),
        replaced(NemesisKind::DiskErrors),
        replaced(NemesisKind::Replace),
        replaced(NemesisKind::Wipe),
        hold(NemesisKind::Grow, Some(2.0)),
        hold(NemesisKind::Trim, Some(2.0)),
        hold(NemesisKind::Snapshot, Some(2.0)),
    ]
};

/// One line of the table.
#[derive(Serialize)]
struct Row {
    fault: String,
    outcome: Outcome,
    acknowledged: u64,
    not_acknowledged: u64,
    all_to_be_acknowledged: bool,
    anomalies: u64,
    gap_seconds: f64,
    gap_hold: Option<f64>,
    writable_seconds: f64,
    writable_hold: f64,
    converged_seconds: f64,
    converged_hold: f64,
}

impl Row {
    fn new(hold: Hold, verdict: &Verdict) -> Self {
        Self {
            fault: if hold.long { format!("{} long", hold.kind) } else { hold.kind.to_string() },
            outcome: verdict.outcome,
            acknowledged: verdict.counts.acknowledged,
            not_acknowledged: verdict.unacknowledged,
            all_to_be_acknowledged: hold.all_acknowledged,
            anomalies: verdict.anomalies.iter().map(|(_, found)| found.count).sum(),
            gap_seconds: verdict.longest_gap_of_a_partition.as_secs_f64(),
            gap_hold: hold.gap,
            writable_seconds: verdict.writable_after.as_secs_f64(),
            writable_hold: hold.writable,
            converged_seconds: verdict.converged_after.as_secs_f64(),
            converged_hold: hold.converged,
        }
    }

    fn is_missed(&self) -> bool {
        self.outcome == Outcome::Violated
            || (self.all_to_be_acknowledged && self.not_acknowledged > 0)
            || self.gap_hold.is_some_and(|hold| self.gap_seconds > hold)
            || self.writable_seconds > self.writable_hold
            || self.converged_seconds > self.converged_hold
    }

    fn show(&self) {
        let against = |measured: f64, hold: Option<f64>| match hold {
            Some(hold) => format!("{measured:.2} of {hold:.0}{}", if measured > hold { " !" } else { "" }),
            None => format!("{measured:.2}"),
        };
        say!(
            "{:<12} {:<12} {:>12} {:>8} {:>9}  {:<14} {:<14} {:<14}",
            self.fault,
            self.outcome,
            self.acknowledged,
            if self.all_to_be_acknowledged && self.not_acknowledged > 0 {
                format!("{} !", self.not_acknowledged)
            } else {
                self.not_acknowledged.to_string()
            },
            self.anomalies,
            against(self.gap_seconds, self.gap_hold),
            against(self.writable_seconds, Some(self.writable_hold)),
            against(self.converged_seconds, Some(self.converged_hold)),
        );
    }
}

pub(crate) fn run(arguments: &Arguments, output: Format) -> ExitCode {
    let results = arguments.results.clone().unwrap_or_else(default_results);
    let measured = block_on(async {
        if output == Format::Table {
            say!("FAULT        OUTCOME      ACKNOWLEDGED      NOT ANOMALIES  GAP S          WRITABLE S     ALIKE S");
        }
        let mut rows = Vec::new();
        for hold in HOLDS {
            let options = RunOptions {
                seed: arguments.seed,
                nemeses: vec![hold.kind],
                faults_for: if hold.long { LONG_FOR } else { Duration::from_secs(arguments.seconds) },
                pace: if hold.long { LONG } else { Pace::default() },
                size: NODES,
                network: Network::Proxies,
                nodes: NodeKind::PowerLoss,
                results: results.clone(),
            };
            let row = Row::new(hold, &chaos::run(&options).await?);
            if output == Format::Table {
                row.show();
            }
            rows.push(row);
        }
        let one_node = one_node::measure(&results, output == Format::Table).await?;
        let kills = failover(FAILOVER_PARTITIONS, FAILOVER_ROUNDS).await.map_err(io::Error::other)?;
        io::Result::Ok((rows, one_node, kills.of_all()))
    });
    let (rows, one_node, kills) = match measured {
        Ok(measured) => measured,
        Err(error) => return fail(&error),
    };
    let failover_missed =
        kills.is_none_or(|gaps| gaps.p50_seconds > FAILOVER_HOLD.0 || gaps.max_seconds > FAILOVER_HOLD.1);
    match output {
        Format::Json => say!("{}", json!({ "rows": rows, "one_node": one_node, "failover": kills })),
        Format::Table => {
            if let Some(Gaps { kills, p50_seconds, max_seconds, .. }) = kills {
                let (p50, max) = FAILOVER_HOLD;
                say!(
                    "kill -9 of the busiest node, {kills} times: p50 {p50_seconds:.2} s of {p50}, max {max_seconds:.2} s of {max}"
                );
            }
        }
    }
    let missed = failover_missed || one_node.iter().any(one_node::Row::is_missed) || rows.iter().any(Row::is_missed);
    let outcome = rows.iter().map(|row| row.outcome).max().unwrap_or(Outcome::Inconclusive);
    exit_code(if missed { Outcome::Violated } else { outcome })
}

/// One fault that lasts from a quarter to three quarters of a minute.
const LONG: Pace = Pace { every: Duration::from_secs(60), role: Some(Role::Leader), overlap: false };
const LONG_FOR: Duration = Duration::from_secs(60);

const FAILOVER_PARTITIONS: u32 = 60;
const FAILOVER_ROUNDS: u32 = 5;
/// The median and the longest time until all partitions of a killed node take records, in seconds.
const FAILOVER_HOLD: (f64, f64) = (1.0, 2.0);
