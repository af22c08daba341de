//! `quorate cluster health`

use std::time::Duration;

use clap::Args;
use quorate::ClusterInfo;
use serde::Serialize;
use tokio::time::Instant;

use crate::context::Context;
use crate::error::Failure;
use crate::interrupt::interrupted;
use crate::output::View;

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
    info.problems().iter().map(ToString::to_string).collect()
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
