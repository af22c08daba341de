//! What a run proves.

use std::{
    fmt::{self, Display},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;

use super::{
    nemesis::{Entry, NemesisKind, Pace, Role, State},
    report::Led,
    timing::Latencies,
};
use crate::checker::{Counts, Findings, Report};

/// The end of a run, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Enough happened, and nothing is wrong.
    Passed,
    /// Nothing is wrong with what happened, but it is not enough.
    Inconclusive,
    /// Something is wrong.
    Violated,
}

/// The judgement of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// In a word.
    pub outcome: Outcome,
    /// The seed.
    pub seed: u64,
    /// How long faults were injected, in seconds.
    pub seconds: u64,
    /// How often, on average, in milliseconds.
    pub every_ms: u64,
    /// Against whom only.
    pub role: Option<Role>,
    /// Whether some came while others lasted.
    pub overlap: bool,
    /// How many nodes there were at first.
    pub nodes: u16,
    /// Whether the nodes had network namespaces of their own.
    pub netns: bool,
    /// Whether the shipped binaries were run.
    pub shipped: bool,
    /// What clients did.
    pub counts: Counts,
    /// Faults installed, by kind.
    pub faults: Vec<(NemesisKind, usize)>,
    /// The longest time without an acknowledged write on any partition, and on the one that waited longest.
    #[serde(with = "seconds")]
    pub longest_gap: Duration,
    /// See `longest_gap`.
    #[serde(with = "seconds")]
    pub longest_gap_of_a_partition: Duration,
    /// From the end of all faults until every partition acknowledged again.
    #[serde(with = "seconds")]
    pub writable_after: Duration,
    /// From the end of all sends until a consumer group had read and committed all.
    #[serde(with = "seconds")]
    pub group_at_end_after: Duration,
    /// From the end of all reads until all replicas held the same.
    #[serde(with = "seconds")]
    pub converged_after: Duration,
    /// What producers that never crash have sent and is not acknowledged: it failed, or nobody knows.
    pub unacknowledged: u64,
    /// How long acknowledged sends took.
    pub latencies: Latencies,
    /// How often a partition got another leader, or the same one in a later term.
    pub leader_changes: usize,
    /// What is wrong with the history.
    pub anomalies: Findings,
    /// What else is wrong: crashes, panics, hangs, damage.
    pub defects: Vec<String>,
    /// Why the run proves little.
    pub inconclusive: Vec<String>,
    /// Where everything is.
    pub results: PathBuf,
    /// Does it again.
    pub command: String,
}

/// What a run was and how long its parts took.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) seed: u64,
    pub(super) seconds: u64,
    pub(super) pace: Pace,
    pub(super) nodes: u16,
    pub(super) netns: bool,
    pub(super) shipped: bool,
    pub(super) nemeses: Vec<NemesisKind>,
    pub(super) journal: Vec<Entry>,
    pub(super) leaders: Vec<Led>,
    pub(super) leader_changes: usize,
    pub(super) gaps: (Duration, Duration),
    pub(super) unacknowledged: u64,
    pub(super) latencies: Latencies,
    pub(super) writable_after: Duration,
    pub(super) group_at_end_after: Duration,
    pub(super) converged_after: Duration,
    pub(super) defects: Vec<String>,
    /// What could not be done.
    pub(super) undone: Vec<String>,
    pub(super) results: PathBuf,
    pub(super) command: String,
}

impl Verdict {
    pub(super) fn new(report: Report, facts: Facts) -> Self {
        let installed = |kind: &NemesisKind| {
            facts.journal.iter().filter(|entry| entry.kind == *kind && entry.state == State::Installed).count()
        };
        let faults: Vec<_> = facts.nemeses.iter().map(|kind| (*kind, installed(kind))).collect();
        let mut inconclusive = [report.inconclusive, facts.undone].concat();
        let missing = faults.iter().filter(|(_, count)| *count == 0);
        inconclusive.extend(missing.map(|(kind, _)| format!("{kind} was asked for and never installed")));
        let outcome = match (report.findings.is_empty() && facts.defects.is_empty(), inconclusive.is_empty()) {
            (false, _) => Outcome::Violated,
            (true, false) => Outcome::Inconclusive,
            (true, true) => Outcome::Passed,
        };
        Self {
            outcome,
            seed: facts.seed,
            seconds: facts.seconds,
            every_ms: u64::try_from(facts.pace.every.as_millis()).unwrap_or(u64::MAX),
            role: facts.pace.role,
            overlap: facts.pace.overlap,
            nodes: facts.nodes,
            netns: facts.netns,
            shipped: facts.shipped,
            counts: report.counts,
            faults,
            longest_gap: facts.gaps.0,
            longest_gap_of_a_partition: facts.gaps.1,
            writable_after: facts.writable_after,
            group_at_end_after: facts.group_at_end_after,
            converged_after: facts.converged_after,
            unacknowledged: facts.unacknowledged,
            latencies: facts.latencies,
            leader_changes: facts.leader_changes,
            anomalies: report.findings,
            defects: facts.defects,
            inconclusive,
            results: facts.results,
            command: facts.command,
        }
    }
}

