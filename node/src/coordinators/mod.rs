//! Consumer groups: the coordinators on this node.
//!
//! A coordinator group is a partition of a topic of the cluster's own ([`TopicName::consumer_groups`]), so that it is
//! placed, moved, repaired and elected for as any other. Its records are rows (`quorate_coordinator::Row`); the leader of
//! the partition keeps what they say in memory, decides from that, and appends what it has decided under the condition that
//! the partition ends where it has read to: another leader's decisions are never overlooked. From time to time it writes all
//! rows anew and trims what was before.
//!
//! Not here: the decisions (`quorate_coordinator`).

mod actor;
mod rows;
mod sessions;
mod topics;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use quorate_cluster_config::{PartitionId, PartitionIndex, TopicConfig, TopicId, TopicName, limits};
use quorate_protocol::{ApiError, CoordinatorRequest, ErrorCode, GroupRequest, GroupResponse, coordinator_of};
use quorate_raft::{MetadataCommand, MetadataRefusal, MetadataReply};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    clients::{errors, find},
    cluster::Member,
};

/// Requests that wait for their turn, per coordinator.
const JOBS_MAX: usize = 1_024;
/// Bytes of a segment of a coordinator's log: what was trimmed goes a segment at a time.
const SEGMENT_BYTES: u64 = 4 << 20;

/// A client's connection, which is held on to for as long as it is open; what is under way for it does not.
pub(crate) type Connection = Weak<()>;

/// A request and who waits for the answer.
struct Job {
    request: GroupRequest,
    connection: Connection,
    answer: oneshot::Sender<Result<GroupResponse, ApiError>>,
}

/// The coordinators that have been asked for something on this node.
#[derive(Debug, Default)]
pub(crate) struct Coordinators {
    running: Mutex<HashMap<PartitionIndex, Running>>,
}

/// How much there is to coordinate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Census {
    pub(crate) groups: u64,
    pub(crate) members: u64,
}

#[derive(Debug)]
struct Running {
    jobs: mpsc::Sender<Job>,
    census: watch::Receiver<Census>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Coordinators {
    fn jobs(&self, member: &Arc<Member>, partition: PartitionId) -> mpsc::Sender<Job> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let (jobs, queue) = mpsc::channel(JOBS_MAX);
            let (counted, census) = watch::channel(Census::default());
            let task = tokio::spawn(actor::run(Arc::downgrade(member), partition, queue, counted)).abort_handle();
            Running { jobs, census, task }
        };
        let current = running.entry(partition.index).or_insert_with(start);
        // One that has ended by a bug is not missed for ever.
        if current.jobs.is_closed() {
            *current = start();
        }
        current.jobs.clone()
    }

    /// What the coordinators that lead here have to do.
    pub(crate) fn census(&self, member: &Member) -> Census {
        let state = member.metadata.state();
        let Some(topic) = state.topic_named(&TopicName::consumer_groups()).map(|topic| topic.id) else {
            return Census::default();
        };
        let leads = |index: &PartitionIndex| {
            find(member, PartitionId { topic, index: *index }).is_ok_and(|group| group.check_leader().is_ok())
        };
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let led = running.iter().filter(|(index, _)| leads(index)).map(|(_, running)| *running.census.borrow());
        led.fold(Census::default(), |sum, census| Census {
            groups: sum.groups + census.groups,
            members: sum.members + census.members,
        })
    }

    /// Ends all of them.
    pub(crate) fn stop(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Answers a request to a coordinator, which this node must lead.
pub(crate) async fn coordinate(
    member: &Arc<Member>,
    request: CoordinatorRequest,
    connection: Connection,
    deadline: Instant,
) -> Result<GroupResponse, ApiError> {
    let CoordinatorRequest { coordinator, request } = request;
    if request.group().is_some_and(|group| coordinator_of(group) != coordinator.index) {
        let message = format!("coordinator {} is not that of this group", coordinator.index);
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    check_size(&request)?;
    let group = find(member, coordinator)?;
    if member.metadata.state().topic_named(&TopicName::consumer_groups()).map(|topic| topic.id)
        != Some(coordinator.topic)
    {
        let message = format!("topic {} does not hold the consumer groups", coordinator.topic);
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    group.check_leader().map_err(|error| errors::of_proposal(coordinator, &error))?;
    let (answer, answered) = oneshot::channel();
    let job = Job { request, connection, answer };
    member.coordinators.jobs(member, coordinator).try_send(job).map_err(|_| {
        ApiError::new(ErrorCode::Overloaded, format!("coordinator {} has too much to do; try again", coordinator.index))
    })?;
    match tokio::time::timeout_at(deadline, answered).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(ApiError::new(ErrorCode::Unavailable, "the node stops; whether it took effect is unknown")),
        Err(_) => Err(errors::timeout("the request to the coordinator")),
    }
}

/// What waits for its turn is bounded in number and in size.
fn check_size(request: &GroupRequest) -> Result<(), ApiError> {
    let (size, most) = match request {
        GroupRequest::Heartbeat(heartbeat) => (heartbeat.owned.len(), limits::PARTITIONS_PER_GROUP_MAX),
        GroupRequest::Commit { offsets, .. } => (offsets.len(), limits::OFFSETS_PER_COMMIT_MAX),
        GroupRequest::Committed { partitions: Some(partitions), .. } => {
            (partitions.len(), limits::OFFSETS_PER_GROUP_MAX)
        }
        _ => return Ok(()),
    };
    if size > most {
        let message = format!("{size} partitions are named, at most {most} can be");
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

/// The topic of the consumer groups, created if there is none yet.
pub(crate) async fn topic(member: &Arc<Member>, deadline: Instant) -> Result<TopicId, ApiError> {
    let name = TopicName::consumer_groups();
    let known = || member.metadata.state().topic_named(&name).map(|topic| topic.id);
    if let Some(topic) = known() {
        return Ok(topic);
    }
    let live = member.live_nodes();
    let config = TopicConfig {
        partitions: limits::COORDINATOR_GROUPS,
        replication_factor: replication_factor(member.metadata.state().nodes().count()),
        segment_bytes: SEGMENT_BYTES,
        retention_time: None,
        retention_bytes: None,
    };
    let command = MetadataCommand::CreateTopic { name: name.clone(), config, live };
    let (reply, index) = member.execute(&command, deadline).await.map_err(|error| errors::of_execution(&error))?;
    member.metadata.wait_applied(index, limits::METADATA_WAIT_MAX).await;
    match reply {
        MetadataReply::TopicCreated { topic } => Ok(topic),
        MetadataReply::Refused(MetadataRefusal::TopicExists(_)) => known()
            .ok_or_else(|| ApiError::new(ErrorCode::NotReady, "the node does not know the topic of the groups yet")),
        MetadataReply::Refused(refusal) => Err(errors::of_refusal(&refusal)),
        reply => Err(ApiError::new(ErrorCode::Unavailable, format!("unexpected reply {reply:?}"))),
    }
}

/// How many replicas a coordinator group has among so many nodes; the metadata leader adds some when nodes come.
pub(crate) fn replication_factor(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX).clamp(1, limits::REPLICATION_FACTOR_DEFAULT)
}
