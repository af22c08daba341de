//! Starting and stopping a node.

use std::{
    fmt::{self, Debug},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quorate_cluster_config::{Address, GroupId, LogConfig, NodeConfig};
use quorate_log_engine::{EngineOptions, LogEngine, RealVfs, ScrubOptions, Vfs};
use quorate_raft::{
    BoxFuture, CatchUp, ColdReads, DiskSpace, Elections, Environment, GroupOpenError, KvError, KvStore, LEVELS, Levels,
    MetadataGroup, ReplicaPhase, ReplicaRecord, ReplicaRecords, RocksStore, SystemClock, WallClock,
};
use tokio::task::JoinSet;

use crate::{
    clients::ClientServer,
    cluster::{self, Cluster, FormError, Member},
    data_dir::{DataDir, DataDirError},
    http,
    identity::{Formation, Identity},
    net::{Net, TcpNet},
    peers::{Directory, Expulsion, Greeting, NodeTransport, PEER_VERSIONS, PeerServer, PeerVersions, RpcPool},
    store_format,
};

/// How long a node that stops waits for others to lead what it led.
const HAND_OVER_MAX: Duration = Duration::from_secs(5);

/// Opens the keyed store in a directory.
#[derive(Clone)]
pub struct OpenStore(Arc<OpenStoreFn>);

type OpenStoreFn = dyn Fn(&Path) -> Result<Arc<dyn KvStore>, KvError> + Send + Sync;

impl OpenStore {
    /// Opens it so.
    pub fn new(open: impl Fn(&Path) -> Result<Arc<dyn KvStore>, KvError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(crate) fn open(&self, directory: &Path) -> Result<Arc<dyn KvStore>, KvError> {
        (self.0)(directory)
    }
}

impl Debug for OpenStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OpenStore")
    }
}

/// The four seams between a node and the world.
#[derive(Clone, Debug)]
pub struct Seams {
    /// The file system of the logs.
    pub vfs: Arc<dyn Vfs>,
    /// The keyed store.
    pub store: OpenStore,
    /// The network.
    pub net: Arc<dyn Net>,
    /// The time of day.
    pub clock: Arc<dyn WallClock>,
    /// What the node says that it understands: something else than it does only where upgrades are tested.
    pub build: Build,
}

/// What a build understands of what other builds say and have written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The levels of the metadata.
    pub levels: Levels,
    /// The versions of the peer protocol.
    pub peer_versions: PeerVersions,
}

impl Default for Build {
    /// This one.
    fn default() -> Self {
        Self { levels: LEVELS, peer_versions: PEER_VERSIONS }
    }
}

