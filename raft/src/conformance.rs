//! openraft's own suite for stores, over the real ones.
//!
//! The suite knows no log that is the data, and asks for three things that ours refuses, which the wrappers here add: a
//! log that begins anywhere, entries applied that no log has, and a snapshot of whatever is applied, which production must
//! never build (it would have the whole log purged). All else is the production code.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt, io,
    ops::{RangeBounds, RangeInclusive},
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use openraft::{
    LogState, OptionalSend, RaftLogReader, RaftSnapshotBuilder, StorageError,
    storage::{EntryResponder, IOFlushed, RaftLogStorage, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
};
use quorate_faulty_vfs::Disk;
use quorate_log_engine::{EngineOptions, Log, LogEngine, LogOptions, LogStart, RecoveredEntry, Recovery};

use crate::{
    catch_up::CatchUp,
    checkpoint::{Checkpoint, GroupState},
    codec,
    log_store::{LogStore, lock},
    memberships::Memberships,
    open::OpenedLog,
    partition::{PartitionMachine, PartitionRecovery},
    snapshots::{Snapshot, SnapshotMeta, Snapshots},
    state_machine::{Machine, StateMachine},
    types::{Entry, LogId, StoredMembership, TypeConfig, Vote},
};

struct Nothing;

impl Recovery for Nothing {
    fn restore(&mut self, _: u64, _: Bytes) -> Result<(), String> {
        Err("the log is new".to_owned())
    }

    fn entry(&mut self, _: RecoveredEntry<'_>) -> Result<(), String> {
        Err("the log is new".to_owned())
    }
}

/// The log and the machine that belong together.
#[derive(Clone)]
struct Bent {
    store: LogStore,
    partition: Arc<PartitionMachine>,
}

#[derive(Clone)]
struct AnyLog(Bent);

struct AnyMachine {
    bent: Bent,
    machine: StateMachine,
    built: Arc<Mutex<Option<Snapshot>>>,
}

impl RaftLogReader<TypeConfig> for AnyLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        // The suite asks for all that there is from 0 on, also of a log that begins later.
        let start = self.0.store.log().start().index;
        let first = match range.start_bound() {
            std::ops::Bound::Included(first) => *first,
            std::ops::Bound::Excluded(first) => first + 1,
            std::ops::Bound::Unbounded => 0,
        };
        self.0
            .store
            .try_get_log_entries((std::ops::Bound::Included(first.max(start)), range.end_bound().cloned()))
            .await
    }

    async fn entries_stream<R: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend {
        let stream = self.0.store.entries_stream(range).await;
        let items: Vec<_> = stream.collect().await;
        futures::stream::iter(items)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.0.store.limited_get_log_entries(start, end).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.0.store.read_vote().await
    }

    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> Result<Vec<LogId>, io::Error> {
        self.0.store.get_key_log_ids(range).await
    }
}

impl AnyLog {
    /// Begins the log behind `last`, whatever it held.
    async fn begin_behind(&self, last: LogId) {
        let state = GroupState::Partition(Default::default());
        let checkpoint = Checkpoint { membership: StoredMembership::default(), state };
        let meta = SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::default() };
        let snapshot = Snapshot { meta, snapshot: checkpoint.encode() };
        let restarted = self.0.store.restart_behind(last, &checkpoint.state, &snapshot).unwrap();
        restarted.await.unwrap().unwrap();
    }
}

impl RaftLogStorage<TypeConfig> for AnyLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.0.store.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.store.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.0.store.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.0.store.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let first = entries.first().map_or(0, |entry| entry.log_id.index);
        if first > self.0.store.log().next_index() {
            self.begin_behind(crate::types::log_id(0, first - 1)).await;
        }
        self.0.store.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.0.store.truncate_after(last).await
    }

    async fn purge(&mut self, last: LogId) -> Result<(), io::Error> {
        let log = self.0.store.log();
        if last.index >= log.next_index() {
            self.begin_behind(last).await;
        } else if last.index >= log.start().index {
            let start = LogStart { index: last.index + 1, term: last.leader_id.term, offset: 0 };
            log.trim_prefix(start, Box::new(|_| ()));
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for AnyMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Built;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.machine.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let entries: Vec<_> = entries.try_collect().await?;
        for (entry, responder) in entries {
            let index = entry.log_id.index;
            {
                let mut tracker = self.bent.partition.tracker();
                if tracker.next_unapplied() != Some(index) {
                    // No log has it, or the machine has not applied what the log has before it.
                    *tracker = crate::partition::Tracker::new(tracker.state().clone());
                    tracker.append(&mut codec::frame_of(&entry)).unwrap();
                }
            }
            self.machine.apply(futures::stream::iter([Ok((entry, responder))])).await?;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _: bool) -> Option<Built> {
        let (last_log_id, last_membership) = self.machine.applied_state().await.unwrap();
        let state = GroupState::Partition(self.bent.partition.tracker().state().clone());
        let checkpoint = Checkpoint { membership: last_membership.clone(), state };
        let snapshot = Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot: checkpoint.encode() };
        *lock(&self.built) = Some(snapshot.clone());
        Some(Built(snapshot))
    }

    async fn get_snapshot_builder(&mut self) -> Built {
        self.try_create_snapshot_builder(true).await.unwrap()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> Result<(), io::Error> {
        self.machine.install_snapshot(meta, data).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let built = lock(&self.built).clone();
        match built {
            Some(built) => Ok(Some(built)),
            None => self.machine.get_current_snapshot().await,
        }
    }
}

struct Built(Snapshot);

impl RaftSnapshotBuilder<TypeConfig> for Built {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        Ok(self.0.clone())
    }
}

struct Stores;

impl StoreBuilder<TypeConfig, AnyLog, AnyMachine, Arc<LogEngine>> for Stores {
    async fn build(&self) -> Result<(Arc<LogEngine>, AnyLog, AnyMachine), StorageError<TypeConfig>> {
        let engine = LogEngine::start(EngineOptions::default()).unwrap();
        let options = LogOptions {
            replica: 1,
            owner: 2,
            segment_bytes: 4096,
            payload_bytes_max: 1 << 20,
            must_exist: false,
            settled_through: None,
        };
        let vfs = Disk::default().vfs();
        let log = Log::open(&engine, vfs, Path::new("/log"), &options, &mut Nothing).unwrap().log;
        let opened = OpenedLog {
            log,
            committed: None,
            scanned_from: 0,
            memberships: Memberships::default(),
            snapshots: Snapshots::default(),
        };
        let partition = PartitionRecovery::default().into_machine(None);
        let store = LogStore::new(opened, Some(partition.clone()), CatchUp::new(0));
        let machine = Machine::Partition(partition.clone());
        let machine = StateMachine::new(machine, store.clone(), (None, StoredMembership::default()));
        let bent = Bent { store, partition };
        Ok((engine, AnyLog(bent.clone()), AnyMachine { bent, machine, built: Arc::default() }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_for_stores_passes() {
    Suite::test_all(Stores).await.unwrap();
}
