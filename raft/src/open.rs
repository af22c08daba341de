//! Opening a replica's log: what the disk and the keyed store say must agree, or the replica is refused.

use bytes::Bytes;
use quorate_cluster_config::ReplicaId;
use quorate_log_engine::{FrameKind, Log, LogOptions, OpenError, Opened, RecoveredEntry, Recovery};

use crate::{
    checkpoint::{Checkpoint, GroupState},
    codec,
    environment::{Environment, PAYLOAD_BYTES_MAX},
    memberships::Memberships,
    partition::PartitionRecovery,
    snapshots::Snapshots,
    store::{CommittedMarks, KvError, ReplicaPhase, ReplicaRecord, ReplicaRecords},
    types::{LogId, StoredMembership, log_id},
};

/// Why a replica was not started.
#[derive(Debug, thiserror::Error)]
pub enum GroupOpenError {
    /// The log is damaged, lost or unreadable, or it contradicts itself or the store. It was left as it is.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The keyed store failed.
    #[error(transparent)]
    Store(#[from] KvError),
    /// What the log holds contradicts itself or the store, which showed only once it was open.
    #[error("replica {replica}: {reason}")]
    Inconsistent {
        /// The replica.
        replica: ReplicaId,
        /// What contradicts.
        reason: String,
    },
    /// Raft did not start.
    #[error("replica {replica}: {reason}")]
    Raft {
        /// The replica.
        replica: ReplicaId,
        /// What it said.
        reason: String,
    },
}

/// A log opened for a group.
pub(crate) struct OpenedLog {
    pub(crate) log: Log,
    pub(crate) committed: Option<LogId>,
    /// The first log index that was read: that of the checkpoint the recovery began at.
    pub(crate) scanned_from: u64,
    pub(crate) memberships: Memberships,
    pub(crate) snapshots: Snapshots,
}

impl OpenedLog {
    /// The last membership that is committed.
    pub(crate) fn committed_membership(&self) -> StoredMembership {
        self.memberships.before(self.committed.map_or(0, |id| id.index + 1))
    }
}

/// Sees what the log holds, and refuses it before anything is changed.
struct LogRecovery<'a> {
    /// Whether the replica was never started: then there is nothing to be met.
    new: bool,
    committed: Option<LogId>,
    /// Of a partition group.
    partition: Option<&'a mut PartitionRecovery>,
    memberships: Memberships,
    /// The last log index that the checkpoint stands for, if one was restored.
    restored_through: Option<u64>,
}

const FROM_ANOTHER_LIFE: &str = "its directory holds a log although the replica is new; move that directory away";

fn other_entry(committed: LogId) -> String {
    format!("the entry at {committed} was committed, and the log holds another one there")
}

impl LogRecovery<'_> {
    fn check_new(&self) -> Result<(), String> {
        if self.new { Err(FROM_ANOTHER_LIFE.to_owned()) } else { Ok(()) }
    }
}

impl Recovery for LogRecovery<'_> {
    fn restore(&mut self, next_index: u64, state: Bytes) -> Result<(), String> {
        self.check_new()?;
        let checkpoint = Checkpoint::decode(state).map_err(|error| error.to_string())?;
        match (&mut self.partition, checkpoint.state) {
            (Some(recovery), GroupState::Partition(state)) => recovery.restore(state),
            // What the metadata machine lacks it takes once the log is open.
            (None, GroupState::Elsewhere | GroupState::Metadata(_)) => {}
            _ => return Err("its checkpoint is that of another kind of group".to_owned()),
        }
        if checkpoint.membership.log_id().as_ref().is_some_and(|id| id.index >= next_index) {
            return Err("its checkpoint names a membership that comes after it".to_owned());
        }
        if checkpoint.membership.log_id().is_some() {
            self.memberships.push(checkpoint.membership);
        }
        self.restored_through = next_index.checked_sub(1);
        Ok(())
    }

    fn entry(&mut self, entry: RecoveredEntry<'_>) -> Result<(), String> {
        self.check_new()?;
        let id = log_id(entry.header.term, entry.header.index);
        if let Some(committed) = self.committed.filter(|committed| committed.index == id.index && *committed != id) {
            return Err(other_entry(committed));
        }
        if entry.header.kind == FrameKind::Membership {
            let membership = codec::decode_membership(entry.payload.clone()).map_err(|error| error.to_string())?;
            self.memberships.push(StoredMembership::new(Some(id), membership));
        }
        match &mut self.partition {
            Some(recovery) => recovery.entry(&entry, self.committed.map(|id| id.index)),
            None => Ok(()),
        }
    }
}

