//! Opening a replica's log: what the disk and the keyed store say must agree, or the replica is refused.

use quorate_cluster_config::ReplicaId;
use quorate_log_engine::{FrameKind, Log, LogOptions, OpenError, Opened, RecoveredEntry};

use crate::{
    codec,
    environment::{Environment, PAYLOAD_BYTES_MAX},
    store::{CommittedMarks, KvError, ReplicaPhase, ReplicaRecord, ReplicaRecords},
    types::{LogId, StoredMembership, log_id},
};

/// Why a replica was not started.
#[derive(Debug, thiserror::Error)]
pub enum GroupOpenError {
    /// The log is damaged, lost or unreadable.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The keyed store failed.
    #[error(transparent)]
    Store(#[from] KvError),
    /// What the log holds contradicts itself or the store.
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
    /// All memberships in the log, oldest first.
    memberships: Vec<StoredMembership>,
}

impl OpenedLog {
    /// The last membership at or below a log id.
    pub(crate) fn membership_at(&self, at: Option<LogId>) -> StoredMembership {
        let index = at.map(|id| id.index);
        let known = |membership: &&StoredMembership| membership.log_id().as_ref().map(|id| id.index) <= index;
        self.memberships.iter().rev().find(known).cloned().unwrap_or_default()
    }
}

/// Sees each entry of a log at its opening, with how far the log is known to be committed; or says what contradicts.
pub(crate) type Visit<'a> = dyn FnMut(&RecoveredEntry<'_>, Option<LogId>) -> Result<(), String> + 'a;

/// Opens or creates the log of a replica. Blocks.
///
/// `visit` sees every entry; `applied` is how far the keyed store has applied it.
pub(crate) fn open_log(
    environment: &Environment,
    record: &ReplicaRecord,
    applied: Option<LogId>,
    visit: &mut Visit<'_>,
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
        replica: replica.0,
        segment_bytes: record.segment_bytes,
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        must_exist: created,
        durable_through: committed.map(|id| id.index),
    };
    let mut memberships = Vec::new();
    let mut contradiction = None;
    let mut visit_all = |entry: RecoveredEntry<'_>| {
        let mut take = || {
            if entry.header.kind == FrameKind::Membership {
                let membership = codec::decode_membership(entry.payload.clone()).map_err(|error| error.to_string())?;
                let id = log_id(entry.header.term, entry.header.index);
                memberships.push(StoredMembership::new(Some(id), membership));
            }
            visit(&entry, committed)
        };
        if contradiction.is_none() {
            contradiction = take().err();
        }
    };
    let directory = environment.replica_directory(replica);
    let Opened { log, torn_bytes, rewritten_bytes } = Log::open(
        environment.vfs.clone(),
        &directory,
        &options,
        &environment.writers,
        &environment.cache,
        &mut visit_all,
    )?;
    if let Some(reason) = contradiction {
        return Err(GroupOpenError::Inconsistent { replica, reason });
    }
    if let Some(id) = committed.filter(|id| log.term_of(id.index) != Some(id.leader_id.term)) {
        let reason = format!("the entry at {id} was committed, and the log holds another one there");
        return Err(GroupOpenError::Inconsistent { replica, reason });
    }
    // Raft runs only on a log that is recorded as created: what a new one holds already is from another life.
    if !created && (log.next_index() > 0 || log.vote().is_some()) {
        let reason = "its directory holds a log although the replica is new; move that directory away".to_owned();
        return Err(GroupOpenError::Inconsistent { replica, reason });
    }
    if !created {
        records.put(&ReplicaRecord { phase: ReplicaPhase::Created, ..record.clone() })?;
    }
    tracing::info!(%replica, group = %record.group, entries = log.next_index(), torn_bytes, rewritten_bytes, "log opened");
    Ok(OpenedLog { log, committed, memberships })
}
