//! A running replica of a partition: appends and fetches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::Bytes;
use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use quorate_cluster_config::GroupId;
use quorate_log_engine::{Frame, FrameKind, ReadPlan, ReadStart};
use quorate_record::BatchHeader;

use super::{Append, Outcome, PartitionMachine, PartitionRecovery, ProducerEntry};
use crate::{
    clock::WallClock,
    cold_reads::{ColdReads, FetchError},
    environment::Environment,
    group::{Group, ProposalResult, ProposeError, Role},
    log_store::{LogStore, OUTDATED_READS_MAX},
    open::{GroupOpenError, open_log},
    state_machine::{Machine, StateMachine},
    store::ReplicaRecord,
    types::{Applied, Claim, Proposal, Queue},
};

#[cfg(feature = "planted-bugs")]
use quorate_planted_bugs::PlantedBug;

/// Bytes read at once to look a time up.
const LOOKUP_BYTES: usize = 64 << 10;

/// Why a time was not looked up.
#[derive(Debug, thiserror::Error)]
pub enum TimeLookupError {
    /// The replica does not lead, or no majority answers.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The log cannot be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// A batch that is on stable storage of a majority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: u64,
    /// The term it was appended in.
    pub leader_epoch: u64,
    /// Whether an earlier try of the same append put it there.
    pub duplicate: bool,
}

/// Why a batch was not appended, as far as is known.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The partition's state refuses the batch.
    #[error("refused: {0:?}")]
    Refused(Outcome),
    /// The group did not take it, or its outcome is unknown.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// An admitted append; its place in the order is fixed.
#[derive(Debug)]
pub enum AppendTicket {
    /// The answer was known at once.
    Known(Result<Appended, AppendError>),
    /// It is on its way.
    Pending(ProposalResult),
}

impl AppendTicket {
    /// Waits for the answer.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn finish(self) -> Result<Appended, AppendError> {
        let result = match self {
            Self::Known(known) => return known,
            Self::Pending(result) => result,
        };
        let proposed =
            result.await.map_err(|_| ProposeError::Unknown("the replica stopped before it answered".to_owned()))??;
        let leader_epoch = proposed.term;
        match proposed.applied {
            #[cfg(feature = "planted-bugs")]
            Applied::Partition(Outcome::Appended { .. }) if PlantedBug::OffsetFromLogIndex.is_planted() => {
                Ok(Appended { base_offset: proposed.index, leader_epoch, duplicate: false })
            }
            Applied::Partition(Outcome::Appended { base_offset }) => {
                Ok(Appended { base_offset, leader_epoch, duplicate: false })
            }
            Applied::Partition(Outcome::Duplicate { base_offset }) => {
                Ok(Appended { base_offset, leader_epoch, duplicate: true })
            }
            Applied::Partition(refused) => Err(AppendError::Refused(refused)),
            Applied::Nothing | Applied::Reply(_) => {
                Err(ProposeError::Unknown("the entry was not a batch".to_owned()).into())
            }
        }
    }
}

/// A running replica of a partition.
#[derive(Debug)]
pub struct PartitionGroup {
    pub(super) group: Group,
    pub(super) machine: Arc<PartitionMachine>,
    pub(super) clock: Arc<dyn WallClock>,
    cold_reads: ColdReads,
    /// The batches proposed and not yet in the log.
    queue: Queue,
    /// Producers found idle: the log index of each one's last batch, and since when this replica knows.
    pub(super) idle: Mutex<HashMap<i64, (u64, Instant)>>,
}

impl PartitionGroup {
    /// Opens or creates the replica and starts it.
    ///
    /// # Errors
    /// See [`GroupOpenError`]. In doubt the replica is refused, and its files stay as they are.
    pub async fn open(environment: &Environment, record: &ReplicaRecord) -> Result<Self, GroupOpenError> {
        debug_assert!(matches!(record.group, GroupId::Partition(_)));
        let (env, rec) = (environment.clone(), record.clone());
        let open = move || {
            let mut recovery = PartitionRecovery::default();
            let opened = open_log(&env, &rec, None, Some(&mut recovery))?;
            Ok::<_, GroupOpenError>((opened, recovery))
        };
        let failed =
            |error: tokio::task::JoinError| GroupOpenError::Raft { replica: record.replica, reason: error.to_string() };
        let (opened, recovery) = tokio::task::spawn_blocking(open).await.map_err(failed)??;
        let machine = recovery.into_machine(opened.committed);
        let applied = (opened.committed, opened.committed_membership());
        let store = LogStore::new(opened, Some(machine.clone()), environment.catch_up.clone());
        let state_machine = StateMachine::new(Machine::Partition(machine.clone()), store.clone(), applied);
        let group = Group::start(environment, record, store, state_machine).await?;
        let (clock, cold_reads) = (environment.clock.clone(), environment.cold_reads.clone());
        Ok(Self { group, machine, clock, cold_reads, queue: Queue::default(), idle: Mutex::default() })
    }

