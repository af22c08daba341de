//! Calls about the cluster and its topics.

use std::time::{Duration, Instant};

use quorate_cluster_config::{Address, NodeId, PartitionId, PartitionIndex, ProducerId, TopicConfig, TopicName};
use quorate_protocol::{
    AddNodeRequest, AlterTopicRequest, ApiError, ClusterInfo, CreateTopicRequest, DeleteTopicRequest, Departure,
    DrainRequest, ErrorCode, OffsetQuery, OffsetsRequest, OutlookInfo, QuorateApiClient, RecoverRequest,
    RemoveNodeRequest, SurvivorInfo, TasksResponse as Tasks, TopicInfo, TopicSelector, TopicsRequest, TopicsResponse,
    TrimRequest,
};
use tarpc::{client::RpcError, context::Context};

use crate::{TopicAlteration, client::Client, error::Error, place::Place, routing::Call};

/// How often a new topic is looked at until its partitions have leaders.
const LEADER_POLL_INTERVAL: Duration = Duration::from_millis(50);

impl Client {
    /// The cluster, its nodes and its health, as the node that answers sees them.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, Error> {
        let call = self.call("look at the cluster");
        let info = self.router().call_any(call, |api, context| async move { api.cluster_info(context).await }).await?;
        self.router().topology_mut().merge_cluster(&info);
        Ok(info)
    }

    /// All topics, by name, with their partitions and leaders.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time.
    pub async fn topics(&self) -> Result<Vec<TopicInfo>, Error> {
        Ok(self.ask_topics(self.call("list the topics"), TopicSelector::All).await?.topics)
    }

    /// One topic, with its partitions and leaders.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownTopic`] if there is none of that name.
    pub async fn topic(&self, name: &TopicName) -> Result<TopicInfo, Error> {
        let call = self.call(format!("look up topic {name}")).about(Place::of_topic(name));
        self.one_topic(call, TopicSelector::Name(name.clone())).await
    }

    /// Creates a topic and waits, within the timeout, until each of its partitions has a leader. If the time is up
    /// after the topic was created, the topic is returned as it is, with leaders missing.
    ///
    /// A create whose answer was lost is repeated; *topic exists* is then taken for its success, if that topic has the
    /// same configuration.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::TopicExists`], [`ErrorCode::NotEnoughNodes`] or
    /// [`ErrorCode::InvalidRequest`]; [`Error::InvalidArgument`] for a configuration beyond its bounds.
    pub async fn create_topic(&self, name: &TopicName, config: TopicConfig) -> Result<TopicInfo, Error> {
        config.validate().map_err(|error| Error::InvalidArgument(format!("cannot create topic {name}: {error}")))?;
        let deadline = Instant::now() + self.timeout();
        let request = CreateTopicRequest { name: name.clone(), config };
        let call = self.call(format!("create topic {name}")).about(Place::of_topic(name));
        let created = self.router().call_any_tracked(call, |api, context| {
            let request = request.clone();
            async move { api.create_topic(context, request).await }
        });
        let topic = match created.await {
            Ok(topic) => topic,
            Err((error, true)) if error.code() == Some(ErrorCode::TopicExists) => {
                match self.created_topic(name, deadline).await? {
                    Some(topic) if topic.config == request.config => topic,
                    _ => return Err(error),
                }
            }
            Err((error, _)) => return Err(error),
        };
        self.router().topology_mut().merge_topic(&topic);
        Ok(self.wait_for_leaders(topic, deadline).await)
    }

    /// A topic that exists, although the node that is asked may not have heard of it yet; `None` if it does not in time.
    async fn created_topic(&self, name: &TopicName, deadline: Instant) -> Result<Option<TopicInfo>, Error> {
        loop {
            match self.topic(name).await {
                Err(error) if error.code() == Some(ErrorCode::UnknownTopic) => {
                    if Instant::now() + LEADER_POLL_INTERVAL >= deadline {
                        return Ok(None);
                    }
                    tokio::time::sleep(LEADER_POLL_INTERVAL).await;
                }
                found => return found.map(Some),
            }
        }
    }

    async fn wait_for_leaders(&self, mut topic: TopicInfo, deadline: Instant) -> TopicInfo {
        while topic.partitions.is_empty() || topic.partitions.iter().any(|partition| partition.leader.is_none()) {
            let now = Instant::now();
            if now + LEADER_POLL_INTERVAL >= deadline {
                break;
            }
            tokio::time::sleep(LEADER_POLL_INTERVAL).await;
            let call = Call::new(format!("look up topic {}", topic.name), deadline.saturating_duration_since(now))
                .about(Place::of_topic(&topic.name));
            match self.one_topic(call, TopicSelector::Id(topic.id)).await {
                Ok(newer) => topic = newer,
                Err(error) => {
                    tracing::debug!(%error, "the new topic could not be looked up");
                    break;
                }
            }
        }
        topic
    }

    /// Has a node lead nothing, for maintenance, or lead again. Returns once that is decided; the node hands over what it
    /// leads within seconds, as far as other replicas keep up, and its replicas stay. It holds across restarts.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownNode`]; [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers
    /// in time: then it may be decided all the same, and the same call may be repeated.
    pub async fn drain_node(&self, node: NodeId, drained: bool) -> Result<(), Error> {
        let action = if drained { "drain" } else { "undrain" };
        let call = self.call(format!("{action} node {node}"));
        let request = DrainRequest { node, drained };
        self.change(call, |api, context| async move { api.drain(context, request).await }).await
    }

    /// Adds the node that waits for that at this peer address (`quorate-node --standby`); returns its id. Its share of the
    /// replicas and of the leadership moves to it after that, see [`tasks`](Self::tasks). Adding a node that is part of the
    /// cluster already just returns its id.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::NodeUnreachable`] if it does not answer the node that was asked, and with
    /// [`ErrorCode::InvalidRequest`] if it is part of another cluster, does not wait or speaks another version;
    /// [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time: then it may be added, and the same call may
    /// be repeated.
    pub async fn add_node(&self, peer_address: &Address) -> Result<NodeId, Error> {
        let call = self.call(format!("add the node at {peer_address}"));
        let request = AddNodeRequest { peer_address: peer_address.clone() };
        let added = self.router().call_any_tracked(call, |api, context| {
            let request = request.clone();
            async move { api.add_node(context, request).await }
        });
        added.await.map_err(|(error, _)| error)
    }

    /// Has a node leave the cluster: it hands over what it leads, its replicas move to other nodes, and then it is forgotten,
    /// see [`tasks`](Self::tasks). Returns once that is decided. Its id is never used again. With `None`, a node that is about
    /// to leave stays.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownNode`], [`ErrorCode::NodeRemoved`], [`ErrorCode::NotEnoughNodes`] if the
    /// others could not hold what there is, or [`ErrorCode::InvalidRequest`] if a node that is to serve until then does not
    /// answer, or one that is dead does; [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time: then it
    /// may be decided all the same, and the same call may be repeated.
    pub async fn remove_node(&self, node: NodeId, departure: Option<Departure>) -> Result<(), Error> {
        let action = if departure.is_some() { "remove" } else { "keep" };
        let call = self.call(format!("{action} node {node}"));
        let request = RemoveNodeRequest { node, departure };
        self.change(call, |api, context| async move { api.remove_node(context, request).await }).await
    }

    /// Has replicas moved until all nodes carry alike and partitions span as many racks as they can. Returns once that is
    /// decided; see [`tasks`](Self::tasks). While a node does not answer, nothing is moved for that.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time: then it may be decided all the same.
    pub async fn rebalance(&self) -> Result<(), Error> {
        let call = self.call("rebalance the cluster");
        self.change(call, |api, context| async move { api.rebalance(context).await }).await
    }

    /// Ends the evening out of replicas, and has its moves taken back as far as their new replicas do not vote yet; returns
    /// how many are to be. Moves away from nodes that leave go on.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time: then some may be taken back.
    pub async fn cancel_moves(&self) -> Result<u32, Error> {
        let call = self.call("cancel the moves");
        let asked = self.router().call_any_tracked(call, |api, context| async move { api.cancel_moves(context).await });
        asked.await.map_err(|(error, _)| error)
    }

    /// What the cluster is about to change by itself, as the node that answers sees it: replicas that are moved, nodes that
    /// leave.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time.
    pub async fn tasks(&self) -> Result<Tasks, Error> {
        let call = self.call("ask for the tasks");
        let index = self.router().topology().metadata_index();
        self.router().call_any(call, |api, context| async move { api.tasks(context, index).await }).await
    }

    /// Changes the settings of a topic. Returns once that is decided: added replicas catch up after that, see
    /// [`tasks`](Self::tasks).
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownTopic`], [`ErrorCode::NotEnoughNodes`] or [`ErrorCode::InvalidRequest`]
    /// for settings beyond their bounds or fewer partitions than there are; [`Error::Unreachable`] or [`Error::TimedOut`] if
    /// no node answers in time: then it may be decided all the same, and the same call may be repeated.
    pub async fn alter_topic(&self, name: &TopicName, alteration: &TopicAlteration) -> Result<(), Error> {
        let TopicAlteration { partitions, replication_factor, retention_time, retention_bytes } = alteration.clone();
        let id = self.topic(name).await?.id;
        let name = name.clone();
        let call = self.call(format!("alter topic {name}")).about(Place::of_topic(&name));
        let request = AlterTopicRequest { id, name, partitions, replication_factor, retention_time, retention_bytes };
        self.change(call, |api, context| {
            let request = request.clone();
            async move { api.alter_topic(context, request).await }
        })
        .await
    }

    /// What could become of a topic's partitions without the replicas that are missing: unsafe recovery, for partitions whose
    /// majority is gone for good.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownTopic`], or with [`ErrorCode::Unavailable`] if a node that is up does not say
    /// what it has.
    pub async fn outlook(&self, name: &TopicName) -> Result<Vec<OutlookInfo>, Error> {
        let topic = self.topic(name).await?.id;
        let call = self.call(format!("look at the replicas of topic {name}")).about(Place::of_topic(name));
        self.router().call_any(call, |api, context| async move { api.outlook(context, topic).await }).await
    }

    /// Has a partition go on from this replica alone, as [`outlook`](Self::outlook) has named it first. *Records are lost*:
    /// those that only the missing replicas had, acknowledged or not. Returns once that is decided.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::InvalidRequest`] if a majority is there, or if the replica is not, or not any more,
    /// the best one to go on from; [`Error::Unreachable`] or [`Error::TimedOut`] if no node answers in time: then it may be
    /// decided all the same.
    pub async fn recover_partition(
        &self,
        name: &TopicName,
        partition: PartitionIndex,
        survivor: &SurvivorInfo,
    ) -> Result<(), Error> {
        let topic = self.topic(name).await?.id;
        let SurvivorInfo { replica, log_end_offset, .. } = *survivor;
        let request = RecoverRequest { topic, partition, survivor: replica, log_end_offset };
        let place = Place::of_partition(Some(name), partition);
        let call = self.call(format!("recover {place}")).about(place);
        self.change(call, |api, context| async move { api.recover_partition(context, request).await }).await
    }

    /// A change that may be repeated, and whose metadata index is sent along from then on.
    async fn change<F>(&self, call: Call, change: impl Fn(QuorateApiClient, Context) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<Result<u64, ApiError>, RpcError>>,
    {
        let changed = self.router().call_any_tracked(call, change);
        let metadata_index = changed.await.map_err(|(error, _)| error)?;
        self.router().topology_mut().note_metadata_index(metadata_index);
        Ok(())
    }

    /// Deletes a topic and all of its records. A topic of the same name created later is another topic.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownTopic`] if there is none of that name.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        let request = DeleteTopicRequest { id: self.topic(name).await?.id, name: name.clone() };
        let call = self.call(format!("delete topic {name}")).about(Place::of_topic(name));
        let deleted = self.router().call_any_tracked(call, |api, context| {
            let request = request.clone();
            async move { api.delete_topic(context, request).await }
        });
        match deleted.await {
            Ok(metadata_index) => {
                self.router().topology_mut().note_metadata_index(metadata_index);
                Ok(())
            }
            // An earlier try may have deleted it: what was asked for holds.
            Err((error, true)) if matches!(error.code(), Some(ErrorCode::UnknownTopic | ErrorCode::TopicDeleted)) => {
                Ok(())
            }
            Err((error, _)) => Err(error),
        }
    }

    /// Deletes the records of a partition before an offset, and returns its log start: the first offset that is left.
    /// An offset at or below the log start changes nothing. Returns once the deletion is on stable storage of a majority;
    /// whole segments leave the disks later, in the background.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::OffsetOutOfRange`] for an offset beyond the end,
    /// [`ErrorCode::UnknownTopic`] or [`ErrorCode::UnknownPartition`]; [`Error::TimedOut`] if the partition has no leader
    /// in time. After a timeout the records may be deleted or not; the same call may be repeated.
    pub async fn trim(&self, topic: &TopicName, partition: PartitionIndex, before: u64) -> Result<u64, Error> {
        let info = self.topic(topic).await?;
        require_partition(&info, partition)?;
        let call = self.call(format!("trim partition {partition} of topic {topic} before offset {before}"));
        let request = TrimRequest { topic: info.id, partition, before };
        let trimmed = self
            .router()
            .change_at_leader(info.id, partition, call, |api, context| async move { api.trim(context, request).await });
        Ok(trimmed.await?.log_start_offset)
    }

    /// The first offset of the first batch that its leader took at or after a time, in ms since 1970 by the leader's
    /// clock; the end offset if there is none. Linearizable, as [`offset`](Self::offset) is.
    ///
    /// # Errors
    /// As [`offset`](Self::offset).
    pub async fn offset_at_time(&self, topic: &TopicName, partition: PartitionIndex, ms: i64) -> Result<u64, Error> {
        self.offset(topic, partition, OffsetQuery::AtTime { ms }).await
    }

    /// The first or the last offset of a partition, or that of a time. The last is linearizable: at or above every record
    /// acknowledged before the call.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`ErrorCode::UnknownTopic`] or [`ErrorCode::UnknownPartition`];
    /// [`Error::TimedOut`] if the partition has no leader in time.
    pub async fn offset(&self, topic: &TopicName, partition: PartitionIndex, query: OffsetQuery) -> Result<u64, Error> {
        let topic = self.topic(topic).await?;
        require_partition(&topic, partition)?;
        self.partition_offset(PartitionId { topic: topic.id, index: partition }, query).await
    }

    pub(crate) async fn partition_offset(&self, partition: PartitionId, query: OffsetQuery) -> Result<u64, Error> {
        let described = self.router().topology().place(partition);
        let PartitionId { topic, index: partition } = partition;
        let which = match query {
            OffsetQuery::First => "read the first offset",
            OffsetQuery::Last => "read the last offset",
            OffsetQuery::AtTime { .. } => "find the offset at a time",
        };
        let call = self.call(format!("{which} of {described}"));
        let request = OffsetsRequest { topic, partition, query };
        let asked = self.router().call_leader(topic, partition, call, |api, context| {
            let request = request.clone();
            async move { api.offsets(context, request).await }
        });
        Ok(asked.await?.offset)
    }

    pub(crate) async fn allocate_producer_id(&self, timeout: Duration) -> Result<ProducerId, Error> {
        let call = Call::new("get a producer id", timeout);
        self.router().call_any(call, |api, context| async move { api.allocate_producer_id(context).await }).await
    }

    async fn one_topic(&self, call: Call, selector: TopicSelector) -> Result<TopicInfo, Error> {
        let (action, place) = (call.action.clone(), call.place.clone().unwrap_or_default());
        let response = self.ask_topics(call, selector).await?;
        response.topics.into_iter().next().ok_or_else(|| Error::Refused {
            action,
            place,
            code: ErrorCode::UnknownTopic,
            message: "there is no such topic; create it, or list the topics to see which exist".into(),
            outcome_unknown: false,
        })
    }

    async fn ask_topics(&self, call: Call, selector: TopicSelector) -> Result<TopicsResponse, Error> {
        let min_metadata_index = self.router().topology().metadata_index();
        let request = TopicsRequest { selector, min_metadata_index };
        let asked = self.router().call_any(call, |api, context| {
            let request = request.clone();
            async move { api.topics(context, request).await }
        });
        let response = asked.await?;
        self.router().topology_mut().merge_topics(&response);
        Ok(response)
    }
}

/// Checks that a topic has a partition of this index.
pub(crate) fn require_partition(topic: &TopicInfo, partition: PartitionIndex) -> Result<(), Error> {
    if partition < topic.config.partitions {
        return Ok(());
    }
    Err(Error::Refused {
        action: format!("use partition {partition} of topic {}", topic.name),
        place: Place::of_partition(Some(&topic.name), partition),
        code: ErrorCode::UnknownPartition,
        message: format!("its partitions are 0 to {}", topic.config.partitions.saturating_sub(1)),
        outcome_unknown: false,
    })
}