/// Opens or creates the log of a replica. Blocks.
///
/// `applied` is how far the keyed store has applied it; `partition` is told what the log of a partition holds.
pub(crate) fn open_log(
    environment: &Environment,
    record: &ReplicaRecord,
    applied: Option<LogId>,
    mut partition: Option<&mut PartitionRecovery>,
) -> Result<OpenedLog, GroupOpenError> {
    let replica = record.replica;
    let records = ReplicaRecords::new(environment.store.clone());
    let committed = CommittedMarks(environment.store.clone()).get(replica)?.max(applied);
    // The record on disk counts too: with an older copy of it a lost log would pass for a new one.
    let known = records.get(replica)?.map(|known| known.phase);
    let created = [Some(record.phase), known].contains(&Some(ReplicaPhase::Created));
    if !created {
        records.put(record)?;
    }
    let options = LogOptions {
        replica: record.log.0,
        owner: environment.cluster.0,
        segment_bytes: record.segment_bytes,
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        must_exist: created,
        settled_through: committed.map(|id| id.index),
    };
    let mut recovery = LogRecovery {
        new: !created,
        committed,
        partition: partition.as_deref_mut(),
        memberships: Memberships::default(),
        restored_through: None,
    };
    let directory = environment.replica_directory(record.log);
    let opened = Log::open(&environment.engine, environment.vfs.clone(), &directory, &options, &mut recovery)?;
    let LogRecovery { memberships, restored_through, .. } = recovery;
    let Opened { log, torn_bytes, rewritten_bytes, scanned_from } = opened;
    let inconsistent = |reason| Err(GroupOpenError::Inconsistent { replica, reason });
    // Its term is not known before, if it is the last entry that a checkpoint stands for.
    // One before the start of the log was trimmed away since the mark was written.
    let kept = |id: &LogId| id.index + 1 >= log.start().index;
    if let Some(id) = committed.filter(|id| kept(id) && log.term_of(id.index) != Some(id.leader_id.term)) {
        return inconsistent(other_entry(id));
    }
    let log_start_offset = partition.as_ref().map_or(0, |partition| partition.log_start_offset());
    if let Some(end_offset) = partition.map(|partition| partition.end_offset()).filter(|end| *end != log.end_offset()) {
        return inconsistent(format!("its state ends at offset {end_offset}, and the log at {}", log.end_offset()));
    }
    // A vote is not shown to the recovery. Raft runs only on a log that is recorded as created.
    if !created && log.vote().is_some() {
        return inconsistent(FROM_ANOTHER_LIFE.to_owned());
    }
    if !created {
        records.put(&ReplicaRecord { phase: ReplicaPhase::Created, ..record.clone() })?;
    }
    // Beyond the mark only where the entries before it were trimmed away: they were committed, or they would be there.
    let restored = restored_through.and_then(|index| Some(log_id(log.term_of(index)?, index)));
    let (entries, holes) = (log.next_index(), log.holes().len());
    tracing::info!(
        %replica, group = %record.group, entries, scanned_from, torn_bytes, rewritten_bytes, holes, "log opened"
    );
    let committed = committed.max(restored);
    let snapshots = match Snapshots::open(&log, committed, log_start_offset) {
        Ok(snapshots) => snapshots,
        Err(reason) => return inconsistent(reason),
    };
    Ok(OpenedLog { log, committed, scanned_from, memberships, snapshots })
}
