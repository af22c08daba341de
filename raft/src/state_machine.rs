//! openraft's state machine trait over the machines of the group kinds.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};

use crate::{
    checkpoint::{Checkpoint, GroupState},
    log_store::LogStore,
    metadata::MetadataMachine,
    partition::PartitionMachine,
    snapshots::{Snapshot, SnapshotMeta},
    types::{Applied, Entry, LogId, StoredMembership, TypeConfig},
};

/// What applies a group's entries.
#[derive(Clone, Debug)]
pub(crate) enum Machine {
    Partition(Arc<PartitionMachine>),
    Metadata(Arc<MetadataMachine>),
}

/// A group's machine with what openraft wants to know of it.
///
/// A snapshot of a partition is one of its checkpoints. That of the metadata group is what it has applied.
#[derive(Debug)]
pub(crate) struct StateMachine {
    machine: Machine,
    store: LogStore,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    /// `applied` is what the machine holds: the last entry, and the last membership up to there.
    pub(crate) fn new(machine: Machine, store: LogStore, applied: (Option<LogId>, StoredMembership)) -> Self {
        let (applied, membership) = applied;
        Self { machine, store, applied, membership }
    }

    async fn apply_one(&mut self, entry: &Entry) -> io::Result<Applied> {
        if let EntryPayload::Membership(membership) = &entry.payload {
            self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
        }
        let applied = match &self.machine {
            Machine::Partition(machine) => machine.apply(entry),
            Machine::Metadata(machine) => machine.apply(entry, &self.membership).await?,
        };
        self.applied = Some(entry.log_id);
        Ok(applied)
    }

    /// The state in a snapshot's data, if that is what its name says.
    fn decode(&self, meta: &SnapshotMeta, data: Bytes) -> Result<GroupState, String> {
        let checkpoint = Checkpoint::decode(data).map_err(|error| error.to_string())?;
        match (&self.machine, &checkpoint.state) {
            _ if checkpoint.membership != meta.last_membership => {
                Err("its membership is another one than its name says".to_owned())
            }
            (Machine::Partition(_), GroupState::Partition(_)) => Ok(checkpoint.state),
            (Machine::Metadata(machine), GroupState::Metadata(state)) => {
                machine.check(state)?;
                Ok(checkpoint.state)
            }
            _ => Err("it is that of another kind of group".to_owned()),
        }
    }

    /// All metadata as they are applied now; `None` if nothing is.
    fn metadata_snapshot(&self, machine: &MetadataMachine) -> Option<MetadataSnapshot> {
        let meta = SnapshotMeta { last_log_id: Some(self.applied?), last_membership: self.membership.clone() };
        Some(MetadataSnapshot { meta, state: GroupState::Metadata(machine.state()) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let applied = self.apply_one(&entry).await?;
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        Ok(())
    }

    /// A builder of the snapshot that was offered; none if none was: without a checkpoint to begin behind, nothing may
    /// be purged.
    async fn try_create_snapshot_builder(&mut self, _: bool) -> Option<SnapshotBuilder> {
        match self.get_snapshot_builder().await {
            SnapshotBuilder::Made(None) => None,
            builder => Some(builder),
        }
    }

    /// Not asked for: [`RaftStateMachine::try_create_snapshot_builder`] is.
    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        match self.machine.clone() {
            Machine::Partition(_) => SnapshotBuilder::Made(self.store.snapshots().take_offered()),
            Machine::Metadata(machine) => match self.metadata_snapshot(&machine) {
                Some(snapshot) => SnapshotBuilder::OfMetadata(snapshot, machine),
                None => SnapshotBuilder::Made(None),
            },
        }
    }

    /// Goes on from a snapshot, once that is on stable storage. If the log goes beyond it, nothing of the log is touched.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> Result<(), io::Error> {
        let malformed = |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot: {reason}"));
        let Some(last) = meta.last_log_id else {
            return Err(malformed("it stands for nothing".to_owned()));
        };
        let state = self.decode(meta, data.clone()).map_err(malformed)?;
        let snapshot = Snapshot { meta: meta.clone(), snapshot: data };
        let behind = !self.store.holds(last);
        if behind {
            let restarted = self.store.restart_behind(last, &state, &snapshot)?;
            restarted.await.map_err(io::Error::other)??;
        }
        match (&self.machine, &state) {
            (Machine::Partition(machine), GroupState::Partition(state)) => {
                if !behind {
                    machine.skip_through(last.index, state);
                }
                self.store.snapshots().install(snapshot, behind);
            }
            (Machine::Metadata(machine), GroupState::Metadata(state)) => machine.install(meta, state).await?,
            _ => return Err(malformed("it is that of another kind of group".to_owned())),
        }
        self.applied = Some(last);
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if let Machine::Metadata(machine) = &self.machine {
            return match self.metadata_snapshot(machine) {
                Some(snapshot) => Ok(Some(tokio::task::spawn_blocking(move || snapshot.encode()).await?)),
                None => Ok(None),
            };
        }
        let store = self.store.clone();
        let read = move || store.snapshots().current(store.log());
        tokio::task::spawn_blocking(read).await?.map_err(io::Error::other)
    }
}

/// A snapshot of the metadata that is still to be encoded.
#[derive(Clone, Debug)]
pub(crate) struct MetadataSnapshot {
    meta: SnapshotMeta,
    state: GroupState,
}

impl MetadataSnapshot {
    /// Takes long where there is much.
    fn encode(self) -> Snapshot {
        let Self { meta, state } = self;
        let checkpoint = Checkpoint { membership: meta.last_membership.clone(), state };
        Snapshot { snapshot: checkpoint.encode(), meta }
    }
}

/// Gives openraft a snapshot, once what it stands for is on stable storage.
#[derive(Debug)]
pub(crate) enum SnapshotBuilder {
    /// Of a partition: one of its checkpoints.
    Made(Option<Snapshot>),
    /// Of the metadata: what was applied, which the keyed store may not have on stable storage yet.
    OfMetadata(MetadataSnapshot, Arc<MetadataMachine>),
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        match self {
            Self::Made(snapshot) => snapshot.clone().ok_or_else(|| io::Error::other("no snapshot was offered")),
            Self::OfMetadata(snapshot, machine) => {
                let (snapshot, machine) = (snapshot.clone(), machine.clone());
                let build = move || machine.flush().map(|()| snapshot.encode());
                tokio::task::spawn_blocking(build).await?.map_err(io::Error::other)
            }
        }
    }
}
