//! Lines of the table that say what one node costs that is not as it should be.

use std::{fs, io, path::Path, time::Duration};

use quorate_chaos_tests::chaos::one_node::{OneNode, Wrong, one_node};
use serde::Serialize;

/// Measured so long before, and so long while something is wrong.
const EACH: Duration = Duration::from_secs(10);
/// An hour, in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// What is wrong with the node, whether it leads everything or nothing, and what is to hold. A bound that says nothing is
/// missing.
struct Case {
    what: &'static str,
    wrong: Wrong,
    leads: bool,
    /// The latency is at most so many times what it was.
    ratio: Option<f64>,
    /// No partition gets another leader.
    leaders_stay: bool,
    /// Its replicas stop in so many seconds.
    stopped: Option<f64>,
}

const CASES: [Case; 7] = {
    const fn case(what: &'static str, wrong: Wrong, leads: bool) -> Case {
        Case { what, wrong, leads, ratio: Some(2.0), leaders_stay: true, stopped: None }
    }
    const SLOW: Wrong = Wrong::SlowDisk(Duration::from_millis(200));
    [
        case("a follower is killed", Wrong::Killed, false),
        case("a follower's disk takes 200 ms more", SLOW, false),
        case("the leader's disk takes 200 ms more", SLOW, true),
        case("the leader's clock is an hour ahead", Wrong::Clock(HOUR_MS), true),
        case("the leader's clock is an hour behind", Wrong::Clock(-HOUR_MS), true),
        Case { stopped: Some(1.0), ..case("a follower's syncs fail", Wrong::FailedSync, false) },
        Case {
            ratio: None,
            leaders_stay: false,
            stopped: Some(1.0),
            ..case("the leader's syncs fail", Wrong::FailedSync, true)
        },
    ]
};

/// One line.
#[derive(Serialize)]
pub(super) struct Row {
    what: &'static str,
    measured: Option<OneNode>,
    missed: Vec<String>,
}

impl Row {
    fn new(case: &Case, measured: OneNode) -> Self {
        let ratio = measured.during_p99_seconds / measured.before_p99_seconds;
        let (before, during) = (measured.before_acknowledged, measured.during_acknowledged);
        let missed = [
            (during * 2 < before).then(|| format!("{during} sends acknowledged after {before} in the same time")),
            case.ratio.filter(|hold| ratio > *hold).map(|hold| format!("{ratio:.1} times the latency, at most {hold}")),
            (case.leaders_stay && measured.leader_changes > 0)
                .then(|| format!("{} changes of leaders, and there is no reason for any", measured.leader_changes)),
            case.stopped
                .filter(|hold| measured.stopped_after_seconds.is_none_or(|stopped| stopped > *hold))
                .map(|hold| format!("it takes longer to stop than {hold} s")),
        ];
        Self { what: case.what, measured: Some(measured), missed: missed.into_iter().flatten().collect() }
    }

    fn failed(case: &Case, why: String) -> Self {
        Self { what: case.what, measured: None, missed: vec![why] }
    }

    pub(super) fn is_missed(&self) -> bool {
        !self.missed.is_empty()
    }

    pub(super) fn show(&self) {
        let missed: String = self.missed.iter().map(|missed| format!(" ! {missed}")).collect();
        let Some(measured) = self.measured else {
            return say!("{:<38}{missed}", self.what);
        };
        let OneNode { before_p99_seconds, during_p99_seconds, leader_changes, stopped_after_seconds, .. } = measured;
        let (before, during) = (before_p99_seconds * 1e3, during_p99_seconds * 1e3);
        let stopped =
            stopped_after_seconds.map(|stopped| format!(", stopped after {stopped:.2} s")).unwrap_or_default();
        say!(
            "{:<38} produce p99 {before:.1} ms, then {during:.1} ms ({:.2}), {leader_changes} leaders changed{stopped}{missed}",
            self.what,
            during / before
        );
    }
}

/// Measures all of them, each with a cluster of its own below `results`.
pub(super) async fn measure(results: &Path, show: bool) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let directory = results.join(format!("one-node-{number}"));
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let measured = one_node(case.wrong, case.leads, EACH, &directory).await;
        fs::remove_dir_all(&directory)?;
        let row = match measured {
            Ok(measured) => Row::new(case, measured),
            Err(why) => Row::failed(case, why),
        };
        if show {
            row.show();
        }
        rows.push(row);
    }
    Ok(rows)
}
