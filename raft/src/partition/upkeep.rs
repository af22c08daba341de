//! What a partition needs from time to time: retention, expiry of idle producers, giving up what was trimmed.

use std::time::{Duration, Instant};

use quorate_log_engine::FrameKind;

use super::{
    AppendError, IdleProducer, Outcome, PartitionGroup, ProducerEntry,
    entries::{encode_expiry, encode_trim},
};
use crate::{
    group::ProposeError,
    log_store::lock,
    retention::{LogEnd, Retention},
    snapshots,
    store::KvError,
    types::{Applied, Proposal},
};

/// A producer that has heard nothing of a batch tries it again no longer than this.
const RETRIES_MAX: Duration = Duration::from_secs(3600);

impl PartitionGroup {
    /// Deletes the records before an offset: none of them is ever served again, and whole segments leave the disks in the
    /// background. Returns the log start offset, which is greater if more was deleted before, and never beyond the end.
    ///
    /// # Errors
    /// When this replica does not lead, or the outcome is unknown.
    pub async fn trim(&self, before: u64) -> Result<u64, AppendError> {
        match self.propose_own(FrameKind::Trim, encode_trim(before)).await? {
            Outcome::Trimmed { log_start_offset } => Ok(log_start_offset),
            other => Err(AppendError::Refused(other)),
        }
    }

    /// Deletes what the retention does not keep, if this replica leads; returns the log start offset then.
    ///
    /// # Errors
    /// As [`PartitionGroup::trim`].
    pub async fn retain(&self, retention: &Retention) -> Result<Option<u64>, AppendError> {
        if self.check_leader().is_err() {
            return Ok(None);
        }
        let log = self.group.store().log();
        let end = LogEnd { high_watermark: self.high_watermark(), time_ms: log.newest_time_ms() };
        let before = retention.log_start_offset(&log.segments(), end, self.clock.now_ms());
        match before > self.log_start_offset() {
            true => self.trim(before).await.map(Some),
            false => Ok(None),
        }
    }

    /// Forgets the producers that have written nothing for so long by this leader's clock; returns how many. A producer
    /// that comes back after that is told that it is unknown.
    ///
    /// Clocks jump, and those of two leaders differ: a producer is forgotten only if this replica has also watched it do
    /// nothing for as long as a retry may come, by a clock that only goes on.
    ///
    /// # Errors
    /// When this replica stops leading, or the outcome is unknown.
    pub async fn expire_producers(&self, idle_for: Duration) -> Result<usize, AppendError> {
        if self.check_leader().is_err() {
            lock(&self.idle).clear();
            return Ok(0);
        }
        let idle_ms = i64::try_from(idle_for.as_millis()).unwrap_or(i64::MAX);
        let last_seen = self.clock.now_ms().saturating_sub(idle_ms);
        let end_index = self.machine.committed().borrow().end_index;
        let idle: Vec<IdleProducer> = {
            let tracker = self.machine.tracker();
            let idle = |(producer_id, producer): (i64, &ProducerEntry)| {
                let last_index = producer.last()?.index;
                let is_idle = producer.last_time_ms < last_seen && last_index < end_index;
                is_idle.then_some(IdleProducer { producer_id, last_index })
            };
            tracker.state().producers().iter().filter_map(idle).collect()
        };
        let idle = self.watched(idle, idle_for.min(RETRIES_MAX));
        if idle.is_empty() {
            return Ok(0);
        }
        match self.propose_own(FrameKind::ProducerExpiry, encode_expiry(&idle)).await? {
            Outcome::Expired { count } => Ok(count),
            other => Err(AppendError::Refused(other)),
        }
    }

    /// Those that have been idle for so long since this replica first found them to be.
    fn watched(&self, idle: Vec<IdleProducer>, at_least: Duration) -> Vec<IdleProducer> {
        let now = Instant::now();
        let mut known = lock(&self.idle);
        let before = std::mem::take(&mut *known);
        for IdleProducer { producer_id, last_index } in &idle {
            let same = before.get(producer_id).filter(|(index, _)| index == last_index);
            known.insert(*producer_id, (*last_index, same.map_or(now, |(_, since)| *since)));
        }
        let long = |producer: &IdleProducer| {
            known.get(&producer.producer_id).is_some_and(|(_, since)| now.duration_since(*since) >= at_least)
        };
        idle.into_iter().filter(long).collect()
    }

    async fn propose_own(&self, kind: FrameKind, payload: bytes::Bytes) -> Result<Outcome, AppendError> {
        let leader_time_ms = self.clock.now_ms();
        let proposal = Proposal { kind, leader_time_ms, expected_end_offset: None, payload, queued: None, claim: None };
        let answer = self.group.propose(proposal, ()).await?.await;
        let proposed =
            answer.map_err(|_| ProposeError::Unknown("the replica stopped before it answered".to_owned()))??;
        match proposed.applied {
            Applied::Partition(outcome) => Ok(outcome),
            Applied::Nothing | Applied::Reply(_) => {
                Err(ProposeError::Unknown("the entry was not the partition's own".to_owned()).into())
            }
        }
    }

    /// [`Group::tick`](crate::Group::tick) of a partition: gives up what was trimmed, too. Blocks.
    ///
    /// # Errors
    /// When the store fails.
    pub fn tick(&self) -> Result<bool, KvError> {
        self.give_up_trimmed();
        self.group.tick()
    }

    /// Has Raft take a snapshot where the newest segment begins before which all is trimmed, and purge the log up to there.
    fn give_up_trimmed(&self) {
        let committed = *self.machine.committed().borrow();
        let store = self.group.store();
        let (log, mut segments) = (store.log(), store.log().segments());
        // All records of the active segment are deleted: it goes once another one has begun.
        let active = segments.last();
        let all_trimmed = active.is_some_and(|active| {
            active.base_offset < committed.log_start_offset && committed.log_start_offset == log.end_offset()
        });
        if all_trimmed {
            store.seal();
            segments = log.segments();
        }
        let start = log.start().index;
        let newest = segments.iter().rfind(|segment| {
            let kept = segment.checkpointed && segment.durable && segment.base_index > start;
            kept && segment.base_offset <= committed.log_start_offset && segment.base_index <= committed.end_index
        });
        let Some(snapshot) = newest.and_then(|segment| snapshots::of_checkpoint(log, segment.base_index)) else {
            return;
        };
        if snapshot.meta.last_log_id.is_some_and(|last| last.index >= start) && store.snapshots().offer(snapshot) {
            let raft = self.group.raft().clone();
            tokio::spawn(async move { raft.trigger().snapshot().await });
        }
    }
}
