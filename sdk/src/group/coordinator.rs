//! Questions to the coordinator of a group.

use std::time::Duration;

use quorate_cluster_config::{Name, PartitionId, TopicId};
use quorate_protocol::{CommittedOffset, CoordinatorRequest, GroupRequest, GroupResponse, coordinator_of};

use crate::{client::Client, error::Error, routing::Call};

impl Client {
    /// Asks the coordinator of a group, wherever it moves meanwhile. The request may be sent several times, so it must mean
    /// the same each time; `wait` is how long the coordinator may hold it.
    pub(super) async fn coordinate(
        &self,
        group: &Name,
        action: &str,
        request: GroupRequest,
        wait: Duration,
    ) -> Result<GroupResponse, Error> {
        let topic = self.coordinators().await?;
        let coordinator = PartitionId { topic, index: coordinator_of(group) };
        let mut call = self.call(format!("{action} consumer group {group}"));
        call.timeout += wait;
        call.wait = wait;
        self.ask_coordinator(coordinator, call, request).await
    }

    pub(super) async fn ask_coordinator(
        &self,
        coordinator: PartitionId,
        call: Call,
        request: GroupRequest,
    ) -> Result<GroupResponse, Error> {
        let request = CoordinatorRequest { coordinator, request };
        // Which partition coordinates is nothing that users know of.
        let call = call.about(Box::default());
        let PartitionId { topic, index } = coordinator;
        let asked = self.router().change_at_leader(topic, index, call, |api, context| {
            let request = request.clone();
            async move { api.coordinate(context, request).await }
        });
        asked.await
    }

    /// The topic whose partitions are the coordinators.
    pub(super) async fn coordinators(&self) -> Result<TopicId, Error> {
        let topic = self.router().coordinators();
        let looked_up = topic.get_or_try_init(|| {
            let call = self.call("find the coordinators of consumer groups");
            self.router().call_any(call, |api, context| async move { api.consumer_groups_topic(context).await })
        });
        looked_up.await.copied()
    }

    /// What a group has committed, of these partitions or of all.
    pub(super) async fn committed(
        &self,
        group: &Name,
        partitions: Option<Vec<PartitionId>>,
    ) -> Result<Vec<(PartitionId, CommittedOffset)>, Error> {
        let request = GroupRequest::Committed { group: group.clone(), partitions };
        match self.coordinate(group, "read the committed offsets of", request, Duration::ZERO).await? {
            GroupResponse::Committed(committed) => Ok(committed),
            other => Err(unexpected("read the committed offsets", &other)),
        }
    }
}

/// A node that answers something else than it was asked has a bug.
pub(super) fn unexpected(action: &str, response: &GroupResponse) -> Error {
    Error::Refused {
        action: action.to_owned(),
        place: Box::default(),
        code: quorate_protocol::ErrorCode::InvalidRequest,
        message: format!("internal error: the coordinator answered {response:?}; report this as a bug"),
        outcome_unknown: true,
    }
}
