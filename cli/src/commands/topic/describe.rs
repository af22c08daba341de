//! `quorate topic describe`

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use quorate::{PartitionInfo, RecoveryInfo, ReplicaInfo, ReplicaRole, TopicInfo};
use serde::Serialize;

use crate::args::{TopicArg, UNLIMITED};
use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View, fields, milliseconds, nodes, or_dash, time};

#[derive(Debug, Args)]
#[command(after_help = "\
One line a replica: its role, whether it has all that is committed, the first offset of its log and the end of what is \
on its stable storage, its lag in records behind the high watermark, and the size of its log on disk. The numbers are \
those the nodes reported last, up to a second ago; while records are written, a replica that keeps up may lag by some.

Examples:
  quorate topic describe orders
  quorate topic describe orders --output json | jq '.partitions[].replicas[] | select(.state != \"in_sync\")'")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    topic: TopicArg,
}

#[derive(Serialize)]
struct TopicView {
    name: String,
    id: u64,
    partition_count: u32,
    replication_factor: u32,
    segment_bytes: u64,
    /// None is unlimited.
    retention_time_ms: Option<u64>,
    /// Of a partition; none is unlimited.
    retention_bytes: Option<u64>,
    created_at_metadata_index: u64,
    partitions: Vec<PartitionView>,
    recoveries: Vec<RecoveryView>,
}

/// A partition that went on from one replica after its majority was gone for good.
#[derive(Serialize)]
struct RecoveryView {
    partition: u32,
    decided_at_ms: i64,
    metadata_index: u64,
    node: u64,
    log_end_offset: u64,
    high_watermark: u64,
    lost_nodes: Vec<u64>,
}

#[derive(Serialize)]
struct PartitionView {
    partition: u32,
    leader: Option<u64>,
    leader_epoch: u64,
    high_watermark: u64,
    replicas: Vec<ReplicaView>,
}

#[derive(Serialize)]
struct ReplicaView {
    id: u64,
    node: u64,
    role: &'static str,
    #[serde(flatten)]
    state: State,
    log_start_offset: u64,
    log_end_offset: u64,
    /// Records between its end and the high watermark.
    lag_records: u64,
    log_bytes: u64,
    failure: Option<String>,
}

pub(crate) async fn run(context: &Context, args: DescribeArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let info = context.within("asking for the topic", client.topic(&args.topic.topic)).await?;
    context.show(&TopicView::new(&info))
}

impl TopicView {
    fn new(info: &TopicInfo) -> Self {
        Self {
            name: info.name.to_string(),
            id: info.id.0,
            partition_count: info.config.partitions,
            replication_factor: info.config.replication_factor,
            segment_bytes: info.config.segment_bytes,
            retention_time_ms: info.config.retention_time.map(milliseconds),
            retention_bytes: info.config.retention_bytes,
            created_at_metadata_index: info.created_at,
            partitions: info.partitions.iter().map(PartitionView::new).collect(),
            recoveries: info.recoveries.iter().map(RecoveryView::new).collect(),
        }
    }
}

impl RecoveryView {
    fn new(info: &RecoveryInfo) -> Self {
        Self {
            partition: info.partition,
            decided_at_ms: info.decided_at_ms,
            metadata_index: info.metadata_index,
            node: info.node.0,
            log_end_offset: info.log_end_offset,
            high_watermark: info.high_watermark,
            lost_nodes: info.lost.iter().map(|node| node.0).collect(),
        }
    }

    fn text(&self) -> String {
        format!(
            "{}: partition {} went on from node {} alone, which ended at offset {}, with offsets from {} on unconfirmed; given up: {}",
            time(self.decided_at_ms),
            self.partition,
            self.node,
            self.log_end_offset,
            self.high_watermark,
            nodes(&self.lost_nodes),
        )
    }
}

impl PartitionView {
    fn new(info: &PartitionInfo) -> Self {
        Self {
            partition: info.index,
            leader: info.leader.map(|node| node.0),
            leader_epoch: info.leader_epoch,
            high_watermark: info.high_watermark,
            replicas: info.replicas.iter().map(|replica| ReplicaView::new(info, replica)).collect(),
        }
    }
}

impl ReplicaView {
    fn new(partition: &PartitionInfo, info: &ReplicaInfo) -> Self {
        Self {
            id: info.id.0,
            node: info.node.0,
            role: match info.role {
                ReplicaRole::Leader => "leader",
                ReplicaRole::Follower => "follower",
                ReplicaRole::Learner => "learner",
                ReplicaRole::Candidate => "candidate",
                ReplicaRole::Unknown => "unknown",
                ReplicaRole::Failed => "failed",
            },
            state: State::of(partition, info),
            log_start_offset: info.log_start_offset,
            log_end_offset: info.log_end_offset,
            lag_records: partition.high_watermark.saturating_sub(info.log_end_offset),
            log_bytes: info.log_bytes,
            failure: info.detail.clone(),
        }
    }

    /// A number that means something only if the replica has reported it.
    fn known(&self, number: impl ToString) -> String {
        or_dash((self.state != State::Unknown).then_some(number))
    }
}

/// Whether a replica has all that is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    InSync,
    CatchingUp {
        /// Its share of the records that the partition retains, rounded down.
        caught_up_percent: u8,
    },
    Failed,
    Unknown,
}

