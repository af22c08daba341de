//! `quorate cluster health`

use std::time::Duration;

use clap::Args;
use quorate::{ClusterInfo, NodeState};
use serde::Serialize;
use tokio::time::Instant;

use crate::context::Context;
use crate::error::Failure;
use crate::interrupt::interrupted;
use crate::output::{View, count};

/// Between two looks.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "\
The cluster is unhealthy, and the exit code 1, if a node is down, a replica failed or is damaged, a partition \
has no leader or lacks a replica, or the metadata group has no leader.

With --watch, a line is printed each time that changes; with --exit-when-healthy as well, the command ends once the \
cluster is healthy, and fails if it is not within --timeout.

Examples:
  quorate cluster health && deploy
  quorate cluster health --watch --exit-when-healthy --timeout 5m && restart-the-next-node")]
pub(crate) struct HealthArgs {
    /// Go on looking, and tell when it changes
    #[arg(long)]
    watch: bool,
    /// End once the cluster is healthy
    #[arg(long, requires = "watch")]
    exit_when_healthy: bool,
}

#[derive(Serialize)]
struct HealthView {
    healthy: bool,
    reasons: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: HealthArgs) -> Result<(), Failure> {
    if args.watch {
        return watch(context, args.exit_when_healthy).await;
    }
    let client = context.connect().await?;
    let info = context.within("asking for the cluster", client.cluster_info()).await?;
    let reasons = reasons(&info);
    let view = HealthView { healthy: reasons.is_empty(), reasons };
    context.show(&view)?;
    if view.healthy {
        return Ok(());
    }
    Err(unhealthy(&view.reasons))
}

fn unhealthy(reasons: &[String]) -> Failure {
    Failure::message(format!(
        "the cluster is unhealthy, {}, look at `quorate node list` and `quorate topic describe`",
        reasons.join(", ")
    ))
}

/// Shows each change, for ever or until all is well. No answer at all is one of the reasons why it is not.
async fn watch(context: &Context, exit_when_healthy: bool) -> Result<(), Failure> {
    let client = context.connect().await?;
    let mut last: Option<Vec<String>> = None;
    loop {
        let asked = context.renewed().within("asking for the cluster", client.cluster_info()).await;
        let reasons = match &asked {
            Ok(info) => reasons(info),
            Err(failure) => vec![failure.to_string()],
        };
        let healthy = reasons.is_empty();
        if last.as_ref() != Some(&reasons) {
            context.show(&HealthView { healthy, reasons: reasons.clone() })?;
            last = Some(reasons.clone());
        }
        if exit_when_healthy && healthy {
            return Ok(());
        }
        if exit_when_healthy && Instant::now() + WATCH_INTERVAL >= context.deadline() {
            return Err(unhealthy(&reasons));
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            interrupted = interrupted() => return interrupted,
        }
    }
}

/// Everything that is wrong, worst first.
fn reasons(info: &ClusterInfo) -> Vec<String> {
    let mut reasons = Vec::new();
    if info.metadata_leader.is_none() {
        reasons.push("the metadata group has no leader".to_owned());
    }
    for node in info.nodes.iter().filter(|node| node.state == NodeState::Down) {
        reasons.push(format!("node {} at {} is down", node.id, node.client_address));
    }
    if info.leaderless_partition_count > 0 {
        reasons.push(format!("{} without a leader", count(info.leaderless_partition_count.into(), "partition")));
    }
    if info.under_replicated_partition_count > 0 {
        let partitions = count(info.under_replicated_partition_count.into(), "partition");
        reasons.push(format!("{partitions} under-replicated"));
    }
    for node in info.nodes.iter().filter(|node| node.failed_replica_count > 0) {
        let replicas = count(node.failed_replica_count.into(), "replica");
        reasons.push(format!("{replicas} failed or damaged on node {}", node.id));
    }
    reasons
}

impl View for HealthView {
    fn text(&self) -> String {
        if self.healthy {
            return "healthy".to_owned();
        }
        let reasons: String = self.reasons.iter().map(|reason| format!("\n  {reason}")).collect();
        format!("unhealthy{reasons}")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use quorate::NodeInfo;
    use quorate_cluster_config::{ClusterId, NodeId};

    use super::*;

    fn info() -> ClusterInfo {
        let node = |id: u64| NodeInfo {
            id: NodeId(id),
            client_address: format!("127.0.0.1:{}", 7100 + id).parse().unwrap(),
            peer_address: format!("127.0.0.1:{}", 7200 + id).parse().unwrap(),
            state: NodeState::Up,
            rack: None,
            drained: false,
            leaving: None,
            metadata_voter: true,
            replica_count: 1,
            leader_count: 1,
            failed_replica_count: 0,
        };
        ClusterInfo {
            cluster_id: ClusterId(1),
            answered_by: NodeId(1),
            metadata_leader: Some(NodeId(2)),
            metadata_index: 7,
            nodes: vec![node(1), node(2)],
            topic_count: 1,
            partition_count: 1,
            leaderless_partition_count: 0,
            under_replicated_partition_count: 0,
            metadata_level: 1,
            metadata_recoveries: Vec::new(),
        }
    }

    #[test]
    fn a_cluster_without_a_reason_is_healthy() {
        assert_eq!(reasons(&info()), [""; 0]);
    }

    #[test]
    fn each_defect_is_a_reason() {
        let mut info = info();
        info.metadata_leader = None;
        info.nodes[0].failed_replica_count = 1;
        info.nodes[1].state = NodeState::Down;
        info.leaderless_partition_count = 1;
        info.under_replicated_partition_count = 2;
        assert_eq!(
            reasons(&info),
            [
                "the metadata group has no leader",
                "node 2 at 127.0.0.1:7102 is down",
                "1 partition without a leader",
                "2 partitions under-replicated",
                "1 replica failed or damaged on node 1",
            ]
        );
    }
}
