//! Applying metadata commands: to memory and, in one batch, to the keyed store.
//!
//! ```text
//! key    'm' 'a'                         value  term u64  log index u64, then the membership with its log id
//! key    'm' 'r' row kind u8  id bytes   value  bincode of Row
//! ```
//! *Architecture invariant:* an entry reaches the store only once it is on this replica's stable storage, so that the
//! store is never ahead of the log.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use quorate_cluster_config::PartitionId;
use tokio::sync::watch;

use super::{
    command::{MetadataCommand, MetadataReply, not_understood},
    state::{Levels, MetadataState, Row},
};
use crate::{
    codec,
    log_store::DurableEnd,
    snapshots::SnapshotMeta,
    store::{KvBatch, KvError, KvStore, family},
    types::{Applied, Entry, LogId, StoredMembership},
};

const APPLIED: &[u8] = &[family::METADATA, b'a'];
const ROWS: &[u8] = &[family::METADATA, b'r'];

/// The metadata as this replica has applied it.
#[derive(Debug)]
pub(crate) struct MetadataMachine {
    store: Arc<dyn KvStore>,
    /// What this build understands.
    levels: Levels,
    /// Why the metadata are not understood any more.
    not_understood: OnceLock<String>,
    state: RwLock<Arc<MetadataState>>,
    /// One past the last applied log index.
    applied_end: watch::Sender<u64>,
    /// One past the greatest log index on stable storage; set once the log is open.
    durable_end: OnceLock<watch::Receiver<DurableEnd>>,
}

/// What was found in the store.
pub(crate) struct Loaded {
    pub(crate) machine: Arc<MetadataMachine>,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl MetadataMachine {
    pub(crate) fn load(store: Arc<dyn KvStore>, levels: Levels) -> Result<Loaded, KvError> {
        let malformed = |what: &str| KvError(format!("the metadata store holds a malformed {what}"));
        let mut state = MetadataState::default();
        for (_, value) in store.scan(ROWS)? {
            state.load(vec![bincode::deserialize(&value).map_err(|_| malformed("row"))?]);
        }
        check_level(levels, &state).map_err(KvError)?;
        let (mut applied, mut membership) = (None, StoredMembership::default());
        if let Some(value) = store.get(APPLIED)? {
            let mut value = Bytes::from(value);
            applied = codec::get_log_id(&mut value).map_err(|_| malformed("position"))?;
            let id = codec::get_log_id(&mut value).map_err(|_| malformed("membership"))?;
            membership =
                StoredMembership::new(id, codec::decode_membership(value).map_err(|_| malformed("membership"))?);
        }
        let machine = Arc::new(Self {
            store,
            levels,
            not_understood: OnceLock::new(),
            state: RwLock::new(Arc::new(state)),
            applied_end: watch::Sender::new(applied.map_or(0, |id| id.index + 1)),
            durable_end: OnceLock::new(),
        });
        Ok(Loaded { machine, applied, membership })
    }

    /// Connects the machine to its log, before the first entry is applied.
    pub(crate) fn follow(&self, durable_end: watch::Receiver<DurableEnd>) {
        assert!(self.durable_end.set(durable_end).is_ok(), "a machine has one log");
    }

    pub(crate) fn state(&self) -> Arc<MetadataState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn applied_end(&self) -> watch::Receiver<u64> {
        self.applied_end.subscribe()
    }

    /// Why the metadata cannot be gone on with by this build.
    pub(crate) fn not_understood(&self) -> Option<&str> {
        self.not_understood.get().map(String::as_str)
    }

    /// Metadata that are not understood are not touched.
    pub(crate) fn check(&self, state: &MetadataState) -> Result<(), String> {
        check_level(self.levels, state).inspect_err(|reason| _ = self.not_understood.set(reason.clone()))
    }

    /// Brings what was applied to stable storage. Blocks.
    pub(crate) fn flush(&self) -> Result<(), KvError> {
        self.store.flush()
    }

    /// Goes on from a snapshot, once the log is durable up to there; returns once that is on stable storage.
    pub(crate) async fn install(self: &Arc<Self>, meta: &SnapshotMeta, state: &Arc<MetadataState>) -> io::Result<()> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        self.wait_durable(last.index).await?;
        let (machine, meta, state) = (self.clone(), meta.clone(), state.clone());
        let install = move || machine.replace_all(last, &meta.last_membership, state);
        tokio::task::spawn_blocking(install).await?.map_err(io::Error::other)
    }

