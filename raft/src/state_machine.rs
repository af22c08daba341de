//! openraft's state machine trait over the machines of the group kinds.

use std::{io, sync::Arc};

use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    alias::{SnapshotMetaOf, SnapshotOf},
    storage::{EntryResponder, RaftStateMachine},
};

use crate::{
    metadata::MetadataMachine,
    partition::PartitionMachine,
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
/// There are no snapshots: a log is kept whole, and what it decides is rebuilt from it at open.
#[derive(Debug)]
pub(crate) struct StateMachine {
    machine: Machine,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    /// `applied` is what the machine holds: the last entry, and the last membership up to there.
    pub(crate) fn new(machine: Machine, applied: (Option<LogId>, StoredMembership)) -> Self {
        let (applied, membership) = applied;
        Self { machine, applied, membership }
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
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = NoSnapshots;

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

    async fn try_create_snapshot_builder(&mut self, _: bool) -> Option<NoSnapshots> {
        None
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshots {
        NoSnapshots
    }

    async fn install_snapshot(&mut self, _: &SnapshotMetaOf<TypeConfig>, _: Vec<u8>) -> Result<(), io::Error> {
        Err(unsupported())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, Vec<u8>>>, io::Error> {
        Ok(None)
    }
}

/// Refuses to build a snapshot.
#[derive(Debug)]
pub(crate) struct NoSnapshots;

impl RaftSnapshotBuilder<TypeConfig> for NoSnapshots {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, Vec<u8>>, io::Error> {
        Err(unsupported())
    }
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "logs are kept whole; there are no snapshots")
}
