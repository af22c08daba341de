//! The task that keeps a member alive, and what it shares with the consumer.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use quorate_cluster_config::{Name, PartitionId};
use quorate_protocol::{Assignment, ErrorCode, GroupRequest, GroupResponse, Heartbeat, MemberId, MemberSettings};
use tokio::{sync::Notify, task::AbortHandle};

use super::coordinator::unexpected;
use crate::{backoff::Backoff, client::Client, error::Error};

/// What the consumer and the task tell each other. Invariant: what the consumer reads is in `owned` before it reads it, and
/// the epoch and `owned` that a heartbeat tells are those of one moment; so the coordinator never takes for given up what is
/// about to be read.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) member: Option<MemberId>,
    pub(super) assignment: Assignment,
    /// What the consumer reads or has not finished with.
    pub(super) owned: BTreeSet<PartitionId>,
    /// How often the member was given up and joined anew: what was owned before is lost.
    pub(super) incarnation: u64,
    /// Why it could not join anew.
    pub(super) failure: Option<Error>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) group: Name,
    settings: MemberSettings,
    told: Mutex<Told>,
    /// Whom it joins as, until it knows that it has: a try whose answer was lost is not another member.
    joining: Mutex<Option<MemberId>>,
    /// There is something new for the consumer.
    pub(super) news: Notify,
    /// The same, for a look that costs nothing.
    pub(super) has_news: AtomicBool,
    /// The consumer owns something else than before.
    pub(super) changed: Notify,
}

impl Shared {
    fn notify(&self) {
        self.has_news.store(true, Relaxed);
        self.news.notify_one();
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member of a group; it leaves when this is dropped, unless it is a static one.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) shared: Arc<Shared>,
    task: AbortHandle,
}

impl Membership {
    /// Joins.
    pub(super) async fn join(client: Client, group: Name, settings: MemberSettings) -> Result<Self, Error> {
        let (told, news, changed) = (Mutex::default(), Notify::new(), Notify::new());
        let has_news = AtomicBool::new(false);
        let joining = Mutex::default();
        let shared = Arc::new(Shared { client, group, settings, told, joining, news, has_news, changed });
        if let Err(error) = shared.join(None).await {
            // It may have joined all the same.
            let abandoned = Arc::clone(&shared);
            tokio::spawn(async move { abandoned.abandon().await });
            return Err(error);
        }
        let task = tokio::spawn(keep(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, task })
    }

    /// Leaves, so that the others take over at once. A static member stays one until its session ends: it is expected back.
    pub(super) async fn leave(&self) -> Result<(), Error> {
        self.task.abort();
        self.shared.leave().await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.task.abort();
        // Nobody waits for it; should it fail, the session ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { shared.leave().await });
        }
    }
}

/// Sends heartbeats for as long as there is a consumer.
async fn keep(shared: Arc<Shared>) {
    let mut backoff = Backoff::default();
    let mut heard = Instant::now();
    let mut was = None;
    loop {
        let deadline = heard + shared.settings.session_timeout;
        let beat = tokio::select! {
            beat = tokio::time::timeout_at(deadline.into(), shared.heartbeat()) => beat,
            // The one on its way says what is not true any more.
            () = shared.changed.notified() => continue,
        };
        match beat.unwrap_or_else(|_| Err(silence(&shared, heard))) {
            Ok(()) => {
                heard = Instant::now();
                backoff.reset();
                continue;
            }
            Err(error) => {
                let gone = matches!(error.code(), Some(ErrorCode::UnknownMember | ErrorCode::UnknownGroup));
                // By now the coordinator has given it up, and another one may read what it reads.
                let is_late = heard.elapsed() >= shared.settings.session_timeout;
                if gone || is_late {
                    tracing::warn!(group = %shared.group, %error, "the member was given up; it joins anew");
                    was = shared.told().member.or(was);
                    shared.lose(None);
                    match shared.join(was).await {
                        Ok(()) => heard = Instant::now(),
                        Err(error) => {
                            // Another program has its name by now: it would only take turns with that.
                            let is_over = error.code() == Some(ErrorCode::MemberFenced);
                            shared.lose(Some(error));
                            if is_over {
                                return;
                            }
                        }
                    }
                } else {
                    tracing::debug!(group = %shared.group, %error, "a heartbeat failed");
                }
            }
        }
        // Not beyond the end of the session: by then it must read no more.
        let left = (heard + shared.settings.session_timeout).saturating_duration_since(Instant::now());
        let pause = backoff.next();
        tokio::time::sleep(if left.is_zero() { pause } else { pause.min(left) }).await;
    }
}

