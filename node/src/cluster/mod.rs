//! This node's part in the cluster: forming it, its replicas, and what it knows of the others.

mod board;
mod currency;
mod desired;
mod detector;
mod elections;
mod execute;
mod forming;
mod joining;
mod leaders;
mod member;
mod mover;
mod reconciler;
mod recovery;
mod replicas;
mod strays;
mod tombstones;
mod upkeep;
mod view;
mod voters;

use std::sync::{Arc, OnceLock};

use quorate_cluster_config::{NodeConfig, ReplicaId};
use quorate_raft::{Group, KvStore, Levels, MetadataCommand, MetadataReply, StepProgress};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, Semaphore};

pub(crate) use board::keep as keep_board;
pub(crate) use desired::drive_desired;
pub(crate) use detector::watch_nodes;
pub(crate) use elections::elect;
pub(crate) use execute::ExecuteError;
pub use forming::FormError;
pub(crate) use forming::{begin, check_seeds, form};
pub(crate) use joining::{InviteError, invite};
pub(crate) use leaders::balance;
pub(crate) use member::{Member, keep_directory, register, tick};
pub(crate) use mover::drive_moves;
pub(crate) use reconciler::run as reconcile;
pub(crate) use recovery::{Outlook, outlook, recover};
pub(crate) use replicas::{AnyGroup, Slot};
pub(crate) use strays::remove_strays;
pub(crate) use tombstones::forget as forget_tombstones;
pub(crate) use upkeep::{mend, retain, watch_space};
pub(crate) use voters::keep_voters;

use crate::{
    identity::{Formation, Identity},
    net::Net,
    node::Build,
    peers::{Greeting, Hello, PeerFailure, Purpose, StepRequest},
};

/// A budget of bytes.
fn permits(bytes: u64) -> Arc<Semaphore> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
}

/// What a node knows of itself from its first moment on, and of its cluster once there is one.
#[derive(Debug)]
pub(crate) struct Cluster {
    config: NodeConfig,
    store: Arc<dyn KvStore>,
    net: Arc<dyn Net>,
    build: Build,
    identity: OnceLock<Identity>,
    /// One formation at a time is considered.
    accepting: Mutex<()>,
    accepted: Notify,
    member: OnceLock<Arc<Member>>,
    /// Bytes of entries received and not yet on stable storage that this node may hold: half of them new entries, half of
    /// them old ones for replicas that lag.
    replication_bytes: [Arc<Semaphore>; 2],
}

impl Cluster {
    pub(crate) fn new(
        config: NodeConfig,
        store: Arc<dyn KvStore>,
        net: Arc<dyn Net>,
        build: Build,
        identity: Option<Identity>,
    ) -> Arc<Self> {
        let cell = OnceLock::new();
        if let Some(identity) = identity {
            cell.get_or_init(|| identity);
        }
        let half = config.limits.replication_bytes_in_flight / 2;
        let replication_bytes = [permits(half), permits(half)];
        Arc::new(Self {
            replication_bytes,
            config,
            store,
            net,
            build,
            identity: cell,
            accepting: Mutex::default(),
            accepted: Notify::new(),
            member: OnceLock::new(),
        })
    }

    /// How this node introduces itself to others.
    pub(crate) fn greeting(&self) -> Greeting {
        let identity = self.identity();
        Greeting {
            cluster: identity.map(|identity| identity.cluster),
            node: identity.map(|identity| identity.node),
            versions: self.build.peer_versions,
        }
    }

    /// What this build understands of the metadata.
    pub(crate) fn levels(&self) -> Levels {
        self.build.levels
    }

    pub(crate) fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The budget of what comes on a lane; that of heartbeats has none.
    pub(crate) fn replication_bytes(&self, lane: Purpose) -> Option<Arc<Semaphore>> {
        let [new, old] = &self.replication_bytes;
        match lane {
            Purpose::Append => Some(new.clone()),
            Purpose::Bulk => Some(old.clone()),
            Purpose::Heartbeat | Purpose::Rpc => None,
        }
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.get()
    }