impl State {
    fn of(partition: &PartitionInfo, replica: &ReplicaInfo) -> Self {
        let (end, high_watermark) = (replica.log_end_offset, partition.high_watermark);
        match replica.role {
            ReplicaRole::Failed => return Self::Failed,
            ReplicaRole::Unknown => return Self::Unknown,
            _ if end >= high_watermark => return Self::InSync,
            ReplicaRole::Leader | ReplicaRole::Follower | ReplicaRole::Learner | ReplicaRole::Candidate => {}
        }
        // What it has to hold begins where the leader's log does; its own may begin anywhere as long as it is new.
        let leader = partition.replicas.iter().find(|replica| replica.role == ReplicaRole::Leader);
        let start = leader.unwrap_or(replica).log_start_offset;
        let (held, wanted) = (end.saturating_sub(start), high_watermark.saturating_sub(start).max(1));
        // Below 100, because the end is below the high watermark.
        let percent = u128::from(held) * 100 / u128::from(wanted);
        Self::CatchingUp { caught_up_percent: percent.min(99) as u8 }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InSync => formatter.write_str("in sync"),
            Self::CatchingUp { caught_up_percent } => write!(formatter, "catching up {caught_up_percent}%"),
            Self::Failed => formatter.write_str("failed"),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

fn limit(bound: Option<u64>, show: impl Fn(u64) -> String) -> String {
    bound.map_or_else(|| UNLIMITED.to_owned(), show)
}

impl View for TopicView {
    fn text(&self) -> String {
        let head = fields([
            ("Topic", self.name.clone()),
            ("Id", self.id.to_string()),
            ("Partitions", self.partition_count.to_string()),
            ("Replication factor", self.replication_factor.to_string()),
            ("Segment size", ByteSize(self.segment_bytes).to_string()),
            (
                "Retention time",
                limit(self.retention_time_ms, |ms| humantime::format_duration(Duration::from_millis(ms)).to_string()),
            ),
            ("Retention size", limit(self.retention_bytes, |bytes| ByteSize(bytes).to_string())),
        ]);
        let headers = [
            "PARTITION",
            "LEADER",
            "EPOCH",
            "HIGH WATERMARK",
            "REPLICA",
            "NODE",
            "ROLE",
            "STATE",
            "LOG START",
            "LOG END",
            "LAG",
            "LOG SIZE",
            "FAILURE",
        ];
        let mut columns = Columns::new(&headers).right(&[0, 1, 2, 3, 4, 5, 8, 9, 10, 11]);
        for partition in &self.partitions {
            for (position, replica) in partition.replicas.iter().enumerate() {
                // What is true of the partition stands on its first line only.
                let of_partition = |text: String| if position == 0 { text } else { String::new() };
                columns.row([
                    of_partition(partition.partition.to_string()),
                    of_partition(or_dash(partition.leader)),
                    of_partition(partition.leader_epoch.to_string()),
                    of_partition(partition.high_watermark.to_string()),
                    replica.id.to_string(),
                    replica.node.to_string(),
                    replica.role.to_owned(),
                    replica.state.to_string(),
                    replica.known(replica.log_start_offset),
                    replica.known(replica.log_end_offset),
                    replica.known(replica.lag_records),
                    replica.known(ByteSize(replica.log_bytes)),
                    replica.failure.clone().unwrap_or_default(),
                ]);
            }
        }
        let recoveries: Vec<String> = self.recoveries.iter().map(RecoveryView::text).collect();
        let parts = [head, columns.text(), recoveries.join("\n")];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use quorate::{NodeId, ReplicaId};

    use super::*;

    fn replica(role: ReplicaRole, log_start_offset: u64, log_end_offset: u64) -> ReplicaInfo {
        let (id, node) = (ReplicaId(1), NodeId(1));
        ReplicaInfo { id, node, role, log_start_offset, log_end_offset, log_bytes: 7, detail: None }
    }

    /// The state of a replica of a partition whose leader's log begins at 1,000 and that ends at 2,000.
    fn state(role: ReplicaRole, log_start_offset: u64, log_end_offset: u64) -> State {
        let replica = replica(role, log_start_offset, log_end_offset);
        let partition = PartitionInfo {
            index: 0,
            leader: Some(NodeId(2)),
            leader_epoch: 1,
            high_watermark: 2_000,
            replicas: vec![self::replica(ReplicaRole::Leader, 1_000, 2_010), replica.clone()],
        };
        State::of(&partition, &replica)
    }

    #[test]
    fn a_replica_that_catches_up_is_told_from_one_that_has_all() {
        let catching_up = |caught_up_percent| State::CatchingUp { caught_up_percent };
        for (role, start, end, expected) in [
            (ReplicaRole::Follower, 1_000, 2_000, State::InSync),
            (ReplicaRole::Follower, 1_000, 2_005, State::InSync),
            (ReplicaRole::Follower, 1_000, 1_999, catching_up(99)),
            (ReplicaRole::Learner, 1_000, 1_639, catching_up(63)),
            (ReplicaRole::Learner, 0, 0, catching_up(0)),
            (ReplicaRole::Learner, 500, 900, catching_up(0)),
            (ReplicaRole::Failed, 0, 0, State::Failed),
            (ReplicaRole::Unknown, 0, 0, State::Unknown),
        ] {
            assert_eq!(state(role, start, end), expected, "{role:?} {start} {end}");
        }
    }

    #[test]
    fn what_was_not_reported_is_a_dash() {
        let partition =
            PartitionInfo { index: 0, leader: None, leader_epoch: 0, high_watermark: 9, replicas: Vec::new() };
        let unknown = ReplicaView::new(&partition, &replica(ReplicaRole::Unknown, 0, 0));
        assert_eq!(unknown.known(unknown.lag_records), "-");
        let follower = ReplicaView::new(&partition, &replica(ReplicaRole::Follower, 0, 4));
        assert_eq!(
            (follower.known(follower.lag_records), follower.state.to_string()),
            ("5".into(), "catching up 44%".into())
        );
    }
}
