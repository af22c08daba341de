//! A running replica of the metadata group.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_cluster_config::GroupId;
use quorate_log_engine::{FrameKind, Log, SegmentInfo};
use tokio::sync::watch;

use super::{
    command::{MetadataCommand, MetadataReply},
    machine::{Loaded, MetadataMachine},
    state::MetadataState,
};
use crate::{
    checkpoint::{Checkpoint, GroupState},
    clock::WallClock,
    environment::Environment,
    group::{Group, ProposeError},
    log_store::LogStore,
    open::{GroupOpenError, open_log},
    snapshots,
    state_machine::{Machine, StateMachine},
    store::{KvError, ReplicaRecord},
    types::{Applied, Proposal},
};

/// Why a metadata command has no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetadataError {
    /// See [`ProposeError`].
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Command or reply could not be encoded.
    #[error("malformed command or reply: {0}")]
    Codec(String),
}

/// Completes what a crash interrupted: the log goes on behind a snapshot, and what that holds is not in the store yet.
/// Blocks.
pub(crate) fn catch_up(loaded: &mut Loaded, log: &Log) -> Result<(), String> {
    let start = log.start().index;
    if start <= loaded.applied.map_or(0, |id| id.index + 1) {
        return Ok(());
    }
    let refused = || format!("its log starts at {start}, and the store holds less: restore both or neither");
    let snapshot = snapshots::of_checkpoint(log, start).ok_or_else(refused)?;
    let checkpoint = Checkpoint::decode(snapshot.snapshot).map_err(|error| error.to_string())?;
    let (GroupState::Metadata(state), Some(last)) = (checkpoint.state, snapshot.meta.last_log_id) else {
        return Err(refused());
    };
    loaded.machine.replace_all(last, &checkpoint.membership, state).map_err(|error| error.to_string())?;
    (loaded.applied, loaded.membership) = (Some(last), checkpoint.membership);
    Ok(())
}

/// A running replica of the metadata group.
#[derive(Debug)]
pub struct MetadataGroup {
    group: Group,
    machine: Arc<MetadataMachine>,
    clock: Arc<dyn WallClock>,
}

impl MetadataGroup {
    /// Opens or creates the replica and starts it.
    ///
    /// # Errors
    /// See [`GroupOpenError`].
    pub async fn open(environment: &Environment, record: &ReplicaRecord) -> Result<Self, GroupOpenError> {
        debug_assert!(matches!(record.group, GroupId::Metadata));
        let (env, rec) = (environment.clone(), record.clone());
        let open = move || {
            let mut loaded = MetadataMachine::load(env.store.clone(), env.levels)?;
            let opened = open_log(&env, &rec, loaded.applied, None)?;
            catch_up(&mut loaded, &opened.log)
                .map_err(|reason| GroupOpenError::Inconsistent { replica: rec.replica, reason })?;
            Ok::<_, GroupOpenError>((loaded, opened))
        };
        let failed =
            |error: tokio::task::JoinError| GroupOpenError::Raft { replica: record.replica, reason: error.to_string() };
        let (loaded, opened) = tokio::task::spawn_blocking(open).await.map_err(failed)??;
        let store = LogStore::new(opened, None, environment.catch_up.clone());
        loaded.machine.follow(store.durable_end());
        // What the keyed store has applied may be older than what is committed, and than the checkpoint the log was opened
        // at: Raft applies the entries in between once more, from the log.
        let applied = (loaded.applied, loaded.membership);
        let state_machine = StateMachine::new(Machine::Metadata(loaded.machine.clone()), store.clone(), applied);
        let group = Group::start(environment, record, store, state_machine).await?;
        Ok(Self { group, machine: loaded.machine, clock: environment.clock.clone() })
    }

    /// What it shares with the other kinds of group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The metadata as this replica has applied it.
    #[must_use]
    pub fn state(&self) -> Arc<MetadataState> {
        self.machine.state()
    }

    /// One past the last applied log index; changes with each applied entry.
    #[must_use]
    pub fn applied_end(&self) -> watch::Receiver<u64> {
        self.machine.applied_end()
    }

    /// [`Group::tick`] of the metadata group: gives up what is applied and lies in finished segments, too. Blocks.
    ///
    /// # Errors
    /// When the store fails.
    pub fn tick(&self) -> Result<bool, KvError> {
        let log = self.group.store().log();
        let (start, applied_end) = (log.start().index, *self.machine.applied_end().borrow());
        let can_go = |segment: &SegmentInfo| {
            let begins = segment.checkpointed && segment.durable && segment.base_index > start;
            begins && segment.base_index <= applied_end
        };
        if log.segments().iter().any(can_go) {
            let raft = self.group.raft().clone();
            tokio::spawn(async move { raft.trigger().snapshot().await });
        }
        self.group.tick()
    }

    /// Why the metadata cannot be gone on with by this build: the node must stop, and be of a newer one.
    #[must_use]
    pub fn not_understood(&self) -> Option<&str> {
        self.machine.not_understood()
    }

    /// The first log index that the log still holds.
    #[must_use]
    pub fn log_start(&self) -> u64 {
        self.group.store().log().start().index
    }

    /// Waits until the entry of this log index is applied; false if that takes longer than `patience`.
    pub async fn wait_applied(&self, index: u64, patience: Duration) -> bool {
        let mut applied = self.applied_end();
        matches!(tokio::time::timeout(patience, applied.wait_for(|end| *end > index)).await, Ok(Ok(_)))
    }

    /// Proposes a command at the leader and waits for its reply and its log index.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub async fn execute(&self, command: &MetadataCommand) -> Result<(MetadataReply, u64), MetadataError> {
        let payload = bincode::serialize(command).map_err(|error| MetadataError::Codec(error.to_string()))?;
        let proposal = Proposal {
            kind: FrameKind::Command,
            leader_time_ms: self.clock.now_ms(),
            expected_end_offset: None,
            payload: Bytes::from(payload),
            queued: None,
            claim: None,
        };
        let result = self.group.propose(proposal, ()).await?;
        let proposed =
            result.await.map_err(|_| ProposeError::Unknown("the replica stopped before it answered".to_owned()))??;
        let Applied::Reply(reply) = proposed.applied else {
            return Err(MetadataError::Codec("the entry was not a command".to_owned()));
        };
        let reply = bincode::deserialize(&reply).map_err(|error| MetadataError::Codec(error.to_string()))?;
        Ok((reply, proposed.index))
    }
}
