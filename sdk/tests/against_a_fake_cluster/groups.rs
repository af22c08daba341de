//! The coordinators of the fake cluster: the real decisions, kept in memory.

use std::time::Duration;

use quorate::{ErrorCode, NodeId, TopicConfig, TopicId, TopicInfo, TopicName, limits::COORDINATOR_GROUPS};
use quorate_coordinator::{CoordinatorState, Topics};
use quorate_protocol::{ApiError, CoordinatorRequest, GroupRequest, GroupResponse, coordinator_of};

use crate::cluster::{FakeCluster, State};

pub(crate) const TOPIC: TopicId = TopicId(999);

/// All groups, and how the coordinators misbehave.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub(crate) state: CoordinatorState,
    /// No heartbeat is answered.
    pub(crate) deaf: bool,
    /// The commits that arrived.
    pub(crate) commits: usize,
    /// Outcomes of the next commits, before anything is committed.
    pub(crate) refuse_commits: Vec<ErrorCode>,
}

pub(crate) fn topic() -> TopicInfo {
    let config = TopicConfig { partitions: COORDINATOR_GROUPS, ..TopicConfig::default() };
    let name = TopicName::consumer_groups();
    TopicInfo { id: TOPIC, name, config, created_at: 1, partitions: Vec::new(), recoveries: Vec::new() }
}

struct Known {
    index: u64,
    topic: Option<TopicInfo>,
}

impl Known {
    fn of(state: &State) -> Self {
        Self { index: state.metadata_index, topic: state.topic.clone() }
    }
}

impl Topics for Known {
    fn metadata_index(&self) -> u64 {
        self.index
    }

    fn find(&self, name: &TopicName) -> Option<(TopicId, u32)> {
        let topic = self.topic.as_ref().filter(|topic| topic.name == *name)?;
        Some((topic.id, topic.config.partitions))
    }

    fn was_deleted(&self, topic: TopicId) -> bool {
        self.topic.as_ref().is_none_or(|known| known.id != topic)
    }
}

impl FakeCluster {
    /// Gives a member up, as if it had not been heard of.
    pub(crate) fn expel(&self, group: &quorate::Name, member: quorate::MemberId) {
        let mut state = self.state();
        let known = Known::of(&state);
        state.groups.state.remove(group, member, &known);
    }
}

pub(crate) async fn coordinate(
    cluster: &FakeCluster,
    node: NodeId,
    request: CoordinatorRequest,
) -> Result<GroupResponse, ApiError> {
    let CoordinatorRequest { coordinator, request } = request;
    assert_eq!(coordinator.topic, TOPIC);
    assert!(request.group().is_none_or(|group| coordinator_of(group) == coordinator.index));
    let handled = {
        let mut state = cluster.state();
        if state.leader != Some(node) {
            return Err(ApiError::not_leader("another node coordinates", state.leader));
        }
        if let GroupRequest::Commit { .. } = &request {
            state.groups.commits += 1;
            if let Some(code) = state.groups.refuse_commits.pop() {
                return Err(ApiError::new(code, "refused"));
            }
        }
        let known = Known::of(&state);
        state.groups.state.handle(&request, &known, 0)?
    };
    let GroupRequest::Heartbeat(heartbeat) = &request else {
        // One coordinator has them all.
        let elsewhere = coordinator.index > 0 && request == GroupRequest::List;
        return Ok(if elsewhere { GroupResponse::Groups(Vec::new()) } else { handled });
    };
    if cluster.state().groups.deaf {
        std::future::pending::<()>().await;
    }
    let news = async {
        loop {
            let assignment = cluster.state().groups.state.assignment(&heartbeat.group, heartbeat.member);
            match assignment {
                Some(same) if same.epoch == heartbeat.epoch => tokio::time::sleep(Duration::from_millis(5)).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(heartbeat.max_wait, news).await {
        Ok(Some(assignment)) => Ok(GroupResponse::Assignment(assignment)),
        Ok(None) => Err(ApiError::new(ErrorCode::UnknownMember, "no such member")),
        Err(_) => Ok(handled),
    }
}
