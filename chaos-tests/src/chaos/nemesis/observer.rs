//! Who leads what, looked at all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use quorate::Client;
use tokio::task::JoinHandle;

use super::Roles;
use crate::{
    chaos::{
        cluster::{connect, topic_name},
        defects::Defects,
        options::TOPICS,
        report::Led,
    },
    history::{PartitionKey, Recorder},
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
    /// Who has led in which term.
    by_term: BTreeMap<(PartitionKey, u64), u64>,
    /// Every change of a leader.
    changes: Vec<Led>,
}

impl Observer {
    /// Begins to look, and returns when it has seen something.
    pub(in crate::chaos) async fn start(
        servers: &str,
        recorder: &Arc<Recorder>,
        defects: &Arc<Defects>,
    ) -> Result<Self, String> {
        let client = connect(servers, TIMEOUT).await?;
        let empty = Seen {
            leaders: BTreeMap::new(),
            metadata_leader: None,
            at: Instant::now(),
            by_term: BTreeMap::new(),
            changes: Vec::new(),
        };
        let (recorder, defects) = (Arc::clone(recorder), Arc::clone(defects));
        let seen = Arc::new(Mutex::new(empty));
        look(&client, &seen, &recorder, &defects).await?;
        let looking = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                if let Err(error) = look(&client, &looking, &recorder, &defects).await {
                    tracing::debug!(error, "cannot see who leads");
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// Every change of a leader so far.
    pub(in crate::chaos) fn changes(&self) -> Vec<Led> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).changes.clone()
    }

    /// The roles as last seen among these nodes, and how long ago that was.
    pub(in crate::chaos) fn roles(&self, members: &BTreeSet<u64>, bad_disk: u64) -> (Roles, Duration) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let leaders = seen.leaders.iter().map(|(partition, (_, leader))| (*partition, *leader));
        let leaders = leaders.filter(|(_, leader)| members.contains(leader)).collect();
        let metadata_leader = seen.metadata_leader.filter(|leader| members.contains(leader));
        let members = members.iter().copied().collect();
        (Roles { members, bad_disk, leaders, metadata_leader }, seen.at.elapsed())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(client: &Client, seen: &Mutex<Seen>, recorder: &Recorder, defects: &Defects) -> Result<(), String> {
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
        let (term, node) = led;
        let first = seen.by_term.insert((partition, term), node);
        if let Some(first) = first.filter(|first| *first != node) {
            defects.add(format!("{partition}: nodes {first} and {node} both lead in term {term}"));
        }
        if seen.leaders.get(&partition).is_none_or(|known| led > *known) {
            seen.leaders.insert(partition, led);
            seen.changes.push(Led { at_ns: recorder.now_ns(), partition, term, node });
        }
    }
    seen.metadata_leader = cluster.metadata_leader.map(|node| node.0).or(seen.metadata_leader);
    seen.at = began;
    Ok(())
}