    /// Puts this state in the place of all there is. Blocks.
    pub(super) fn replace_all(
        &self,
        last: LogId,
        membership: &StoredMembership,
        state: Arc<MetadataState>,
    ) -> Result<(), KvError> {
        self.check(&state).map_err(KvError)?;
        let batch = KvBatch::default().put(APPLIED.to_vec(), encode_position(last, membership));
        let mut batch = state.rows().iter().try_fold(batch, put_row)?;
        let kept: BTreeSet<Vec<u8>> = batch.puts.iter().map(|(key, _)| key.clone()).collect();
        let known = self.store.scan(ROWS)?.into_iter().map(|(key, _)| key);
        batch.deletes.extend(known.filter(|key| !kept.contains(key)));
        self.store.write(batch)?;
        self.store.flush()?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.applied_end.send_replace(last.index + 1);
        Ok(())
    }

    /// Waits until the log is on stable storage up to this entry.
    async fn wait_durable(&self, index: u64) -> io::Result<()> {
        let mut durable =
            self.durable_end.get().ok_or_else(|| io::Error::other("the metadata log is not open"))?.clone();
        // A failed log ends the wait, or the group could not stop.
        let reached = |end: &DurableEnd| end.as_ref().map_or(true, |end| *end > index);
        durable.wait_for(reached).await.map_err(io::Error::other)?.clone()?;
        Ok(())
    }

    pub(crate) async fn apply(&self, entry: &Entry, membership: &StoredMembership) -> io::Result<Applied> {
        let index = entry.log_id.index;
        self.wait_durable(index).await?;
        let mut state = MetadataState::clone(&self.state());
        let (applied, rows) = match &entry.payload {
            EntryPayload::Blank => (Applied::Nothing, Vec::new()),
            EntryPayload::Membership(membership) => {
                let members = membership.nodes().map(|(replica, node)| (*replica, *node));
                (Applied::Nothing, state.reserve(members))
            }
            EntryPayload::Normal(proposal) => {
                let command: MetadataCommand = bincode::deserialize(&proposal.payload).map_err(io::Error::other)?;
                let (reply, rows) = state.apply(&command, index);
                (Applied::Reply(encode_reply(&reply)?), rows)
            }
        };
        self.check(&state).map_err(io::Error::other)?;
        let batch = KvBatch::default().put(APPLIED.to_vec(), encode_position(entry.log_id, membership));
        let batch = rows.iter().try_fold(batch, put_row).map_err(io::Error::other)?;
        self.store.write(batch).map_err(io::Error::other)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.applied_end.send_replace(index + 1);
        Ok(applied)
    }
}

fn check_level(levels: Levels, state: &MetadataState) -> Result<(), String> {
    match state.level_given() {
        Some(level) if !levels.understands(level) => Err(not_understood(levels, level)),
        _ => Ok(()),
    }
}

fn row_key(kind: u8, id: u64) -> Vec<u8> {
    [ROWS, &[kind], &id.to_be_bytes()].concat()
}

fn move_key(partition: PartitionId) -> Vec<u8> {
    [row_key(b'v', partition.topic.0).as_slice(), &partition.index.to_be_bytes()].concat()
}

fn encode_position(applied: LogId, membership: &StoredMembership) -> Vec<u8> {
    let mut position = BytesMut::new();
    codec::put_log_id(&mut position, Some(&applied));
    codec::put_log_id(&mut position, membership.log_id().as_ref());
    position.put(codec::encode_membership(membership.membership()));
    position.to_vec()
}

fn put_row(batch: KvBatch, row: &Row) -> Result<KvBatch, KvError> {
    let key = match row {
        Row::TopicGone(id) => return Ok(batch.delete(row_key(b't', id.0))),
        Row::MoveGone(partition) => return Ok(batch.delete(move_key(*partition))),
        Row::Counters(_) => row_key(b'c', 0),
        Row::Node(node) => row_key(b'n', node.id.0),
        // In the place of the node's row.
        Row::NodeRetired(node) => row_key(b'n', node.0),
        Row::Evening(_) => row_key(b'e', 0),
        Row::Stream(name) => [&row_key(b's', 0), name.as_str().as_bytes()].concat(),
        Row::Topic(topic) => row_key(b't', topic.id.0),
        Row::TombstoneGone(replica) => return Ok(batch.delete(row_key(b'x', replica.0))),
        Row::RecoveryGone(replica) => return Ok(batch.delete(row_key(b'y', replica.0))),
        Row::Tombstone(tombstone) => row_key(b'x', tombstone.replica.0),
        Row::Recovery(row) => row_key(b'y', row.to.replica.0),
        Row::MetadataRecovery(row) => row_key(b'z', row.index),
        Row::Level(_) => row_key(b'l', 0),
        Row::Move(moving) => move_key(moving.partition),
    };
    Ok(batch.put(key, bincode::serialize(row).map_err(|error| KvError(error.to_string()))?))
}

fn encode_reply(reply: &MetadataReply) -> io::Result<Bytes> {
    Ok(bincode::serialize(reply).map_err(io::Error::other)?.into())
}