    /// What it shares with the other kinds of group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Admits a batch whose checksum and limits were checked. Appends admitted one after the other keep their order.
    ///
    /// A retry of a committed batch is answered from memory: it needs no place in the log.
    pub async fn append(&self, batch: Bytes, header: &BatchHeader, expected_end_offset: Option<u64>) -> AppendTicket {
        self.append_claiming(batch, header, expected_end_offset, ()).await
    }

    /// [`PartitionGroup::append`] with a claim that is dropped once the batch is applied or refused, and on this replica's
    /// stable storage if it is in its log, even if nobody waits for the answer any more.
    pub async fn append_claiming(
        &self,
        batch: Bytes,
        header: &BatchHeader,
        expected_end_offset: Option<u64>,
        claim: impl Send + Sync + 'static,
    ) -> AppendTicket {
        if let Some(known) = self.known(header) {
            return AppendTicket::Known(Ok(known));
        }
        let leader_time_ms = self.clock.now_ms();
        let append = Append { index: 0, batch: header, expected_end_offset, leader_time_ms };
        if self.refusal(&append).is_some() {
            // Only a leader's word counts, and what it refuses must not come to be accepted by a later one.
            if let Err(error) = self.group.linearize().await {
                return AppendTicket::Known(Err(error.into()));
            }
            if let Some(refused) = self.refusal(&append) {
                return AppendTicket::Known(Err(AppendError::Refused(refused)));
            }
        }
        let claim = Claim::new(claim);
        let proposal = Proposal {
            kind: FrameKind::Batch,
            leader_time_ms,
            expected_end_offset,
            payload: batch,
            queued: Some(self.queue.enter(header.producer_id)),
            claim: Some(claim.clone()),
        };
        match self.group.propose(proposal, claim).await {
            Ok(result) => AppendTicket::Pending(result),
            Err(error) => AppendTicket::Known(Err(error.into())),
        }
    }

    /// Why the batch is going to be refused, where that is settled: by what is committed alone, whatever else may be on
    /// its way into the log.
    fn refusal(&self, append: &Append<'_>) -> Option<Outcome> {
        let committed = *self.machine.committed().borrow();
        let tracker = self.machine.tracker();
        let refused = tracker.state().refusal(append)?;
        let producer_id = append.batch.producer_id;
        let last = tracker.state().producer(producer_id).and_then(ProducerEntry::last);
        let is_settled = match refused {
            Outcome::Duplicate { .. } => false,
            // End offsets never go back.
            Outcome::EndOffsetMismatch { .. } => append.expected_end_offset < Some(committed.high_watermark),
            // Of a producer that is not in the table all of the log may speak.
            _ if last.is_none() => {
                !self.queue.has(producer_id) && self.group.store().log().next_index() == committed.end_index
            }
            _ => !self.queue.has(producer_id) && last.is_some_and(|last| last.index < committed.end_index),
        };
        is_settled.then_some(refused)
    }

    fn known(&self, header: &BatchHeader) -> Option<Appended> {
        let end_index = self.machine.committed().borrow().end_index;
        let tracker = self.machine.tracker();
        let producer = tracker.state().producer(header.producer_id)?;
        let same_epoch = producer.epoch == header.producer_epoch;
        let written = producer.find(header.base_sequence, header.last_sequence()).filter(|_| same_epoch)?;
        let leader_epoch = self.group.store().log().term_of(written.index)?;
        (written.index < end_index).then_some(Appended {
            base_offset: written.base_offset,
            leader_epoch,
            duplicate: true,
        })
    }

    /// The first offset not yet committed, as this replica knows.
    #[must_use]
    pub fn high_watermark(&self) -> u64 {
        self.machine.committed().borrow().high_watermark
    }

    /// The end of this replica's log on stable storage, as an offset: the high watermark at least, and all of the
    /// log once it is synced.
    #[must_use]
    pub fn log_end_offset(&self) -> u64 {
        let log = self.group.store().log();
        let synced = log.durable_through().map_or(0, |through| through + 1) == log.next_index();
        if synced { log.end_offset() } else { self.high_watermark().min(log.end_offset()) }
    }

    /// The first retained offset, as this replica knows.
    #[must_use]
    pub fn log_start_offset(&self) -> u64 {
        self.machine.committed().borrow().log_start_offset
    }

