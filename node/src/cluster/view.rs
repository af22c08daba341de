//! The cluster as clients see it: metadata joined with what the nodes say of their replicas.

use std::{collections::BTreeMap, sync::Arc};

use quorate_cluster_config::{NodeId, PartitionId, limits};
use quorate_protocol::{
    ApiError, ClusterInfo, Departure, ErrorCode, LeavingInfo, MetadataRecoveryInfo, MoveInfo, MoveState, NodeInfo,
    NodeState, PartitionInfo, RecoveryInfo, ReplicaInfo, ReplicaRole, TasksResponse, TopicInfo, TopicSelector,
    TopicsRequest, TopicsResponse,
};
use quorate_raft::{
    Assignment, Leaving, MetadataRecoveryRow, MetadataState, MoveRow, MoveStep, NodeRow, Placed, RecoveryRow, TopicRow,
};

use super::{Member, desired};
use crate::peers::{LeaderHint, NodeStatus, ReplicaStatus};

/// All that is known of replicas at one moment.
struct Snapshot {
    us: NodeId,
    replicas: BTreeMap<(NodeId, quorate_cluster_config::ReplicaId), ReplicaStatus>,
    leaders: BTreeMap<PartitionId, LeaderHint>,
    up: Vec<NodeId>,
    metadata_voters: Vec<NodeId>,
}

impl Snapshot {
    fn take(member: &Member) -> Self {
        let mut statuses: Vec<Arc<NodeStatus>> = member.board.up();
        statuses.push(Arc::new(member.status()));
        let up: Vec<NodeId> = statuses.iter().map(|status| status.node).collect();
        let mut leaders: BTreeMap<PartitionId, LeaderHint> = BTreeMap::new();
        let mut replicas = BTreeMap::new();
        for status in statuses {
            for replica in &status.replicas {
                // Followers hear of a new leader before its own next status comes round.
                let leads = (replica.role == ReplicaRole::Leader).then_some(status.node);
                if let Some(node) = leads.or(replica.leader).filter(|node| up.contains(node)) {
                    let newest = leaders.entry(replica.partition).or_default();
                    *newest = LeaderHint { epoch: replica.term, node: Some(node) }.max(*newest);
                }
                replicas.insert((status.node, replica.replica), replica.clone());
            }
        }
        let metadata_voters = member.metadata.group().members().voters.into_values().collect();
        Self { us: member.identity.node, replicas, leaders, up, metadata_voters }
    }

    fn partition(&self, id: PartitionId, placed: &[Assignment]) -> PartitionInfo {
        let hint = self.leaders.get(&id).copied().unwrap_or_default();
        let replica = |assignment: &Assignment| {
            let status = self.replicas.get(&(assignment.node, assignment.replica));
            // Two nodes may both say that they lead; the one of the older term has not heard yet.
            let role = status.map_or(ReplicaRole::Unknown, |status| match status.role {
                ReplicaRole::Leader if hint.node != Some(assignment.node) => ReplicaRole::Follower,
                role => role,
            });
            ReplicaInfo {
                id: assignment.replica,
                node: assignment.node,
                role,
                log_end_offset: status.map_or(0, |status| status.log_end_offset),
                log_start_offset: status.map_or(0, |status| status.log_start_offset),
                log_bytes: status.map_or(0, |status| status.log_bytes),
                detail: status.and_then(|status| status.failure.clone()),
            }
        };
        let replicas: Vec<ReplicaInfo> = placed.iter().map(replica).collect();
        let of_leader = placed.iter().find(|assignment| Some(assignment.node) == hint.node);
        let status = of_leader.and_then(|assignment| self.replicas.get(&(assignment.node, assignment.replica)));
        let high_watermark = status.map_or(0, |status| status.high_watermark);
        PartitionInfo { index: id.index, leader: hint.node, leader_epoch: hint.epoch, high_watermark, replicas }
    }

    /// Whether a replica of the partition is down, missing, failed, damaged or behind what was committed a while ago.
    fn is_under_replicated(&self, placed: &[Assignment]) -> bool {
        let status = |assignment: &Assignment| self.replicas.get(&(assignment.node, assignment.replica));
        let settled = placed.iter().filter_map(status).map(|status| status.settled_offset).max().unwrap_or(0);
        placed.iter().map(status).any(|status| match status {
            None => true,
            Some(status) => {
                matches!(status.role, ReplicaRole::Unknown | ReplicaRole::Failed)
                    || status.failure.is_some()
                    || status.log_end_offset < settled
            }
        })
    }

