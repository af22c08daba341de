//! Applying metadata commands: to memory and, in one batch, to the keyed store.
//!
//! ```text
//! key    'm' 'a'                         value  term u64  log index u64, then the membership with its log id
//! key    'm' 'r' row kind u8  id bytes   value  bincode of Row
//! ```
//! *Architecture invariant:* an entry reaches the store only once it is on this replica's stable storage, so that the
//! store is never ahead of the log.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use quorate_cluster_config::{PartitionId, ReplicaId};
use tokio::sync::watch;

use super::{
    command::{MetadataCommand, MetadataReply},
    state::{MetadataState, Row},
};
use crate::{
    codec,
    log_store::DurableEnd,
    store::{KvBatch, KvError, KvStore, family},
    types::{Applied, Entry, LogId, StoredMembership},
};

const APPLIED: &[u8] = &[family::METADATA, b'a'];
const ROWS: &[u8] = &[family::METADATA, b'r'];

/// The metadata as this replica has applied it.
#[derive(Debug)]
pub(crate) struct MetadataMachine {
    store: Arc<dyn KvStore>,
    state: RwLock<Arc<MetadataState>>,
    /// One past the last applied log index.
    applied_end: watch::Sender<u64>,
    /// One past the greatest log index on stable storage; set once the log is open.
    durable_end: std::sync::OnceLock<watch::Receiver<DurableEnd>>,
}

/// What was found in the store.
pub(crate) struct Loaded {
    pub(crate) machine: Arc<MetadataMachine>,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl MetadataMachine {
    pub(crate) fn load(store: Arc<dyn KvStore>) -> Result<Loaded, KvError> {
        let malformed = |what: &str| KvError(format!("the metadata store holds a malformed {what}"));
        let mut state = MetadataState::default();
        for (_, value) in store.scan(ROWS)? {
            state.load(vec![bincode::deserialize(&value).map_err(|_| malformed("row"))?]);
        }
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
            state: RwLock::new(Arc::new(state)),
            applied_end: watch::Sender::new(applied.map_or(0, |id| id.index + 1)),
            durable_end: std::sync::OnceLock::new(),
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

    pub(crate) async fn apply(&self, entry: &Entry, membership: &StoredMembership) -> io::Result<Applied> {
        let index = entry.log_id.index;
        let mut durable =
            self.durable_end.get().ok_or_else(|| io::Error::other("the metadata log is not open"))?.clone();
        // A failed log ends the wait, or the group could not stop.
        let reached = |end: &DurableEnd| end.as_ref().map_or(true, |end| *end > index);
        durable.wait_for(reached).await.map_err(io::Error::other)?.clone()?;
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
        let mut position = BytesMut::new();
        codec::put_log_id(&mut position, Some(&entry.log_id));
        codec::put_log_id(&mut position, membership.log_id().as_ref());
        position.put(codec::encode_membership(membership.membership()));
        let mut batch = KvBatch::default().put(APPLIED.to_vec(), position.to_vec());
        for row in &rows {
            batch = match row {
                Row::TopicGone(id) => batch.delete(row_key(b't', id.0)),
                Row::Counters(_) => batch.put(row_key(b'c', 0), encode_row(row)?),
                Row::Node(node) => batch.put(row_key(b'n', node.id.0), encode_row(row)?),
                // In the place of the node's row.
                Row::NodeRetired(node) => batch.put(row_key(b'n', node.0), encode_row(row)?),
                Row::Evening(_) => batch.put(row_key(b'e', 0), encode_row(row)?),
                Row::Stream(name) => {
                    batch.put([&row_key(b's', 0), name.as_str().as_bytes()].concat(), encode_row(row)?)
                }
                Row::Topic(topic) => batch.put(row_key(b't', topic.id.0), encode_row(row)?),
                Row::Tombstone(ReplicaId(replica)) => batch.put(row_key(b'x', *replica), encode_row(row)?),
                Row::Move(moving) => batch.put(move_key(moving.partition), encode_row(row)?),
                Row::MoveGone(partition) => batch.delete(move_key(*partition)),
            };
        }
        self.store.write(batch).map_err(io::Error::other)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.applied_end.send_replace(index + 1);
        Ok(applied)
    }
}

fn row_key(kind: u8, id: u64) -> Vec<u8> {
    [ROWS, &[kind], &id.to_be_bytes()].concat()
}

fn move_key(partition: PartitionId) -> Vec<u8> {
    [row_key(b'v', partition.topic.0).as_slice(), &partition.index.to_be_bytes()].concat()
}

fn encode_row(row: &Row) -> io::Result<Vec<u8>> {
    bincode::serialize(row).map_err(io::Error::other)
}

fn encode_reply(reply: &MetadataReply) -> io::Result<Bytes> {
    Ok(bincode::serialize(reply).map_err(io::Error::other)?.into())
}
