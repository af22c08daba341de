//! The member of a group, as its users hold it.

mod follow;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use quorate_cluster_config::{PartitionId, TopicName, limits::OFFSETS_PER_COMMIT_MAX};
use quorate_protocol::{Committer, GroupRequest, MemberId};

use super::{
    CommitMode, Lag, RebalanceEvent,
    builder::OnRebalance,
    membership::{Membership, Shared},
};
use crate::{
    consumer::{ConsumedRecord, Engine, OFFSETS_IN_FLIGHT_MAX, Position, not_read},
    error::Error,
    time::bounded,
};

/// How long a stream waits before it looks whether anything else is to be done.
const STREAM_WAIT: Duration = Duration::from_secs(60);

/// How the member reads and commits.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) from: Position,
    pub(super) commit_mode: CommitMode,
    pub(super) on_rebalance: Option<OnRebalance>,
}

/// Reads its share of the partitions of topics, as a member of a consumer group.
///
/// Each record goes to one member, at least once; what was processed is [committed](CommitMode) and survives as any record
/// does. Partitions come and go within [`poll`](Self::poll): who polls too rarely keeps others waiting, and is given up after
/// the rebalance timeout. Heartbeats are sent in the background.
pub struct GroupConsumer {
    engine: Engine,
    membership: Membership,
    settings: Settings,
    incarnation: u64,
    /// The assignment that is followed, with the member it was made for.
    followed: Option<(MemberId, u64)>,
    /// When it is tried again to take up what could not be.
    retry_at: Option<Instant>,
    topics: BTreeMap<PartitionId, Arc<TopicName>>,
    /// What was handed out: the offsets behind it.
    handed_out: BTreeMap<PartitionId, u64>,
    /// What counts as processed and is not committed yet.
    processed: BTreeMap<PartitionId, u64>,
    committed_at: Instant,
}

impl fmt::Debug for GroupConsumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GroupConsumer")
            .field("group", &self.shared().group)
            .field("engine", &self.engine)
            .finish()
    }
}

impl GroupConsumer {
    pub(super) fn new(engine: Engine, membership: Membership, settings: Settings) -> Self {
        Self {
            engine,
            membership,
            settings,
            incarnation: 0,
            followed: None,
            retry_at: None,
            topics: BTreeMap::new(),
            handed_out: BTreeMap::new(),
            processed: BTreeMap::new(),
            committed_at: Instant::now(),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.membership.shared
    }

    /// The next records of one of its partitions, in order. Empty if there are none within `timeout`, and once partitions were
    /// taken up, before anything of them is handed out: whoever stores offsets with results [seeks](Self::seek) then. All
    /// records that were handed out before count as processed from now on.
    ///
    /// # Errors
    /// What went wrong with one partition, as with [`Consumer::poll`](crate::Consumer::poll), with the group's coordinator, or
    /// with a commit under [`CommitMode::AfterProcessing`]. The next poll tries again.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>, Error> {
        self.note_processed();
        let deadline = Instant::now() + bounded(timeout);
        loop {
            if self.follow().await? {
                return Ok(Vec::new());
            }
            self.commit_if_due().await?;
            let shared = Arc::clone(self.shared());
            let until = self.next_errand().map_or(deadline, |due| due.min(deadline));
            let records = tokio::select! {
                records = self.engine.next_records(until) => records?,
                () = shared.news.notified() => continue,
            };
            if let Some(last) = records.last() {
                self.handed_out.insert(last.id, last.offset + 1);
                return Ok(records);
            }
            if Instant::now() >= deadline {
                return Ok(records);
            }
        }
    }

