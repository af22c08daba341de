//! What a node lends to all of its groups.

use std::{path::PathBuf, sync::Arc};

use openraft::{Config, SnapshotPolicy};
use quorate_cluster_config::{ClusterId, GroupId, GroupKind, RaftConfig, ReplicaId, limits};
use quorate_log_engine::{LogEngine, Vfs};

use crate::{
    catch_up::CatchUp, clock::WallClock, cold_reads::ColdReads, disk_space::DiskSpace, metadata::Levels,
    store::KvStore, transport::PeerTransport,
};

/// Longest payload of a frame: a record batch with some room for commands and memberships.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = limits::BATCH_BYTES_MAX as u64 + limits::FRAME_OVERHEAD_BYTES_MAX as u64;
/// Entries in one AppendEntries request; bytes are bounded where they are read.
const ENTRIES_PER_REQUEST_MAX: u64 = 4096;
/// Proposals that may wait for the core of one group; beyond it proposers wait.
const PROPOSALS_QUEUED_MAX: u64 = 1024;

/// Disk, store, network and clock of a node, shared by its groups.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The cluster, which every log names as its owner: one of another cluster is refused.
    pub cluster: ClusterId,
    /// The directory that holds one directory a replica.
    pub directory: PathBuf,
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// The keyed store.
    pub store: Arc<dyn KvStore>,
    /// What all logs share: threads, caches, the scrubber.
    pub engine: Arc<LogEngine>,
    /// The reads of old records.
    pub cold_reads: ColdReads,
    /// How fast replicas that lag are brought up to date.
    pub catch_up: CatchUp,
    /// Whether the disk has room.
    pub space: DiskSpace,
    /// The network between replicas.
    pub transport: Arc<dyn PeerTransport>,
    /// The clock.
    pub clock: Arc<dyn WallClock>,
    /// Raft's times.
    pub raft: RaftConfig,
    /// What has partitions elect leaders. The metadata group always does so by its own timers.
    pub elections: Elections,
    /// What this build understands of the metadata.
    pub levels: Levels,
}

/// What notices that a group has no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elections {
    /// The group itself: its leader sends heartbeats, and a follower that hears none stands.
    Timers,
    /// The node, for all groups together: it has a replica stand by [`Group::stand`](crate::Group::stand). Idle groups
    /// send nothing but what [`Group::heartbeat`](crate::Group::heartbeat) asks for.
    Node,
}

/// The lease of leaders whose groups have no timers: it never ends by itself. What it is good for otherwise, keeping a leader
/// that nobody hears from taking proposals, the node does: see [`Group::mute`](crate::Group::mute). Reads never rely on it.
const ENDLESS_LEASE_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

impl Environment {
    /// The directory of the log that a replica began.
    #[must_use]
    pub fn replica_directory(&self, log: ReplicaId) -> PathBuf {
        self.directory.join(format!("replica-{log}"))
    }

    pub(crate) fn raft_config(&self, group: GroupId, may_stand: bool) -> Result<Arc<Config>, String> {
        let timers = group.kind() == GroupKind::Metadata || self.elections == Elections::Timers;
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: group.to_string(),
            enable_tick: timers,
            heartbeat_interval: ms(self.raft.heartbeat_interval),
            election_timeout_min: ms(self.raft.election_timeout_min),
            election_timeout_max: if timers { ms(self.raft.election_timeout_max) } else { ENDLESS_LEASE_MS },
            max_payload_entries: ENTRIES_PER_REQUEST_MAX,
            api_channel_size: Some(PROPOSALS_QUEUED_MAX),
            enable_elect: may_stand,
            // When a log is given up is not Raft's business: retention decides that, and what the metadata machine has applied.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            // A deaf leader must step down, or a cut in one direction would never heal.
            quorum_loss_probe_interval: timers.then(|| 3 * ms(self.raft.election_timeout_max)),
            enable_pre_vote: Some(true),
            // Replication runs ahead of the local flush: a leader restored with a cut tail would give one log id to
            // two entries.
            enable_leader_restore: Some(false),
            // A follower whose disk lost what it had said was on stable storage, and whose log cannot tell, would wait for it
            // until another leader is elected. What a majority held stays committed. It is said: see `network`.
            allow_log_reversion: Some(true),
            ..Config::default()
        };
        config.validate().map(Arc::new).map_err(|error| error.to_string())
    }
}
