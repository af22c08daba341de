//! The phases of a run: warm, faults, heal, drain, check.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use quorate::TopicInfo;

use super::{
    cluster::{ChaosCluster, Network, Shape, connect, partitions, topic_name},
    defects::Defects,
    drain::drain,
    nemesis::{Injected, Injector, Observer, plan},
    options::{RunOptions, TOPICS},
    replica_logs,
    report::Material,
    results::Results,
    timing::{latencies, longest_gaps},
    verdict::{Facts, Outcome, Verdict},
    workload::{Workload, groups, is_lasting_producer},
};
use crate::{
    checker::{Counts, check},
    harness::{NodeKind, eventually},
    history::{self, Call, Operation, Recorder},
};

/// Small, for logs to have segments that are finished.
const SEGMENT_BYTES: u64 = 1 << 20;
/// What is finished is looked through as often as can be.
const SETTINGS: [(&str, &str); 1] = [("QUORATE_LOG__SCRUB_INTERVAL", "1min")];
const TIMEOUT: Duration = Duration::from_secs(15);
/// Writes every partition acknowledges before faults begin, and again when they have ended.
const WARM_WRITES: u64 = 20;
/// A healed cluster that is not writable or alike by then hangs. What is to be held is 10 s.
const HEAL_MAX: Duration = Duration::from_secs(60);
/// What a node says when one of its tasks breaks.
const PANIC: &str = "panicked at";
/// What it says when it does not trust a log.
const REFUSED: &str = "a replica is not started";

/// Runs to the end and judges. Whatever goes wrong on the way is in the verdict.
///
/// # Errors
/// If results cannot be written.
pub async fn run(options: &RunOptions) -> io::Result<Verdict> {
    let results = Results::create(&options.results, options.seed)?;
    let (recorder, defects) = (Arc::new(Recorder::new()), Arc::new(Defects::default()));
    let mut facts = Facts {
        seed: options.seed,
        seconds: options.faults_for.as_secs(),
        pace: options.pace,
        nodes: options.size,
        netns: options.network == Network::Namespaces,
        shipped: options.nodes == NodeKind::Shipped,
        nemeses: options.nemeses.clone(),
        results: results.directory().to_owned(),
        command: options.command(),
        ..Facts::default()
    };
    let mut data_dirs = Vec::new();
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let shape = Shape { kind: options.nodes, network: options.network, segment_bytes: SEGMENT_BYTES, settings };
    match ChaosCluster::start(options.size, shape, results.directory()).await {
        Ok(mut cluster) => {
            let phases = phases(options, &mut cluster, &recorder, &defects, &mut facts).await;
            facts.undone.extend(phases.err());
            stop(&mut cluster, &defects).await;
            data_dirs.extend(cluster.nodes.iter().map(|node| node.data_dir.clone()).filter(|data| data.exists()));
        }
        Err(why) => facts.undone.push(why),
    }
    let history = recorder.take();
    history::write(&results.history(), &history)?;
    results.write_nemesis(&facts.journal)?;
    facts.gaps = longest_gaps(&history);
    facts.latencies = latencies(&history, &facts.journal);
    facts.unacknowledged = unacknowledged(&history);
    facts.defects = defects.take();
    let (journal, leaders) = (facts.journal.clone(), std::mem::take(&mut facts.leaders));
    let report = check(&history);
    facts.undone.extend(idle(&report.counts));
    let verdict = Verdict::new(report, facts);
    results.write_verdict(&verdict)?;
    let material = Material { verdict: &verdict, history: &history, journal: &journal, leaders: &leaders };
    results.write_report(&material)?;
    if verdict.outcome == Outcome::Passed {
        results.remove_data(data_dirs.into_iter());
    }
    Ok(verdict)
}