    /// The records one after the other, without end: each counts as processed once the next one is asked for. Errors come in
    /// between, as from [`poll`](Self::poll).
    pub fn stream(&mut self) -> impl Stream<Item = Result<ConsumedRecord, Error>> + '_ {
        stream::unfold(self, |consumer| async move { Some((consumer.next_record().await, consumer)) })
    }

    async fn next_record(&mut self) -> Result<ConsumedRecord, Error> {
        self.note_processed();
        let record = loop {
            let shared = Arc::clone(self.shared());
            // Between the records of one fetch there is seldom anything else to be done.
            let errand =
                self.next_errand().is_some_and(|due| due <= Instant::now()) || shared.has_news.swap(false, Relaxed);
            if !errand && let Some(record) = self.engine.take_ready() {
                break record;
            }
            self.follow().await?;
            self.commit_if_due().await?;
            if let Some(record) = self.engine.take_ready() {
                break record;
            }
            let until = self.next_errand().unwrap_or_else(|| Instant::now() + STREAM_WAIT);
            tokio::select! {
                made_ready = self.engine.make_some_ready(until) => made_ready?,
                () = shared.news.notified() => {}
            }
        };
        self.handed_out.insert(record.id, record.offset + 1);
        Ok(record)
    }

    /// The partitions it reads now.
    #[must_use]
    pub fn assignment(&self) -> Vec<PartitionId> {
        self.engine.partitions().collect()
    }

    /// The name of the topic of a partition it reads.
    #[must_use]
    pub fn topic(&self, partition: PartitionId) -> Option<&TopicName> {
        self.topics.get(&partition).map(Arc::as_ref)
    }

    /// This member's id in the group, as long as it is a member.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.shared().told().member
    }

    /// The epoch of the assignment that it follows: no partition is ever assigned to two members at the same epoch.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.followed.map(|(_, epoch)| epoch)
    }

    /// The offset of the next record that will be polled from a partition; `None` if it is not read.
    #[must_use]
    pub fn position(&self, partition: PartitionId) -> Option<u64> {
        self.engine.position(partition)
    }

    /// Continues to read a partition from somewhere else: with offsets that are stored where the results are, say. What is
    /// committed stays; to have the group go back, see [`Client::reset_group`](crate::Client::reset_group).
    ///
    /// # Errors
    /// [`ErrorCode::UnknownPartition`](crate::ErrorCode::UnknownPartition) if it is not read; errors of looking up the offset.
    pub async fn seek(&mut self, partition: PartitionId, position: Position) -> Result<(), Error> {
        if !self.engine.reads(partition) {
            return Err(not_read("seek in", partition));
        }
        let offset = position.resolve(self.engine.client(), partition).await?;
        self.engine.seek(partition, offset, position == Position::First);
        self.handed_out.remove(&partition);
        Ok(())
    }

    /// Reads nothing of a partition until [`resume`](Self::resume); it stays this member's.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownPartition`](crate::ErrorCode::UnknownPartition) if it is not read.
    pub fn pause(&mut self, partition: PartitionId) -> Result<(), Error> {
        if self.engine.set_paused(partition, true) { Ok(()) } else { Err(not_read("pause", partition)) }
    }

    /// Goes on with a partition that was paused.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownPartition`](crate::ErrorCode::UnknownPartition) if it is not read.
    pub fn resume(&mut self, partition: PartitionId) -> Result<(), Error> {
        if self.engine.set_paused(partition, false) { Ok(()) } else { Err(not_read("resume", partition)) }
    }

    /// How far behind the end each of its partitions is read.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if one of the partitions has no leader in time.
    pub async fn lag(&self) -> Result<BTreeMap<PartitionId, Lag>, Error> {
        let client = self.engine.client();
        let positions = self.engine.partitions().filter_map(|id| Some((id, self.engine.position(id)?)));
        stream::iter(positions.collect::<Vec<_>>())
            .map(|(id, offset)| async move { Ok((id, client.lag(id, offset).await?)) })
            .buffer_unordered(OFFSETS_IN_FLIGHT_MAX)
            .try_collect()
            .await
    }

    /// Commits everything that was handed out so far, as processed. Returns once that is on stable storage of a majority.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`UnknownMember`](crate::ErrorCode::UnknownMember) or
    /// [`MemberFenced`](crate::ErrorCode::MemberFenced) if a partition is not this member's any more; [`Error::TimedOut`]
    /// if the coordinator does not answer in time. A commit may be repeated.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.note_processed();
        self.commit_processed().await
    }

    /// Commits what was processed, gives up its partitions and leaves the group: the others go on at once. A static member
    /// does not leave. What was handed out last does not count as processed: [`commit`](Self::commit) before, if it is.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), unless nothing is committed by itself; it leaves all the same.
    pub async fn close(mut self) -> Result<(), Error> {
        let committed = match self.settings.commit_mode {
            CommitMode::Manual => Ok(()),
            _ => self.commit_processed().await,
        };
        let partitions = self.assignment();
        self.tell(RebalanceEvent::Revoked(partitions));
        let left = self.membership.leave().await;
        committed.and(left)
    }

    /// Commits these offsets, each that of the next record to read: what of a poll is processed, say. Returns once that is on
    /// stable storage of a majority; a lower offset than the committed one changes nothing.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn commit_offsets(&mut self, offsets: &[(PartitionId, u64)]) -> Result<(), Error> {
        self.send_commit(offsets).await
    }

    fn note_processed(&mut self) {
        self.processed.append(&mut self.handed_out);
    }

    fn tell(&mut self, event: RebalanceEvent) {
        let (RebalanceEvent::Assigned(partitions)
        | RebalanceEvent::Revoked(partitions)
        | RebalanceEvent::Lost(partitions)) = &event;
        if let Some(listener) = &mut self.settings.on_rebalance
            && !partitions.is_empty()
        {
            listener(&event);
        }
    }

    fn next_commit(&self) -> Option<Instant> {
        match self.settings.commit_mode {
            CommitMode::Interval(interval) if !self.processed.is_empty() => Some(self.committed_at + bounded(interval)),
            _ => None,
        }
    }

    /// When something else than reading is to be done, at the latest.
    fn next_errand(&self) -> Option<Instant> {
        [self.next_commit(), self.retry_at].into_iter().flatten().min()
    }

    async fn commit_if_due(&mut self) -> Result<(), Error> {
        match self.settings.commit_mode {
            CommitMode::Interval(_) if self.next_commit().is_some_and(|due| due <= Instant::now()) => {
                if let Err(error) = self.commit_processed().await {
                    tracing::warn!(group = %self.shared().group, %error, "offsets could not be committed; it is tried again");
                }
                Ok(())
            }
            CommitMode::AfterProcessing => self.commit_processed().await,
            CommitMode::Interval(_) | CommitMode::Manual => Ok(()),
        }
    }

    async fn commit_processed(&mut self) -> Result<(), Error> {
        let wanted: Vec<(PartitionId, u64)> = self.processed.iter().map(|(id, offset)| (*id, *offset)).collect();
        self.committed_at = Instant::now();
        self.send_commit(&wanted).await?;
        for (partition, offset) in wanted {
            if self.processed.get(&partition) == Some(&offset) {
                self.processed.remove(&partition);
            }
        }
        Ok(())
    }

    async fn send_commit(&self, offsets: &[(PartitionId, u64)]) -> Result<(), Error> {
        let shared = self.shared();
        for chunk in offsets.chunks(OFFSETS_PER_COMMIT_MAX) {
            let Some((member, epoch)) = self.followed else { return Ok(()) };
            let request = GroupRequest::Commit {
                group: shared.group.clone(),
                committer: Committer::Member { member, epoch },
                offsets: chunk.iter().map(|(partition, offset)| (*partition, Some(*offset))).collect(),
            };
            shared.client.coordinate(&shared.group, "commit offsets of", request, Duration::ZERO).await?;
        }
        Ok(())
    }
}