    /// A topic; its replicas are those it has and those on their way to it.
    fn topic(&self, state: &MetadataState, topic: &TopicRow) -> TopicInfo {
        let with_joining = |(index, placed): (u32, &Vec<Assignment>)| {
            let id = PartitionId { topic: topic.id, index };
            let joining = state.move_of(id).and_then(|row| row.add);
            let replicas: Vec<Assignment> = placed.iter().copied().chain(joining).collect();
            self.partition(id, &replicas)
        };
        let partitions = (0..).zip(&topic.partitions);
        TopicInfo {
            id: topic.id,
            name: topic.name.clone(),
            config: topic.config.clone(),
            created_at: topic.created_at,
            partitions: partitions.map(with_joining).collect(),
            recoveries: state
                .recoveries()
                .filter(|row| row.decided.partition.topic == topic.id)
                .map(recovery)
                .collect(),
        }
    }

    fn nodes(&self, state: &MetadataState, topics: &[TopicInfo]) -> Vec<NodeInfo> {
        let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let info = |node: &NodeRow| {
            let replicas = || partitions().flat_map(|p| &p.replicas).filter(|replica| replica.node == node.id);
            NodeInfo {
                id: node.id,
                client_address: node.place.client_address.clone(),
                peer_address: node.place.peer_address.clone(),
                state: if self.up.contains(&node.id) { NodeState::Up } else { NodeState::Down },
                rack: node.place.rack.clone(),
                drained: node.drained,
                leaving: node.leaving.map(departure),
                metadata_voter: self.metadata_voters.contains(&node.id),
                replica_count: count(replicas().count()),
                leader_count: count(partitions().filter(|partition| partition.leader == Some(node.id)).count()),
                failed_replica_count: count(replicas().filter(|r| is_failed(r)).count()),
            }
        };
        state.nodes().map(info).collect()
    }
}

fn recovery(row: &RecoveryRow) -> RecoveryInfo {
    RecoveryInfo {
        partition: row.decided.partition.index,
        metadata_index: row.index,
        decided_at_ms: row.decided.decided_at_ms,
        node: row.to.node,
        log_end_offset: row.decided.log_end_offset,
        high_watermark: row.decided.high_watermark,
        lost: row.lost.iter().map(|gone| gone.node).collect(),
    }
}

fn metadata_recovery(row: &MetadataRecoveryRow) -> MetadataRecoveryInfo {
    MetadataRecoveryInfo {
        metadata_index: row.index,
        decided_at_ms: row.decided.decided_at_ms,
        node: row.decided.survivor,
        lost: row.decided.lost.clone(),
    }
}

fn departure(leaving: Leaving) -> Departure {
    match leaving {
        Leaving::Serving => Departure::Serving,
        Leaving::Dead => Departure::Dead,
    }
}

/// Whether a replica was refused, has stopped or is damaged.
fn is_failed(replica: &ReplicaInfo) -> bool {
    replica.role == ReplicaRole::Failed || replica.detail.is_some()
}

impl Member {
    /// The cluster as this node sees it.
    pub(crate) fn cluster_info(&self) -> ClusterInfo {
        let state = self.metadata.state();
        let snapshot = Snapshot::take(self);
        let topics: Vec<TopicInfo> = state.topics().map(|topic| snapshot.topic(&state, topic)).collect();
        let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let placed = state.topics().flat_map(|topic| &topic.partitions);
        let under_replicated = placed.filter(|placed| snapshot.is_under_replicated(placed)).count();
        ClusterInfo {
            cluster_id: self.identity.cluster,
            answered_by: snapshot.us,
            metadata_leader: self.metadata.group().status().leader_node,
            metadata_index: self.metadata.applied_end().borrow().saturating_sub(1),
            nodes: snapshot.nodes(&state, &topics),
            topic_count: count(topics.len()),
            partition_count: count(partitions().count()),
            leaderless_partition_count: count(partitions().filter(|p| p.leader.is_none()).count()),
            under_replicated_partition_count: count(under_replicated),
            metadata_level: state.level(),
            metadata_recoveries: state.metadata_recoveries().map(metadata_recovery).collect(),
        }
    }