    /// The bytes of this replica's log on disk.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.group.store().log().segments().iter().map(|segment| segment.bytes).sum()
    }

    /// Waits until records at or behind `offset` are committed.
    pub async fn wait_for(&self, offset: u64) {
        let mut committed = self.machine.committed();
        if committed.wait_for(|committed| committed.high_watermark > offset).await.is_err() {
            // The group has stopped, and nothing will ever come: the caller's deadline ends the wait.
            std::future::pending::<()>().await;
        }
    }

    /// Returns once this replica does not lead any more, as far as it knows.
    pub async fn deposed(&self) {
        let mut metrics = self.group.raft().server_metrics();
        loop {
            if metrics.borrow_watched().state != ServerState::Leader || metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// The end offset at or above everything acknowledged before this was called.
    ///
    /// # Errors
    /// When this replica does not lead, or no majority answers.
    pub async fn linearizable_end_offset(&self) -> Result<u64, ProposeError> {
        #[cfg(feature = "planted-bugs")]
        if PlantedBug::StaleEndOffsets.is_planted() {
            return Ok(self.high_watermark());
        }
        self.group.linearize().await?;
        Ok(self.high_watermark())
    }

    /// The first offset of the first retained batch whose leader time is at or after this (milliseconds since 1970), or
    /// the linearizable end offset if there is none.
    ///
    /// # Errors
    /// When this replica does not lead, no majority answers, or the log cannot be read.
    pub async fn offset_at_time(&self, time_ms: i64) -> Result<u64, TimeLookupError> {
        let end = self.linearizable_end_offset().await?;
        let end_index = self.machine.committed().borrow().end_index;
        let mut start = ReadStart::Time(time_ms);
        loop {
            let frames = self.frames(start, end_index, LOOKUP_BYTES).await?;
            let found = frames.iter().find(|frame| frame.leader_time_ms >= time_ms && frame.stamp.is_some());
            if let Some(stamp) = found.and_then(|frame| frame.stamp) {
                return Ok(stamp.base_offset.max(self.log_start_offset()));
            }
            match frames.last() {
                Some(last) if last.index + 1 < end_index => start = ReadStart::Index(last.index + 1),
                _ => return Ok(end),
            }
        }
    }

    /// Whether this replica leads, as far as it knows; otherwise the node that does.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`] or [`ProposeError::Stopped`].
    pub fn check_leader(&self) -> Result<(), ProposeError> {
        let status = self.group.status();
        match (status.role, status.failure) {
            (Role::Leader, _) => Ok(()),
            (_, Some(failure)) => Err(ProposeError::Stopped(failure)),
            _ => Err(ProposeError::NotLeader { leader: status.leader_node }),
        }
    }

    /// Committed batches from the one that holds `offset` on, at most `bytes_max` bytes beyond the first, as frames;
    /// rejected batches and Raft's own entries are left out. Reads from the disk run off the async threads.
    ///
    /// # Errors
    /// When the disk fails or the log is damaged there, or the read is broken off.
    pub async fn read(&self, offset: u64, bytes_max: usize) -> Result<Vec<Frame>, FetchError> {
        let first = self.group.store().log().start().offset;
        if offset < first {
            return Err(FetchError::BrokenOff(format!("this replica has nothing before offset {first}")));
        }
        let end_index = self.machine.committed().borrow().end_index;
        #[cfg(feature = "planted-bugs")]
        let end_index = match PlantedBug::ReadsBeyondCommit.is_planted() {
            true => self.group.store().log().next_index(),
            false => end_index,
        };
        let mut start = ReadStart::Offset(offset);
        // Stretches without any accepted batch are skipped; each round moves on in the log.
        loop {
            let frames = self.frames(start, end_index, bytes_max).await?;
            let Some(last) = frames.last().map(|frame| frame.index) else {
                return Ok(frames);
            };
            let batches: Vec<Frame> = frames.into_iter().filter(|frame| frame.stamp.is_some()).collect();
            if !batches.is_empty() || last + 1 >= end_index {
                return Ok(batches);
            }
            start = ReadStart::Index(last + 1);
        }
    }

    async fn frames(&self, start: ReadStart, end_index: u64, bytes_max: usize) -> Result<Vec<Frame>, FetchError> {
        let log = self.group.store().log();
        let mut tries = 0;
        loop {
            let read = match log.plan_read(start, end_index, bytes_max) {
                ReadPlan::Ready(frames) => return Ok(frames),
                ReadPlan::Cold(read) => self.cold_reads.run(read).await,
            };
            match read {
                // The file went between the plan and the read: by a trim, a truncation or a repair.
                Err(FetchError::Log(error)) if error.is_outdated() && tries < OUTDATED_READS_MAX => tries += 1,
                read => return read,
            }
        }
    }
}
