//! One node, on threads of its own, with a disk and a keyed store in memory that outlive it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use quorate_cluster_config::{Address, NodeConfig};
use quorate_faulty_vfs::{Disk, PowerCut};
use quorate_node::{MemoryStore, Node, OpenStore, Seams};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::{
    TestingError,
    net::{Links, TestNet},
};

/// Enough for what tests read again.
const TAIL_CACHE_BYTES: u64 = 16 << 20;
/// The directory of the node that was killed is locked until the last of it is gone.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);
/// Of all its threads.
const THREADS: usize = 2;

/// A node of the cluster, running or not.
#[derive(Debug)]
pub(crate) struct TestNode {
    number: u16,
    config: NodeConfig,
    disk: Disk,
    store: Arc<MemoryStore>,
    links: Arc<Links>,
    running: Option<Running>,
    /// Holds the lock file only.
    _directory: TempDir,
}

#[derive(Debug)]
struct Running {
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<oneshot::Sender<()>>>,
}

/// Whoever drops it may be asynchronous, and must not wait for its threads.
impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn address(port: u16) -> Result<Address, TestingError> {
    let parsed = Address::parse(&format!("127.0.0.1:{port}"));
    parsed.map_err(|error| TestingError::Start { node: 0, reason: error.to_string() })
}

impl TestNode {
    pub(crate) fn new(
        number: u16,
        client_port: u16,
        peer_ports: &[u16],
        links: Arc<Links>,
    ) -> Result<Self, TestingError> {
        let directory = tempfile::Builder::new().prefix("quorate-testing-").tempdir()?;
        let seeds = peer_ports.iter().map(|port| address(*port)).collect::<Result<Vec<_>, _>>()?;
        let mut config = NodeConfig::new(directory.path());
        config.listen = address(client_port)?;
        config.peer_listen = seeds.get(usize::from(number) - 1).cloned().ok_or(TestingError::Size(number))?;
        config.http_listen = None;
        links.add(number, config.peer_listen.port());
        config.seeds = seeds;
        config.log.tail_cache_bytes = TAIL_CACHE_BYTES;
        let (disk, store) = (Disk::default(), Arc::default());
        Ok(Self { number, config, disk, store, links, running: None, _directory: directory })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn client_address(&self) -> &Address {
        &self.config.listen
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it; returns once it is part of its cluster.
    pub(crate) async fn start(&mut self) -> Result<(), TestingError> {
        let number = self.number;
        let failed = |reason: String| TestingError::Start { node: number, reason };
        let name = format!("quorate-node-{number}");
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name(name).enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<oneshot::Sender<()>>();
        let (started, start) = oneshot::channel();
        let (config, disk, store) = (self.config.clone(), self.disk.clone(), Arc::clone(&self.store));
        let net = Arc::new(TestNet { node: number, links: Arc::clone(&self.links) });
        let began = Instant::now();
        runtime.spawn(async move {
            let node = loop {
                let mounted = Arc::clone(&store);
                let open = OpenStore::new(move |_: &Path| Ok(mounted.mount()));
                let seams = Seams { vfs: disk.vfs(), store: open, net: net.clone(), ..Seams::default() };
                match Node::start(config.clone(), seams).await {
                    Ok(node) => break node,
                    // What the node was before may be about to let go.
                    Err(error) if began.elapsed() < RELEASED_WITHIN && is_held(&error) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => {
                        drop(started.send(Err(error.to_string())));
                        return;
                    }
                }
            };
            drop(started.send(Ok(())));
            // Without a word from anybody the cluster has been dropped, and the threads end.
            if let Ok(done) = stopped.await {
                node.stop().await;
                done.send(()).ok();
            }
        });
        self.running = Some(Running { runtime: Some(runtime), stop: Some(stop) });
        let outcome = start.await.unwrap_or_else(|_| Err("it stopped".to_owned())).map_err(failed);
        if outcome.is_err() {
            self.running = None;
        }
        outcome
    }

    /// A power cut: nothing of what was not synced is left.
    pub(crate) fn kill(&mut self) -> Result<(), TestingError> {
        let running = self.running.take().ok_or(TestingError::State { node: self.number, why: "is not running" })?;
        self.disk.power_cut(PowerCut::LoseAll);
        self.store.crash();
        drop(running);
        Ok(())
    }

    /// Has it hand over what it leads, and stop.
    pub(crate) async fn stop(&mut self) -> Result<(), TestingError> {
        let mut running =
            self.running.take().ok_or(TestingError::State { node: self.number, why: "is not running" })?;
        let (done, is_done) = oneshot::channel();
        if let Some(stop) = running.stop.take() {
            drop(stop.send(done));
        }
        drop(is_done.await);
        Ok(())
    }
}

fn is_held(error: &quorate_node::NodeError) -> bool {
    use quorate_node::{DataDirError, NodeError};
    matches!(error, NodeError::DataDir(DataDirError::InUse { .. }) | NodeError::Listen { .. })
}