impl Default for Seams {
    /// The real ones.
    fn default() -> Self {
        Self {
            vfs: Arc::new(RealVfs),
            store: OpenStore::new(|directory| Ok(Arc::new(RocksStore::open(directory)?))),
            net: Arc::new(TcpNet),
            clock: Arc::new(SystemClock),
            build: Build::default(),
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// See [`DataDirError`].
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The keyed store could not be opened or read.
    #[error("{0}; the store may be damaged: restore the data directory, or start this node anew with an empty one")]
    Store(#[from] KvError),
    /// The keyed store was written by another build.
    #[error("the keyed store {0}")]
    StoreFormat(String),
    /// There are replicas, but nothing says whose they are.
    #[error("{path}: holds replicas, but the store that says of which node and cluster is gone; restore the whole data directory, or start with an empty one as a new node", path = path.display())]
    IdentityLost {
        /// The data directory.
        path: PathBuf,
    },
    /// A port could not be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it or choose another {flag}")]
    Listen {
        /// The address.
        address: Address,
        /// The flag that sets it.
        flag: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// See [`FormError`].
    #[error(transparent)]
    Form(#[from] FormError),
    /// The node's replica of the metadata group is damaged or in doubt.
    #[error("the metadata replica is not started: {0}; its files are left as they are")]
    Metadata(#[from] GroupOpenError),
    /// The operating system refused threads.
    #[error("cannot start the threads of the log engine: {0}")]
    Threads(io::Error),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    cluster: Arc<Cluster>,
    tasks: JoinSet<()>,
    _data_dir: DataDir,
}

async fn listen(
    net: &Arc<dyn Net>,
    address: &Address,
    flag: &'static str,
) -> Result<Box<dyn crate::net::Listener>, NodeError> {
    net.listen(address).await.map_err(|source| NodeError::Listen { address: address.clone(), flag, source })
}

impl Node {
    /// Starts a node. Returns once it is part of its cluster: a new cluster waits here for all of its seeds.
    ///
    /// Boxed, so that what it is made of is compiled here and not again in every program that starts a node.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn start(config: NodeConfig, seams: Seams) -> BoxFuture<'static, Result<Self, NodeError>> {
        Box::pin(Self::run(config, seams))
    }

    async fn run(config: NodeConfig, seams: Seams) -> Result<Self, NodeError> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let peer_listener = listen(&seams.net, &config.peer_listen, "--peer-listen").await?;
        let client_listener = listen(&seams.net, &config.listen, "--listen").await?;
        let http_listener = match &config.http_listen {
            Some(address) => {
                let failed = |source| NodeError::Listen { address: address.clone(), flag: "--http-listen", source };
                Some(http::listen(address).await.map_err(failed)?)
            }
            None => None,
        };
        let (open, directory) = (seams.store.clone(), data_dir.store());
        let store = tokio::task::spawn_blocking(move || open.open(&directory))
            .await
            .unwrap_or_else(|error| Err(KvError(error.to_string())))?;
        store_format::check(&store, Identity::is_saved(&store)?)?;
        let identity = Identity::load(&store)?;
        if identity.is_none() && data_dir.has_replicas() {
            return Err(NodeError::IdentityLost { path: config.data_dir });
        }
        let cluster = Cluster::new(config.clone(), store.clone(), seams.net.clone(), seams.build, identity);
        let mut tasks = JoinSet::new();
        tasks.spawn(PeerServer { cluster: cluster.clone() }.run(peer_listener));
        tasks.spawn(ClientServer::new(cluster.clone()).run(client_listener));
        if let Some(listener) = http_listener {
            tasks.spawn(http::serve(listener, cluster.clone()));
        }
        cluster::form(&cluster).await?;
        cluster::check_seeds(&cluster).await?;
        // `form` returns only with an identity.
        let Some(identity) = cluster.identity().cloned() else {
            return Err(NodeError::Store(KvError("the node has no identity".to_owned())));
        };
        let (directory, rpc, environment) = surroundings(&config, &seams, &data_dir, &store, &identity)?;
        let record = metadata_record(&store, &identity)?;
        let metadata = MetadataGroup::open(&environment, &record).await?;
        let member = Member::new(identity, config, environment, seams.net.clone(), directory, rpc.clone(), metadata);
        cluster.set_member(member.clone());
        tasks.spawn(cluster::begin(cluster.clone(), rpc));
        tasks.spawn(cluster::register(member.clone()));
        tasks.spawn(cluster::keep_directory(member.clone()));
        tasks.spawn(cluster::keep_board(member.clone()));
        tasks.spawn(cluster::reconcile(member.clone()));
        tasks.spawn(cluster::retain(member.clone()));
        tasks.spawn(cluster::watch_space(member.clone()));
        tasks.spawn(cluster::mend(member.clone()));
        tasks.spawn(cluster::balance(member.clone()));
        tasks.spawn(cluster::drive_moves(member.clone()));
        tasks.spawn(cluster::drive_desired(member.clone()));
        tasks.spawn(cluster::keep_voters(member.clone()));
        tasks.spawn(cluster::watch_nodes(member.clone()));
        tasks.spawn(cluster::elect(member.clone()));
        tasks.spawn(cluster::forget_tombstones(member.clone()));
        tasks.spawn(cluster::remove_strays(member.clone()));
        tasks.spawn(cluster::tick(member));
        Ok(Self { cluster, tasks, _data_dir: data_dir })
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.cluster.identity()
    }

    /// Returns once this node cannot go on: then it is to be stopped.
    pub async fn expelled(&self) -> Expulsion {
        match self.cluster.member() {
            Some(member) => member.directory.expelled().await,
            None => std::future::pending().await,
        }
    }

    /// Hands leadership over, stops serving, then all groups, and writes down how far they are committed.
    pub fn stop(self) -> BoxFuture<'static, ()> {
        Box::pin(self.end())
    }

    async fn end(mut self) {
        if let Some(member) = self.cluster.member() {
            // Clients are served on meanwhile: they are told who leads from now on.
            hand_over(member).await;
        }
        self.tasks.shutdown().await;
        let Some(member) = self.cluster.member().cloned() else { return };
        member.coordinators.stop();
        let groups = member.replicas.all_running();
        futures::future::join_all(groups.iter().map(|group| group.group().shutdown())).await;
        member.metadata.group().shutdown().await;
        let ticked = tokio::task::spawn_blocking(move || member.replicas.tick(&member.metadata)).await;
        if let Ok(Err(error)) = ticked {
            tracing::error!(%error, "the committed marks could not be written");
        }
    }
}

/// Hands all that this node leads over to others, as far as there are others that keep up.
async fn hand_over(member: &Arc<Member>) {
    let partitions = member.replicas.all_running();
    let groups = partitions.iter().map(|group| group.group()).chain([member.metadata.group()]);
    let handing = futures::future::join_all(groups.map(|group| group.hand_over()));
    if tokio::time::timeout(HAND_OVER_MAX, handing).await.is_err() {
        tracing::warn!("not all leadership could be handed over in time; the others will elect");
    }
}

fn engine_options(config: &LogConfig) -> EngineOptions {
    let scrub = ScrubOptions { bytes_per_second: config.scrub_bytes_per_second, interval: config.scrub_interval };
    EngineOptions {
        writer_threads: config.writer_threads as usize,
        tail_cache_bytes: usize::try_from(config.tail_cache_bytes).unwrap_or(usize::MAX),
        open_segments_max: config.open_segments_max as usize,
        scrub: (scrub.bytes_per_second > 0).then_some(scrub),
    }
}

/// What a node with an identity lends to its groups, and its ways to the other nodes.
pub(crate) fn surroundings(
    config: &NodeConfig,
    seams: &Seams,
    data_dir: &DataDir,
    store: &Arc<dyn KvStore>,
    identity: &Identity,
) -> Result<(Arc<Directory>, Arc<RpcPool>, Environment), NodeError> {
    let versions = seams.build.peer_versions;
    let us = Greeting { cluster: Some(identity.cluster), node: Some(identity.node), versions };
    let directory = Arc::new(Directory::default());
    directory.update(identity.first_known().clone());
    let rpc = Arc::new(RpcPool::new(seams.net.clone(), us, directory.clone()));
    let transport = NodeTransport::new(seams.net.clone(), us, directory.clone(), rpc.clone());
    let environment = Environment {
        cluster: identity.cluster,
        directory: data_dir.replicas(),
        vfs: seams.vfs.clone(),
        store: store.clone(),
        engine: LogEngine::start(engine_options(&config.log)).map_err(NodeError::Threads)?,
        cold_reads: ColdReads::default(),
        catch_up: CatchUp::new(config.raft.catch_up_bytes_per_second),
        space: DiskSpace::new(config.log.reserve_bytes),
        transport: Arc::new(transport),
        clock: seams.clock.clone(),
        raft: config.raft.clone(),
        elections: Elections::Node,
        levels: seams.build.levels,
    };
    Ok((directory, rpc, environment))
}

/// The creation record of this node's metadata replica: the one it has, or that of a beginning.
pub(crate) fn metadata_record(store: &Arc<dyn KvStore>, identity: &Identity) -> Result<ReplicaRecord, KvError> {
    let replica = identity.metadata_replica;
    Ok(ReplicaRecords::new(store.clone()).get(replica)?.unwrap_or_else(|| ReplicaRecord {
        replica,
        log: replica,
        group: GroupId::Metadata,
        phase: ReplicaPhase::Creating,
        first_members: identity.formation().map(Formation::metadata_members).unwrap_or_default(),
        segment_bytes: METADATA_SEGMENT_BYTES,
    }))
}

/// Bytes of a segment of the metadata log: what is applied and lies in a finished one is given up.
const METADATA_SEGMENT_BYTES: u64 = 1 << 20;
