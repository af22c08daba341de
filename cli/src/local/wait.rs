//! Waiting for nodes: until they answer, until they form a cluster, until they have ended. Every wait is bounded.

use std::time::Duration;

use quorate::{Client, ClusterInfo, NodeState};
use quorate_cluster_config::Address;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::process::ProcessIdentity;
use super::spawn::{self, Started};
use super::state::{LocalCluster, LocalDir, LocalNode};
use crate::error::Failure;

/// How long `start` and `restart` wait unless `--timeout` says otherwise.
pub(crate) const START_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// How long a node may take to end by itself.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long the system may take to end a killed process.
const KILL_WAIT: Duration = Duration::from_secs(5);
const PROCESS_POLL: Duration = Duration::from_millis(20);
const CLUSTER_POLL: Duration = Duration::from_millis(100);
/// How long one node may take to answer one question.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks this node, and no other, for the cluster as it sees it.
pub(crate) async fn probe(node: &LocalNode) -> Result<ClusterInfo, String> {
    let address = node.client_address();
    let ask = async {
        let client =
            Client::builder().servers(vec![address.clone()]).timeout(PROBE_TIMEOUT).connect().await.map_err(text)?;
        client.cluster_info().await.map_err(text)
    };
    let info = timeout(PROBE_TIMEOUT, ask).await.map_err(|_| format!("{address} does not answer"))??;
    // A client that has learnt of other nodes may have asked one of them.
    let answered_by = info.nodes.iter().find(|registered| registered.id == info.answered_by);
    match answered_by {
        Some(answered_by) if answered_by.client_address == address => Ok(info),
        _ => Err(format!("{address} is not yet part of the cluster")),
    }
}

fn text(error: quorate::Error) -> String {
    error.to_string()
}

/// Waits until every node is registered and up and the metadata group has a leader.
pub(crate) async fn until_formed(
    dir: &LocalDir,
    cluster: &LocalCluster,
    started: &[Started],
    deadline: Instant,
) -> Result<(), Failure> {
    let mut turn = cluster.nodes.iter().cycle();
    let mut missing = "no node answers".to_owned();
    while let Some(node) = turn.next().filter(|_| Instant::now() < deadline) {
        ensure_running(dir, started)?;
        match probe(node).await {
            Ok(info) => match missing_of(&info, &cluster.client_addresses()) {
                None => return Ok(()),
                Some(still) => missing = still,
            },
            Err(why) => missing = why,
        }
        sleep(CLUSTER_POLL).await;
    }
    ensure_running(dir, started)?;
    Err(Failure::message(format!("the cluster did not form in time, {missing}, see `quorate local logs 1`")))
}

/// Waits until every node is up and every partition has a leader and all of its replicas, as each of the nodes that run
/// sees it.
pub(crate) async fn until_healthy(cluster: &LocalCluster, deadline: Instant) -> Result<(), Failure> {
    loop {
        let mut missing = None;
        for node in cluster.nodes.iter().filter(|node| node.running().is_some()) {
            missing = match probe(node).await {
                Ok(info) => missing_of(&info, &cluster.client_addresses()).or_else(|| unwell_of(&info)),
                Err(why) => Some(why),
            };
            if missing.is_some() {
                break;
            }
        }
        let Some(missing) = missing else { return Ok(()) };
        if Instant::now() + CLUSTER_POLL >= deadline {
            return Err(Failure::message(format!(
                "the cluster is not healthy in time, {missing}; nothing more was restarted, see `quorate cluster health`"
            )));
        }
        sleep(CLUSTER_POLL).await;
    }
}

fn unwell_of(info: &ClusterInfo) -> Option<String> {
    let (leaderless, lacking) = (info.leaderless_partition_count, info.under_replicated_partition_count);
    (leaderless + lacking > 0)
        .then(|| format!("{leaderless} partitions are without a leader and {lacking} under-replicated"))
}

/// What an answer still lacks of a formed cluster.
fn missing_of(info: &ClusterInfo, expected: &[Address]) -> Option<String> {
    let down = expected
        .iter()
        .find(|&address| !info.nodes.iter().any(|node| node.client_address == *address && node.state == NodeState::Up));
    match down {
        Some(address) => Some(format!("the node at {address} is not up")),
        None => info.metadata_leader.is_none().then(|| "the metadata group has no leader".to_owned()),
    }
}

/// Waits until a restarted node answers.
pub(crate) async fn until_answering(
    dir: &LocalDir,
    node: &LocalNode,
    started: &[Started],
    deadline: Instant,
) -> Result<(), Failure> {
    let mut why = "no answer yet".to_owned();
    while Instant::now() < deadline {
        ensure_running(dir, started)?;
        match probe(node).await {
            Ok(_) => return Ok(()),
            Err(reason) => why = reason,
        }
        sleep(CLUSTER_POLL).await;
    }
    ensure_running(dir, started)?;
    let number = node.number;
    Err(Failure::message(format!(
        "node {number} runs but does not answer in time, {why}, see `quorate local logs {number}`"
    )))
}

fn ensure_running(dir: &LocalDir, started: &[Started]) -> Result<(), Failure> {
    match started.iter().find(|started| !started.process.is_running()) {
        Some(ended) => Err(spawn::exited(dir, ended.number, ended.log_offset)),
        None => Ok(()),
    }
}

/// Ends processes: asks them, waits up to `grace`, then kills those left.
pub(crate) async fn stop(processes: &[ProcessIdentity], grace: Duration) -> Result<(), Failure> {
    signal_all(processes, Signal::TERM)?;
    if !until_ended(processes, grace).await {
        kill(processes).await?;
    }
    Ok(())
}

/// Kills processes and waits until they are gone.
pub(crate) async fn kill(processes: &[ProcessIdentity]) -> Result<(), Failure> {
    signal_all(processes, Signal::KILL)?;
    if until_ended(processes, KILL_WAIT).await {
        return Ok(());
    }
    let left: Vec<_> = processes.iter().filter(|process| process.is_running()).map(|p| p.pid.to_string()).collect();
    Err(Failure::message(format!("killed processes {} do not end, their disk may hang", left.join(", "))))
}

fn signal_all(processes: &[ProcessIdentity], signal: Signal) -> Result<(), Failure> {
    for process in processes {
        process.signal(signal).map_err(|error| {
            Failure::message(format!("cannot signal process {}, {error}, was it started by another user?", process.pid))
        })?;
    }
    Ok(())
}

async fn until_ended(processes: &[ProcessIdentity], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while processes.iter().any(ProcessIdentity::is_running) {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(PROCESS_POLL).await;
    }
    true
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that says when it is ready, and then waits.
    fn shell(script: &str) -> (Child, ProcessIdentity) {
        let script = format!("{script}; echo ready; while :; do sleep 0.05; done");
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let process = ProcessIdentity::of(child.id()).unwrap();
        (child, process)
    }

    #[tokio::test]
    async fn a_process_that_ends_when_asked_is_not_killed() {
        let (mut child, process) = shell("trap 'exit 7' TERM");
        stop(&[process], STOP_GRACE).await.unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[tokio::test]
    async fn a_process_that_does_not_end_when_asked_is_killed() {
        let (mut child, process) = shell("trap '' TERM");
        stop(std::slice::from_ref(&process), Duration::from_millis(100)).await.unwrap();
        assert!(!process.is_running());
        assert_eq!(child.wait().unwrap().code(), None);
    }
}
