//! Whole clusters under faults: a fixed set of seeds, and the command line.

use std::{collections::BTreeSet, fs, time::Duration};

use quorate_chaos_tests::{
    chaos::{
        self, NODES, Network, Outcome, RunOptions,
        nemesis::{NemesisKind, Pace},
    },
    harness::{Cli, NodeKind, alone, binary},
};

use NemesisKind::{
    Clients, Clock, Corrupt, Damage, Delay, DiskErrors, Drain, FailSync, FullDisk, Grow, Isolate, Kill, OneWay, Pause,
    PauseKill, PowerCut, Replace, Reset, Ring, Rolling, Sever, SlowDisk, Snapshot, Split, Stall, Stop, Throttle, Trim,
    VoteLoss, Wipe,
};

const FAULTS_FOR: Duration = Duration::from_secs(16);

/// Every nemesis is in one of them at least.
const RUNS: [(u64, NodeKind, &[NemesisKind]); 9] = [
    (1, NodeKind::Shipped, &[Kill, Pause, Isolate, Stop]),
    (2, NodeKind::Shipped, &[Split, Sever, Reset, Rolling]),
    (3, NodeKind::Shipped, &[OneWay, Stall, Delay, Throttle, Clients, Corrupt]),
    (4, NodeKind::PowerLoss, &[Kill, PowerCut, PauseKill, Isolate, OneWay, Reset, VoteLoss]),
    (5, NodeKind::PowerLoss, &[SlowDisk, FullDisk, Clock, Drain, Kill]),
    (6, NodeKind::PowerLoss, &[FailSync, DiskErrors, Damage, Kill]),
    (7, NodeKind::PowerLoss, &[Grow, Replace, Wipe, Kill]),
    (8, NodeKind::PowerLoss, &[Trim, Snapshot, Kill]),
    (9, NodeKind::Shipped, &[Ring, Isolate, Kill]),
];

async fn passes(run: usize) {
    let _alone = alone().await;
    let (seed, nodes, nemeses) = RUNS[run];
    // What a run leaves behind is kept only if it fails.
    let results = std::env::temp_dir().join("quorate-chaos");
    let (nemeses, pace) = (nemeses.to_vec(), Pace::default());
    let size = nemeses.iter().map(|kind| kind.nodes_min()).max().unwrap_or(NODES);
    let network = Network::Proxies;
    let options = RunOptions { seed, nemeses, faults_for: FAULTS_FOR, pace, size, network, nodes, results };
    let verdict = chaos::run(&options).await.unwrap();
    println!("{verdict}");
    assert_eq!(verdict.outcome, Outcome::Passed);
    fs::remove_dir_all(verdict.results).unwrap();
}

#[test]
fn every_nemesis_is_in_one_of_the_runs() {
    let covered: BTreeSet<_> = RUNS.iter().flat_map(|(_, _, nemeses)| nemeses.iter().copied()).collect();
    assert_eq!(covered, NemesisKind::ALL.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_under_kills_pauses_and_isolation() {
    passes(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_under_splits_severed_links_and_resets() {
    passes(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_under_one_way_stalled_and_slow_links() {
    passes(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_under_power_loss_and_cuts() {
    passes(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_with_slow_and_full_disks_and_wrong_clocks() {
    passes(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_with_a_disk_that_fails_and_alters_what_it_holds() {
    passes(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_while_nodes_join_leave_and_are_replaced() {
    passes(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_while_records_are_deleted() {
    passes(7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_on_five_nodes_of_which_no_two_reach_the_same_majority() {
    passes(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_in_order_where_packets_are_lost() {
    let _alone = alone().await;
    let directory = tempfile::tempdir().unwrap();
    let results = directory.path().to_str().unwrap();
    let faults = "isolate,one-way,stall,kill,wipe";
    let run = ["run", "--netns", "--seed", "10", "--nemesis", faults, "--seconds", "10", "--results", results];
    let ran = Cli::of(&binary("quorate-chaos")).run(&run, b"").await;
    let table = String::from_utf8_lossy(&ran.stdout);
    println!("{table}\n{}", ran.stderr);
    match ran.code {
        Some(3) => assert!(ran.stderr.contains("--netns is skipped"), "inconclusive"),
        code => assert!(code == Some(0) && table.contains("seed 10: passed"), "{code:?}"),
    }
    let refused = Cli::of(&binary("quorate-chaos")).run(&["run", "--netns", "--nemesis", "delay"], b"").await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
}

#[test]
fn what_is_built_here_has_no_planted_bugs() {
    let variable = b"PLANTED_BUG";
    for name in ["quorate-node", "quorate-chaos-node", "quorate-chaos", "quorate"] {
        let program = fs::read(binary(name)).unwrap();
        assert!(!program.windows(variable.len()).any(|part| part == variable), "{name} has bugs planted on purpose");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_how_a_run_ended_by_its_exit_code() {
    let _alone = alone().await;
    let directory = tempfile::tempdir().unwrap();
    let chaos = Cli::of(&binary("quorate-chaos"));
    let results = directory.path().to_str().unwrap();
    let arguments = ["run", "--seed", "7", "--nemesis", "reset", "--seconds", "2", "--results", results];
    let ran = chaos.run(&arguments, b"").await;
    assert_eq!(ran.code, Some(0), "{}\n{}", String::from_utf8_lossy(&ran.stdout), ran.stderr);
    let table = String::from_utf8(ran.stdout).unwrap();
    for expected in ["seed 7: passed", "anomalies     0", "run --seed 7 --nemesis reset --seconds 2"] {
        assert!(table.contains(expected), "{table}");
    }

    let kept = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    for file in ["report.html", "verdict.json", "history.jsonl", "nemesis.jsonl", "node-1/log", "node-3/log"] {
        assert!(kept.join(file).is_file(), "{file} is missing");
    }
    assert!(!kept.join("node-1/data").exists(), "the data of a run that passed is not kept");

    let history = kept.join("history.jsonl");
    let path = history.to_str().unwrap();
    assert_eq!(chaos.run(&["check", path], b"").await.code, Some(0));
    let lines = fs::read_to_string(&history).unwrap();
    let without = |what: &str| lines.lines().filter(|line| !line.contains(what)).collect::<Vec<_>>().join("\n");
    fs::write(&history, without("\"call\":\"drain\"")).unwrap();
    assert_eq!(chaos.run(&["check", path], b"").await.code, Some(3), "without a drain");
    fs::write(&history, without("\"process\":1,")).unwrap();
    let violated = chaos.run(&["check", path], b"").await;
    assert_eq!(violated.code, Some(1), "what one producer sent is read, but nobody sent it");
    assert!(String::from_utf8_lossy(&violated.stdout).contains("unexpected"));
    fs::write(&history, "nonsense").unwrap();
    assert_eq!(chaos.run(&["check", path], b"").await.code, Some(1));

    for wrong in [
        &["run", "--nemesis", "earthquake"][..],
        &["run", "--seed", "1", "--seeds", "2"],
        &["run", "--nemesis", "ring"],
        &["check"],
        &["rn"],
    ] {
        assert_eq!(chaos.run(wrong, b"").await.code, Some(2), "{wrong:?}");
    }
    let listed = String::from_utf8(chaos.run(&["list"], b"").await.stdout).unwrap();
    assert!(listed.contains("one-way") && listed.contains("replica-divergence"), "{listed}");
}
