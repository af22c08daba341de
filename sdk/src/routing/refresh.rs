//! Asking several nodes who leads.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream::FuturesUnordered};
use quorate_cluster_config::{PartitionIndex, TopicId};
use quorate_protocol::{ApiError, ErrorCode, TopicSelector, TopicsRequest, TopicsResponse};
use tokio::time::timeout_at;

use super::Router;
use crate::connection::CallFailure;

/// Nodes asked at once: one may be cut off from the others without knowing, two are rarely.
const NODES_ASKED: usize = 3;
/// How long all answers together may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait for more answers after the first.
const MORE_ANSWERS_WAIT: Duration = Duration::from_millis(200);

/// What a refresh found out.
#[derive(Debug)]
pub(crate) enum Refreshed {
    /// The topic exists, as far as anyone answered.
    Continue,
    /// The topic, by its id, is gone for good.
    Gone(ApiError),
}

impl Router {
    /// Merges what several nodes know of a topic. Calls at the same time share one refresh.
    pub(crate) async fn refresh(&self, topic: TopicId, deadline: Instant) -> Refreshed {
        let asked_at = Instant::now();
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.get(&topic).is_some_and(|last| *last > asked_at) {
            return Refreshed::Continue;
        }
        let outcome = self.ask_several(topic, deadline.min(asked_at + REFRESH_TIMEOUT)).await;
        match outcome {
            Refreshed::Continue => refreshed.insert(topic, Instant::now()),
            Refreshed::Gone(_) => refreshed.remove(&topic),
        };
        outcome
    }

    /// Pauses, and asks who leads; ends early once a leader of a later epoch is known: another call may have heard of it.
    ///
    /// # Errors
    /// As `pause` has them.
    pub(crate) async fn look_for_leader<E>(
        &self,
        (topic, partition): (TopicId, PartitionIndex),
        later_than: u64,
        deadline: Instant,
        pause: impl Future<Output = Result<(), E>>,
    ) -> Result<Refreshed, E> {
        let mut changes = self.topology().changes();
        let known = async {
            while self.topology().leader_epoch(topic, partition) <= later_than {
                if changes.changed().await.is_err() {
                    // The topology lives as long as the router.
                    std::future::pending::<()>().await;
                }
            }
        };
        let asked = async {
            pause.await?;
            Ok(self.refresh(topic, deadline).await)
        };
        tokio::select! {
            asked = asked => asked,
            () = known => Ok(Refreshed::Continue),
        }
    }

    async fn ask_several(&self, topic: TopicId, deadline: Instant) -> Refreshed {
        let mut addresses = self.addresses();
        if addresses.len() > NODES_ASKED {
            let first = rand::random_range(0..addresses.len());
            addresses.rotate_left(first);
            addresses.truncate(NODES_ASKED);
        }
        let asked = addresses.len();
        let mut answers: FuturesUnordered<_> =
            addresses.iter().map(|address| self.ask_one(address, topic, deadline)).collect();
        let mut until = deadline;
        let (mut known, mut unknown) = (0, 0);
        while let Ok(Some(answer)) = timeout_at(until.into(), answers.next()).await {
            match answer {
                Ok(response) if response.topics.is_empty() => unknown += 1,
                Ok(response) => {
                    self.topology_mut().merge_topics(&response);
                    known += 1;
                }
                Err(CallFailure::Refused(refusal)) if refusal.code == ErrorCode::TopicDeleted => {
                    self.topology_mut().forget_topic(topic);
                    return Refreshed::Gone(refusal);
                }
                Err(CallFailure::Refused(refusal)) if refusal.code == ErrorCode::UnknownTopic => unknown += 1,
                Err(failure) => {
                    tracing::debug!(?failure, "a node did not tell who leads");
                    continue;
                }
            }
            until = until.min(Instant::now() + MORE_ANSWERS_WAIT);
        }
        // One node that does not know the topic may lag behind; most of those asked do not.
        if known == 0 && 2 * unknown > asked {
            self.topology_mut().forget_topic(topic);
            let message = format!("the topic with id {topic} is gone; it was deleted");
            return Refreshed::Gone(ApiError::new(ErrorCode::TopicDeleted, message));
        }
        Refreshed::Continue
    }

    async fn ask_one(
        &self,
        address: &quorate_cluster_config::Address,
        topic: TopicId,
        deadline: Instant,
    ) -> Result<TopicsResponse, CallFailure> {
        let min_metadata_index = self.topology().metadata_index();
        let request = TopicsRequest { selector: TopicSelector::Id(topic), min_metadata_index };
        let connection = self.connection(address, deadline).await?;
        connection.call(deadline, |api, context| async move { api.topics(context, request).await }).await
    }
}