/// Up to the point at which all is in the history but the replicas' files.
async fn phases(
    options: &RunOptions,
    cluster: &mut ChaosCluster,
    recorder: &Arc<Recorder>,
    defects: &Arc<Defects>,
    facts: &mut Facts,
) -> Result<(), String> {
    let servers = cluster.servers();
    let client = connect(&servers, TIMEOUT).await?;
    for (topic, (_, partitions)) in (0..).zip(TOPICS) {
        cluster.create_topic(&client, &topic_name(topic)?, partitions).await?;
    }
    let mut workload = Workload::start(options.seed, &servers, recorder, defects).await?;
    writable(recorder).await?;

    let observer = Observer::start(&servers, recorder, defects).await?;
    let plan = plan(options.seed, &options.nemeses, options.faults_for, options.pace);
    let injector = Injector::new(cluster, &observer, recorder, defects).await?;
    let Injected { journal, damaged, failed } = injector.run(&plan).await;
    facts.journal = journal;
    facts.leaders = observer.changes();
    facts.leader_changes = facts.leaders.len().saturating_sub(partitions().count());
    drop(observer);

    match writable(recorder).await {
        Ok(took) => facts.writable_after = took,
        Err(why) => defects.add(format!("a healed cluster hangs: {why}")),
    }
    workload.stop_sending().await;
    let at_end = eventually("the group is at the end", HEAL_MAX, async || groups::is_at_end(&client).await).await;
    match at_end {
        Ok(((), took)) => facts.group_at_end_after = took,
        Err(why) => defects.add(format!("a consumer group does not come to the end: {why}")),
    }
    workload.stop_reading().await;
    let mut topics = Vec::new();
    for topic in 0..TOPICS.len() as u32 {
        let name = topic_name(topic)?;
        match cluster.wait_until_replicas_agree(&client, &name, HEAL_MAX).await {
            Ok((info, took)) => {
                facts.converged_after = facts.converged_after.max(took);
                topics.push((topic, info));
            }
            Err(why) => {
                defects.add(format!("a healed cluster does not converge: {why}"));
                // What they hold is compared all the same.
                topics.extend(client.topic(&name).await.ok().map(|info| (topic, info)));
            }
        }
    }
    let drained = drain(&servers, recorder, defects).await;
    stop(cluster, defects).await;
    find_refused(cluster, &(&damaged | &failed), defects);
    read_logs(cluster, &topics, &damaged, recorder);
    drained
}

/// How many sends of those who never crash came to nothing, as far as they know.
fn unacknowledged(history: &[Operation]) -> u64 {
    let sends = history.iter().filter(|operation| matches!(operation.call, Call::Send { .. }));
    let sends = sends.filter(|operation| is_lasting_producer(operation.process));
    sends.filter(|operation| operation.call.acknowledged().is_none()).count() as u64
}

/// What clients have never done: that proves nothing of it.
fn idle(counts: &Counts) -> impl Iterator<Item = String> {
    let kinds = [
        (counts.conditional, "no write under a condition was acknowledged"),
        (counts.polls, "no records were polled"),
        (counts.end_offsets, "no end offset was read"),
        (counts.assignments, "no partition was given to a member of the group"),
        (counts.committed_offsets, "the group has committed nothing"),
    ];
    kinds.into_iter().filter(|(count, _)| *count == 0).map(|(_, why)| why.to_owned())
}

/// Waits until every partition has acknowledged some writes from now on.
async fn writable(recorder: &Recorder) -> Result<Duration, String> {
    let before = recorder.acknowledged();
    let acknowledged = async || {
        let now = recorder.acknowledged();
        let count = |partition| now.get(&partition).unwrap_or(&0) - before.get(&partition).unwrap_or(&0);
        match partitions().find(|partition| count(*partition) < WARM_WRITES) {
            Some(partition) => Err(format!("{partition} acknowledged {} writes", count(partition))),
            None => Ok(()),
        }
    };
    let waited = eventually("every partition acknowledges writes", HEAL_MAX, acknowledged).await;
    waited.map(|((), took)| took)
}

/// Stops the nodes that run, and looks at what they said.
async fn stop(cluster: &mut ChaosCluster, defects: &Defects) {
    for (number, node) in (1..).zip(&mut cluster.nodes) {
        if let Some(status) = node.ended_by_itself() {
            let log = node.log_tail();
            let last_line = log.lines().last().unwrap_or_default();
            defects.add(format!("node {number} ended by itself with {status}: {last_line}"));
            node.kill_9();
        } else if node.is_running()
            && let Err(why) = node.try_stop().await
        {
            defects.add(format!("node {number} was asked to stop: {why}"));
        }
        // Also of those that have left.
        if let Some(line) = node.log().lines().find(|line| line.contains(PANIC)) {
            defects.add(format!("node {number}: {line}"));
        }
    }
}

/// Replicas that a node does not start, though nothing is wrong with its disk: power cuts take only what was not synced.
fn find_refused(cluster: &ChaosCluster, bad_disks: &BTreeSet<u64>, defects: &Defects) {
    for (number, node) in (1..).zip(&cluster.nodes).filter(|(number, _)| !bad_disks.contains(number)) {
        if let Some(line) = node.log().lines().find(|line| line.contains(REFUSED)) {
            defects.add(format!("node {number}, whose disk is sound: {line}"));
        }
    }
}

fn read_logs(cluster: &ChaosCluster, topics: &[(u32, TopicInfo)], damaged: &BTreeSet<u64>, recorder: &Recorder) {
    for (topic, info) in topics {
        replica_logs::read(cluster, *topic, info, damaged, recorder);
    }
}