fn silence(shared: &Shared, heard: Instant) -> Error {
    Error::TimedOut {
        action: format!("be a member of consumer group {}", shared.group),
        place: Box::default(),
        waited: heard.elapsed(),
        reason: "its coordinator did not answer".to_owned(),
        code: None,
        outcome_unknown: false,
    }
}

impl Shared {
    /// Nothing it had is its own any more, and, with an error, it is no member.
    fn lose(&self, failure: Option<Error>) {
        let mut told = self.told();
        let incarnation = told.incarnation + 1;
        *told = Told { incarnation, failure, ..Told::default() };
        drop(told);
        self.notify();
    }

    fn joining(&self) -> MutexGuard<'_, Option<MemberId>> {
        self.joining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the coordinator forget a member that may or may not have joined.
    async fn abandon(&self) {
        let member = self.joining().take();
        if let Some(member) = member {
            drop(self.send_leave(member).await);
        }
    }

    /// Joins; `was` is whom it was before, whom the coordinator may not have given up yet.
    async fn join(&self, was: Option<MemberId>) -> Result<(), Error> {
        let member = *self.joining().get_or_insert_with(|| MemberId(rand::random()));
        let (group, join, max_wait) = (self.group.clone(), Some(self.settings.clone()), Duration::ZERO);
        let heartbeat = Heartbeat { group, member, epoch: 0, join, was, owned: Vec::new(), max_wait };
        let assignment = self.send(heartbeat).await?;
        *self.joining() = None;
        let mut told = self.told();
        (told.member, told.assignment, told.failure) = (Some(member), assignment, None);
        drop(told);
        self.notify();
        Ok(())
    }

    async fn heartbeat(&self) -> Result<(), Error> {
        let heartbeat = {
            let told = self.told();
            Heartbeat {
                group: self.group.clone(),
                // Without one it is told that there is no such member, and joins.
                member: told.member.unwrap_or(MemberId(0)),
                epoch: told.assignment.epoch.max(1),
                join: None,
                was: None,
                owned: told.owned.iter().copied().collect(),
                max_wait: self.settings.session_timeout / 4,
            }
        };
        let assignment = self.send(heartbeat).await?;
        let mut told = self.told();
        if assignment.epoch > told.assignment.epoch {
            told.assignment = assignment;
            drop(told);
            self.notify();
        }
        Ok(())
    }

    async fn send(&self, heartbeat: Heartbeat) -> Result<Assignment, Error> {
        let wait = heartbeat.max_wait;
        let request = GroupRequest::Heartbeat(heartbeat);
        match self.client.coordinate(&self.group, "be a member of", request, wait).await? {
            GroupResponse::Assignment(assignment) => Ok(assignment),
            other => Err(unexpected("be a member of a consumer group", &other)),
        }
    }

    async fn leave(&self) -> Result<(), Error> {
        if self.settings.instance.is_some() {
            return Ok(());
        }
        let Some(member) = self.told().member.take() else { return Ok(()) };
        self.send_leave(member).await
    }

    async fn send_leave(&self, member: MemberId) -> Result<(), Error> {
        let request = GroupRequest::Leave { group: self.group.clone(), member };
        self.client.coordinate(&self.group, "leave", request, Duration::ZERO).await.map(drop)
    }
}
