//! One coordinator: it decides in turns, each of which ends with one append for all that was decided in it.

use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use quorate_cluster_config::{Name, PartitionId};
use quorate_coordinator::{Refusal, Topics};
use quorate_protocol::{ApiError, GroupRequest, GroupResponse, MemberId};
use quorate_raft::PartitionGroup;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{Census, Job, rows::Rows, sessions::Sessions, topics::KnownTopics};
use crate::{
    clients::{errors, find},
    cluster::Member,
    metrics,
};

/// Between two looks at who is still alive.
const TICK: Duration = Duration::from_millis(100);
/// Requests decided in one turn.
const JOBS_PER_TURN_MAX: usize = 256;

type Answer = oneshot::Sender<Result<GroupResponse, ApiError>>;

struct Actor {
    member: Weak<Member>,
    partition: PartitionId,
    rows: Rows,
    sessions: Sessions,
    /// The metadata index as of which the topics of the groups are known.
    topics_as_of: u64,
    census: watch::Sender<Census>,
}

/// Coordinates until the node stops.
pub(super) async fn run(
    member: Weak<Member>,
    partition: PartitionId,
    mut queue: mpsc::Receiver<Job>,
    census: watch::Sender<Census>,
) {
    let (rows, sessions) = (Rows::default(), Sessions::default());
    let mut actor = Actor { member, partition, rows, sessions, topics_as_of: 0, census };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut jobs = Vec::new();
    loop {
        tokio::select! {
            // Who has said that it is alive is heard before it is given up.
            biased;
            count = queue.recv_many(&mut jobs, JOBS_PER_TURN_MAX) => if count == 0 { return },
            _ = ticks.tick(), if !actor.sessions.is_empty() => {}
        }
        let Some(member) = actor.member.upgrade() else { return };
        actor.turn(&member, std::mem::take(&mut jobs)).await;
    }
}

impl Actor {
    async fn turn(&mut self, member: &Arc<Member>, jobs: Vec<Job>) {
        let led = find(member, self.partition).and_then(|group| {
            group.check_leader().map_err(|error| errors::of_proposal(self.partition, &error))?;
            Ok(group)
        });
        let outcome = match led {
            Ok(group) => self.decide_all(member, &group, jobs).await,
            Err(error) => Err((error, jobs.into_iter().map(|job| job.answer).collect())),
        };
        if let Err((error, unanswered)) = outcome {
            tracing::debug!(partition = %self.partition, %error, "a coordinator's turn failed");
            let unanswered: Vec<Answer> = unanswered;
            for answer in unanswered {
                drop(answer.send(Err(error.clone())));
            }
            self.sessions.end(&error);
            self.rows = Rows::default();
        }
    }

    async fn decide_all(
        &mut self,
        member: &Arc<Member>,
        group: &PartitionGroup,
        jobs: Vec<Job>,
    ) -> Result<(), (ApiError, Vec<Answer>)> {
        let now = Instant::now();
        let topics = KnownTopics::of(member);
        let is_stale = self.topics_as_of != topics.metadata_index();
        for job in &jobs {
            if let GroupRequest::Heartbeat(heartbeat) = &job.request {
                self.sessions.heard_again(heartbeat, &job.connection, now);
            }
        }
        if jobs.is_empty() && !is_stale && self.sessions.over(&self.rows.state, now).is_empty() {
            self.sessions.answer(&self.rows.state, now);
            return Ok(());
        }
        let caught_up = self.rows.catch_up(group, self.partition).await;
        let was_behind = match caught_up {
            Ok(was_behind) => was_behind,
            Err(error) => return Err((error, jobs.into_iter().map(|job| job.answer).collect())),
        };
        if was_behind {
            self.sessions.follow(&self.rows.state, Instant::now());
        }
        // Of a queue that is not read to its end, others may be in it.
        let over = if jobs.len() < JOBS_PER_TURN_MAX { self.sessions.over(&self.rows.state, now) } else { Vec::new() };
        let lost = over.len() as u64;
        for (group, id, reason) in over {
            tracing::info!(%group, member = %id, reason, "a member of a consumer group is given up");
            self.rows.state.remove(&group, id, &topics);
        }
        if is_stale || was_behind {
            self.rows.state.refresh(&topics);
        }
        self.topics_as_of = topics.metadata_index();
        let now_ms = member.replicas.environment().clock.now_ms();
        let mut answers = Vec::with_capacity(jobs.len());
        let mut commits = 0;
        for job in jobs {
            let is_commit = matches!(job.request, GroupRequest::Commit { .. });
            if let Some(decided) = self.decide(job, &topics, now_ms) {
                commits += u64::from(is_commit && matches!(decided.1, Outcome::Known(Ok(_))));
                answers.push(decided);
            }
        }
        let members_changed = match self.rows.write(group, self.partition, now_ms).await {
            Ok(members_changed) => members_changed,
            Err(error) => return Err((error, answers.into_iter().map(|(answer, _)| answer).collect())),
        };
        let counters = metrics::counters();
        counters.group_commits.fetch_add(commits, Relaxed);
        counters.group_members_lost.fetch_add(lost, Relaxed);
        let now = Instant::now();
        if members_changed {
            self.sessions.follow(&self.rows.state, now);
        }
        self.census.send_modify(|census| {
            census.groups = self.rows.state.group_count() as u64;
            if members_changed || was_behind {
                census.members = self.rows.state.members().count() as u64;
            }
        });
        for (answer, outcome) in answers {
            let outcome = match outcome {
                // What else was decided in this turn may have changed it.
                Outcome::Member(group, id) => self.assignment(&group, id),
                Outcome::Known(outcome) => outcome,
            };
            drop(answer.send(outcome));
        }
        self.sessions.answer(&self.rows.state, now);
        self.rows.rewrite(group, self.partition, &topics, now_ms).await.map_err(|error| (error, Vec::new()))
    }

    fn assignment(&self, group: &Name, member: MemberId) -> Result<GroupResponse, ApiError> {
        let gone = || ApiError::from(Refusal::UnknownMember { group: group.clone(), member });
        self.rows.state.assignment(group, member).map(GroupResponse::Assignment).ok_or_else(gone)
    }

    /// Decides one request. `None` if its answer waits.
    fn decide(&mut self, job: Job, topics: &KnownTopics, now_ms: i64) -> Option<(Answer, Outcome)> {
        let Job { request, connection, answer } = job;
        let state = &mut self.rows.state;
        let handled = state.handle(&request, topics, now_ms).map_err(ApiError::from);
        let GroupRequest::Heartbeat(heartbeat) = &request else { return Some((answer, Outcome::Known(handled))) };
        if handled.is_err() {
            return Some((answer, Outcome::Known(handled)));
        }
        let (group, id, now) = (heartbeat.group.clone(), heartbeat.member, Instant::now());
        self.sessions.heard(heartbeat, connection, now);
        let third = state.member(&group, id).map_or(Duration::ZERO, |member| member.settings.session_timeout / 3);
        let max_wait = heartbeat.max_wait.min(third);
        if !max_wait.is_zero() && state.epoch(&group, id) == Some(heartbeat.epoch) {
            self.sessions.park(heartbeat, max_wait, answer, now);
            return None;
        }
        Some((answer, Outcome::Member(group, id)))
    }
}

/// What is answered once all that was decided is written down.
enum Outcome {
    Known(Result<GroupResponse, ApiError>),
    /// What the member is to read then.
    Member(Name, MemberId),
}
