//! Who leads what, looked at all the time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quorate::Client;
use tokio::task::JoinHandle;

use super::Roles;
use crate::{
    chaos::{
        cluster::{connect, topic_name},
        options::TOPICS,
    },
    history::PartitionKey,
};

const PAUSE: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(1);

/// Looks until it is dropped.
#[derive(Debug)]
pub(in crate::chaos) struct Observer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    /// Leaders with their epochs: an answer of an older one is not believed.
    leaders: BTreeMap<PartitionKey, (u64, u64)>,
    metadata_leader: Option<u64>,
    at: Instant,
}

impl Observer {
    /// Begins to look, and returns when it has seen something.
    pub(in crate::chaos) async fn start(servers: &str) -> Result<Self, String> {
        let client = connect(servers, TIMEOUT).await?;
        let empty = Seen { leaders: BTreeMap::new(), metadata_leader: None, at: Instant::now() };
        let seen = Arc::new(Mutex::new(empty));
        look(&client, &seen).await?;
        let looking = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                if let Err(error) = look(&client, &looking).await {
                    tracing::debug!(error, "cannot see who leads");
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// The roles as last seen, and how long ago that was.
    pub(in crate::chaos) fn roles(&self, nodes: u64) -> (Roles, Duration) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let leaders = seen.leaders.iter().map(|(partition, (_, leader))| (*partition, *leader)).collect();
        (Roles { nodes, leaders, metadata_leader: seen.metadata_leader }, seen.at.elapsed())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(client: &Client, seen: &Mutex<Seen>) -> Result<(), String> {
    let began = Instant::now();
    let cluster = client.cluster_info().await.map_err(|error| error.to_string())?;
    let mut leaders = Vec::new();
    for topic in 0..TOPICS.len() as u32 {
        let info = client.topic(&topic_name(topic)?).await.map_err(|error| error.to_string())?;
        leaders.extend(info.partitions.into_iter().filter_map(|partition| {
            let key = PartitionKey { topic, index: partition.index };
            Some((key, (partition.leader_epoch, partition.leader?.0)))
        }));
    }
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for (partition, led) in leaders {
        let known = seen.leaders.entry(partition).or_insert(led);
        *known = led.max(*known);
    }
    seen.metadata_leader = cluster.metadata_leader.map(|node| node.0).or(seen.metadata_leader);
    seen.at = began;
    Ok(())
}
