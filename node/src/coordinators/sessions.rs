//! Which members are alive, as the coordinator has heard: in its memory only. A new coordinator gives each of them all of its
//! time anew.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use quorate_cluster_config::{Name, PartitionId, limits::BROKEN_CONNECTION_GRACE};
use quorate_coordinator::{CoordinatorState, Member};
use quorate_protocol::{ApiError, GroupResponse, Heartbeat, MemberId};
use tokio::{sync::oneshot, time::Instant};

use super::Connection;

type Key = (Name, MemberId);

/// A heartbeat that is answered once there is something new.
#[derive(Debug)]
struct Parked {
    epoch: u64,
    until: Instant,
    answer: oneshot::Sender<Result<GroupResponse, ApiError>>,
}

#[derive(Debug)]
struct Session {
    heard: Instant,
    connection: Option<Connection>,
    broken: Option<Instant>,
    /// Since when it has had to give up what it still has.
    revoking: BTreeMap<PartitionId, Instant>,
    parked: Option<Parked>,
}

impl Session {
    fn new(now: Instant) -> Self {
        Self { heard: now, connection: None, broken: None, revoking: BTreeMap::new(), parked: None }
    }

    /// Whether the member is to be given up, and why.
    fn is_over(&mut self, member: &Member, now: Instant) -> Option<&'static str> {
        let settings = &member.settings;
        // One that waits for its answer is alive as long as its connection is.
        let is_parked = self.parked.is_some();
        let broken = self.connection.as_ref().is_some_and(|connection| connection.strong_count() == 0);
        self.broken = if broken { self.broken.or(Some(now)) } else { None };
        let passed = |since: Instant, time: Duration| now.saturating_duration_since(since) >= time;
        if self.broken.is_some_and(|since| settings.instance.is_none() && passed(since, BROKEN_CONNECTION_GRACE)) {
            return Some("its connection is broken");
        }
        if passed(self.heard, settings.session_timeout) && (broken || !is_parked) {
            return Some("it was not heard of in time");
        }
        if self.revoking.values().any(|since| passed(*since, settings.rebalance_timeout)) {
            return Some("it did not give up partitions in time");
        }
        None
    }
}

/// The sessions of all members of one coordinator.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: HashMap<Key, Session>,
}

impl Sessions {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// There is a session for each member, and for nobody else. Those that wait and are none any more are told so.
    pub(super) fn follow(&mut self, state: &CoordinatorState, now: Instant) {
        let mut members: HashSet<Key> = HashSet::new();
        for (group, id, member) in state.members() {
            let key = (group.clone(), id);
            let session = self.sessions.entry(key.clone()).or_insert_with(|| Session::new(now));
            let revoking = member.held.iter().filter(|(_, held)| held.revoking).map(|(partition, _)| *partition);
            session.revoking =
                revoking.map(|partition| (partition, *session.revoking.get(&partition).unwrap_or(&now))).collect();
            members.insert(key);
        }
        self.sessions.retain(|key, _| members.contains(key));
    }

    /// Of a member that is known already.
    pub(super) fn heard_again(&mut self, heartbeat: &Heartbeat, connection: &Connection, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&(heartbeat.group.clone(), heartbeat.member)) {
            (session.heard, session.connection, session.broken) = (now, Some(connection.clone()), None);
        }
    }

    pub(super) fn heard(&mut self, heartbeat: &Heartbeat, connection: Connection, now: Instant) {
        let key = (heartbeat.group.clone(), heartbeat.member);
        let session = self.sessions.entry(key).or_insert_with(|| Session::new(now));
        (session.heard, session.connection, session.broken) = (now, Some(connection), None);
    }

    /// Has a heartbeat wait; one of the same member that waits is given up by whoever sent it.
    pub(super) fn park(
        &mut self,
        heartbeat: &Heartbeat,
        max_wait: Duration,
        answer: oneshot::Sender<Result<GroupResponse, ApiError>>,
        now: Instant,
    ) {
        let key = (heartbeat.group.clone(), heartbeat.member);
        let session = self.sessions.entry(key).or_insert_with(|| Session::new(now));
        session.parked = Some(Parked { epoch: heartbeat.epoch, until: now + max_wait, answer });
    }

    /// Answers those that have waited long enough or for which there is something new.
    pub(super) fn answer(&mut self, state: &CoordinatorState, now: Instant) {
        for ((group, id), session) in &mut self.sessions {
            let is_due = |parked: &mut Parked| parked.until <= now || state.epoch(group, *id) != Some(parked.epoch);
            let Some(parked) = session.parked.take_if(is_due) else { continue };
            session.heard = now;
            if let Some(assignment) = state.assignment(group, *id) {
                drop(parked.answer.send(Ok(GroupResponse::Assignment(assignment))));
            }
        }
    }

    /// The members that are to be given up, with the reason.
    pub(super) fn over(&mut self, state: &CoordinatorState, now: Instant) -> Vec<(Name, MemberId, &'static str)> {
        let mut over = Vec::new();
        for (group, id, member) in state.members() {
            let session = self.sessions.get_mut(&(group.clone(), id));
            if let Some(reason) = session.and_then(|session| session.is_over(member, now)) {
                over.push((group.clone(), id, reason));
            }
        }
        over
    }

    /// Tells all that wait that this node coordinates no more, and forgets everything.
    pub(super) fn end(&mut self, error: &ApiError) {
        for (_, session) in self.sessions.drain() {
            if let Some(parked) = session.parked {
                drop(parked.answer.send(Err(error.clone())));
            }
        }
    }
}