    /// What the cluster is about to change by itself.
    pub(crate) async fn tasks(&self, min_metadata_index: u64) -> Result<TasksResponse, ApiError> {
        self.wait_for_metadata(min_metadata_index).await?;
        let state = self.metadata.state();
        let snapshot = Snapshot::take(self);
        let bytes = |assignment: &Assignment| {
            snapshot.replicas.get(&(assignment.node, assignment.replica)).map_or(0, |status| status.log_bytes)
        };
        let info = |row: &MoveRow| {
            let topic = state.topic(row.partition.topic)?;
            let placed = topic.partitions.get(row.partition.index as usize)?;
            Some(MoveInfo {
                topic: topic.id,
                name: topic.name.clone(),
                partition: row.partition.index,
                state: match row.step {
                    MoveStep::Adding => MoveState::Adding,
                    MoveStep::CatchingUp => MoveState::CatchingUp,
                    MoveStep::Switching => MoveState::Switching,
                    MoveStep::TakingBack => MoveState::TakingBack,
                },
                to: row.add.map(|add| add.node),
                from: row.drop.map(|drop| drop.node),
                bytes_done: row.add.as_ref().map_or(0, bytes),
                bytes_total: placed.iter().map(bytes).max().unwrap_or(0),
            })
        };
        let leaves = |row: &NodeRow| {
            let replicas = state.placed().iter().filter(|placed| placed.nodes.contains(&row.id)).count();
            let departure = departure(row.leaving?);
            Some(LeavingInfo { node: row.id, departure, replicas: u32::try_from(replicas).unwrap_or(u32::MAX) })
        };
        let evening = state.is_evening();
        Ok(TasksResponse {
            moves: state.moves().filter_map(info).collect(),
            leaving: state.nodes().filter_map(leaves).collect(),
            evening,
            awaited: if evening { desired::awaited(self, &state) } else { Vec::new() },
        })
    }

    /// Waits until this node has the metadata that a client has seen.
    async fn wait_for_metadata(&self, index: u64) -> Result<(), ApiError> {
        if index > 0 && !self.metadata.wait_applied(index, limits::METADATA_WAIT_MAX).await {
            let message =
                format!("node {} is behind the metadata this client has seen; try another", self.identity.node);
            return Err(ApiError::new(ErrorCode::Unavailable, message));
        }
        Ok(())
    }

    /// The partitions with the bytes that their largest replicas have.
    pub(crate) fn weighed(&self, mut partitions: Vec<Placed>) -> Vec<Placed> {
        let mut bytes: BTreeMap<PartitionId, u64> = BTreeMap::new();
        for replica in Snapshot::take(self).replicas.values() {
            let largest = bytes.entry(replica.partition).or_default();
            *largest = replica.log_bytes.max(*largest);
        }
        for placed in &mut partitions {
            placed.bytes = bytes.get(&placed.partition).copied().unwrap_or(0);
        }
        partitions
    }

    /// The topics asked for.
    pub(crate) async fn topics(&self, request: &TopicsRequest) -> Result<TopicsResponse, ApiError> {
        self.wait_for_metadata(request.min_metadata_index).await?;
        let metadata_index = self.metadata.applied_end().borrow().saturating_sub(1);
        let state = self.metadata.state();
        let snapshot = Snapshot::take(self);
        let topics = match &request.selector {
            TopicSelector::All => state.topics().map(|topic| snapshot.topic(&state, topic)).collect(),
            TopicSelector::Name(name) => {
                let topic = state.topic_named(name).ok_or_else(|| {
                    ApiError::new(
                        ErrorCode::UnknownTopic,
                        format!("topic {name} does not exist; see `quorate topic list`"),
                    )
                })?;
                vec![snapshot.topic(&state, topic)]
            }
            TopicSelector::Id(id) => match state.topic(*id) {
                Some(topic) => vec![snapshot.topic(&state, topic)],
                None if state.was_deleted(*id) => {
                    return Err(ApiError::new(ErrorCode::TopicDeleted, format!("the topic of id {id} was deleted")));
                }
                None => {
                    return Err(ApiError::new(ErrorCode::UnknownTopic, format!("no topic has the id {id}")));
                }
            },
        };
        let nodes = snapshot.nodes(&state, &topics);
        Ok(TopicsResponse { metadata_index, nodes, topics })
    }
}