    /// The running member, once this node is one.
    pub(crate) fn member(&self) -> Option<&Arc<Member>> {
        self.member.get()
    }

    pub(crate) fn set_member(&self, member: Arc<Member>) {
        assert!(self.member.set(member).is_ok(), "a node joins its cluster once");
    }

    /// A running replica on this node.
    pub(crate) fn group(&self, replica: ReplicaId) -> Option<AnyGroup> {
        let member = self.member()?;
        if member.metadata.group().replica() == replica {
            return Some(AnyGroup::Metadata(member.metadata.clone()));
        }
        member.replicas.running(replica).map(AnyGroup::Partition)
    }

    pub(crate) fn with_group<T>(&self, replica: ReplicaId, f: impl FnOnce(&Group) -> T) -> Option<T> {
        self.group(replica).map(|group| f(group.group()))
    }

    pub(crate) async fn hello(&self) -> Hello {
        let mut seeds = self.config.forming_seeds().to_vec();
        seeds.sort();
        let initialized = match self.member() {
            Some(member) => member.metadata.group().is_initialized().await.unwrap_or(true),
            None => false,
        };
        Hello {
            address: self.config.peer_advertised().clone(),
            seeds,
            cluster: self.identity().map(|identity| identity.cluster),
            initialized,
        }
    }

    /// Accepts a formation durably, unless another was accepted before.
    pub(crate) async fn accept_formation(&self, formation: Formation) -> Result<(), PeerFailure> {
        let _one_at_a_time = self.accepting.lock().await;
        if let Some(identity) = self.identity() {
            return match identity.formation() == Some(&formation) {
                true => Ok(()),
                false => Err(PeerFailure::OtherFormation(identity.cluster)),
            };
        }
        let mut seeds = self.config.forming_seeds().to_vec();
        seeds.sort();
        let address = self.config.peer_advertised();
        let unfit = |why: &str| PeerFailure::UnfitFormation(format!("node at {address}: {why}"));
        if !self.config.forms() || !formation.nodes.values().eq(seeds.iter()) {
            return Err(unfit("it is configured with other seeds"));
        }
        let node = formation.nodes.iter().find(|(_, seed)| *seed == address).map(|(node, _)| *node);
        let node = node.ok_or_else(|| unfit("it is not among the seeds"))?;
        tracing::info!(cluster = %formation.cluster, %node, "accepts the formation of a cluster");
        self.become_durably(Identity::formed(node, formation)).await
    }

    /// Makes an identity durable and this node's own. Only under the lock of those that consider one.
    async fn become_durably(&self, identity: Identity) -> Result<(), PeerFailure> {
        let (store, saved) = (self.store.clone(), identity.clone());
        tokio::task::spawn_blocking(move || saved.save(&store))
            .await
            .map_err(|error| PeerFailure::Unknown(error.to_string()))?
            .map_err(|error| PeerFailure::Unknown(error.to_string()))?;
        self.identity.get_or_init(|| identity);
        self.accepted.notify_waiters();
        Ok(())
    }

    pub(crate) async fn execute_here(
        &self,
        command: &MetadataCommand,
        patience: Duration,
    ) -> Result<(MetadataReply, u64), PeerFailure> {
        let member = self.member().ok_or(PeerFailure::NotReady)?;
        execute::here(member, command, patience).await
    }

    pub(crate) async fn metadata_end(&self) -> Result<u64, PeerFailure> {
        currency::here(self.member().ok_or(PeerFailure::NotReady)?).await
    }

    pub(crate) async fn take_step(&self, request: &StepRequest) -> Result<StepProgress, PeerFailure> {
        let member = self.member().ok_or(PeerFailure::NotReady)?;
        mover::take_step(member, request).await
    }
}