#[cfg(test)]
impl Verdict {
    /// The verdict on a report and a journal.
    pub(super) fn for_test(report: Report, journal: Vec<Entry>) -> Self {
        Self::new(report, Facts { journal, ..Facts::default() })
    }
}

impl Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Passed => "passed",
            Self::Inconclusive => "inconclusive",
            Self::Violated => "violated",
        })
    }
}

/// A table for a person.
impl Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ");
        let Counts { acknowledged, unknown, failed, polls, records_polled, end_offsets, .. } = self.counts;
        let (gap, of_partition) = (self.longest_gap.as_secs_f64(), self.longest_gap_of_a_partition.as_secs_f64());
        let (writable, converged) = (self.writable_after.as_secs_f64(), self.converged_after.as_secs_f64());
        writeln!(formatter, "seed {}: {}", self.seed, self.outcome)?;
        writeln!(formatter, "  writes        {acknowledged} acknowledged, {unknown} unknown, {failed} failed")?;
        writeln!(formatter, "  reads         {polls} polls of {records_polled} records, {end_offsets} end offsets")?;
        let Counts { records_drained, replicas_read, replicas, .. } = self.counts;
        writeln!(
            formatter,
            "  read back     {records_drained} records, and what {replicas_read} replicas give; the logs of {replicas}"
        )?;
        writeln!(formatter, "  faults        {faults}")?;
        writeln!(formatter, "  longest gap   {gap:.2} s on all partitions at once, {of_partition:.2} s on one")?;
        let at_end = self.group_at_end_after.as_secs_f64();
        writeln!(
            formatter,
            "  after faults  writable in {writable:.2} s, all consumed in {at_end:.2} s, replicas alike in {converged:.2} s"
        )?;
        let Latencies { calm_p99, faults_p99 } = self.latencies;
        let (calm, faults) = (calm_p99.as_secs_f64() * 1e3, faults_p99.as_secs_f64() * 1e3);
        writeln!(
            formatter,
            "  latency       p99 {calm:.0} ms in quiet times, {faults:.0} ms under faults; {} changes of leaders",
            self.leader_changes
        )?;
        let anomalies: u64 = self.anomalies.iter().map(|(_, found)| found.count).sum();
        writeln!(formatter, "  anomalies     {anomalies}")?;
        for (kind, found) in self.anomalies.iter() {
            let example = found.examples.first();
            let example = example.map(|example| format!("{}: {}", example.partition, example.detail));
            writeln!(formatter, "    {kind} {}, as in {}", found.count, example.unwrap_or_default())?;
        }
        for defect in &self.defects {
            writeln!(formatter, "  defect        {defect}")?;
        }
        for reason in &self.inconclusive {
            writeln!(formatter, "  inconclusive  {reason}")?;
        }
        writeln!(formatter, "  results       {}", self.results.display())?;
        write!(formatter, "  again         {}", self.command)
    }
}

pub(super) mod seconds {
    use std::time::Duration;

    use serde::Serializer;

    pub(in crate::chaos) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chaos::nemesis::Role, checker::check};

    fn entry(kind: NemesisKind, state: State) -> Entry {
        Entry { at_ns: 0, fault: 1, kind, role: Role::All, state, detail: String::new() }
    }

    fn facts(journal: Vec<Entry>) -> Facts {
        Facts { nemeses: vec![NemesisKind::Kill], journal, ..Facts::default() }
    }

    #[test]
    fn a_nemesis_that_was_asked_for_and_never_installed_is_inconclusive() {
        let outcome = |state| Verdict::new(Report::default(), facts(vec![entry(NemesisKind::Kill, state)])).outcome;
        assert_eq!(outcome(State::Installed), Outcome::Passed);
        for state in [State::Skipped, State::Indeterminate, State::Healed] {
            assert_eq!(outcome(state), Outcome::Inconclusive);
        }
        let none = Verdict::new(Report::default(), facts(Vec::new()));
        assert_eq!(none.inconclusive, ["kill was asked for and never installed"]);
    }

    #[test]
    fn too_little_is_never_a_pass_and_a_defect_is_worse() {
        let kill = vec![entry(NemesisKind::Kill, State::Installed)];
        assert_eq!(Verdict::new(check(&[]), facts(kill.clone())).outcome, Outcome::Inconclusive);
        let crashed = Facts { defects: vec!["node 1 ended".to_owned()], ..facts(kill) };
        assert_eq!(Verdict::new(check(&[]), crashed).outcome, Outcome::Violated);
    }
}
