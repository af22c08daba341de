//! What a node lends to all of its groups.

use std::{path::PathBuf, sync::Arc};

use openraft::{Config, SnapshotPolicy};
use quorate_cluster_config::{ClusterId, RaftConfig, ReplicaId, limits};
use quorate_log_engine::{LogEngine, Vfs};

use crate::{
    catch_up::CatchUp, clock::WallClock, cold_reads::ColdReads, disk_space::DiskSpace, store::KvStore,
    transport::PeerTransport,
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
}

impl Environment {
    /// The directory of a replica's log.
    #[must_use]
    pub fn replica_directory(&self, replica: ReplicaId) -> PathBuf {
        self.directory.join(format!("replica-{replica}"))
    }

    pub(crate) fn raft_config(&self, name: String, may_stand: bool) -> Result<Arc<Config>, String> {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: name,
            heartbeat_interval: ms(self.raft.heartbeat_interval),
            election_timeout_min: ms(self.raft.election_timeout_min),
            election_timeout_max: ms(self.raft.election_timeout_max),
            max_payload_entries: ENTRIES_PER_REQUEST_MAX,
            api_channel_size: Some(PROPOSALS_QUEUED_MAX),
            enable_elect: may_stand,
            // Logs are kept whole: retention is the log's own business, not that of Raft's snapshots.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            // A deaf leader must step down, or a cut in one direction would never heal.
            quorum_loss_probe_interval: Some(3 * ms(self.raft.election_timeout_max)),
            enable_pre_vote: Some(true),
            // Replication runs ahead of the local flush: a leader restored with a cut tail would give one log id to
            // two entries.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        config.validate().map(Arc::new).map_err(|error| error.to_string())
    }
}
