//! How fast what a disk has forgotten is found and fetched from the other replicas.

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use quorate::{Client, ProducerRecord, Record, ReplicaId, ReplicaInfo, ReplicaRole, TopicName};
use serde::Serialize;

use super::{
    cluster::{ChaosCluster, Network, Shape, connect},
    replica_logs::{log_directory, read_log, segment_files},
};
use crate::{
    harness::{NodeKind, eventually},
    history::ReplicaLog,
};

const NODES: u16 = 3;
/// The node whose disk forgets.
const NODE: u64 = 3;
const TOPIC: &str = "repair";
const PARTITIONS: u32 = 4;
const SEGMENT_BYTES: u64 = 16 << 20;
const RECORD_BYTES: usize = 16 << 10;
/// What is finished is looked through as often and as fast as can be: what is measured is the repair.
const SETTINGS: [(&str, &str); 2] =
    [("QUORATE_LOG__SCRUB_INTERVAL", "1min"), ("QUORATE_LOG__SCRUB_BYTES_PER_SECOND", "1GiB")];
const TIMEOUT: Duration = Duration::from_secs(30);
const ALIKE_MAX: Duration = Duration::from_secs(120);
const MARKED_AFTER: Duration = Duration::from_secs(3);
/// A pass of the scrubber begins once a minute.
const FOUND_MAX: Duration = Duration::from_secs(180);
const MENDED_MAX: Duration = Duration::from_secs(600);

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Repair {
    /// Segments of which half was overwritten.
    pub segments: usize,
    /// The bytes that were, in units of 2^20.
    pub damaged_mib: f64,
    /// From the start of the node until the first damage was known, in seconds.
    pub found_after_seconds: f64,
    /// From then until there was none, in seconds.
    pub mended_after_seconds: f64,
    /// Whether every log of the node is whole again, all checksums included, and holds what the others do.
    pub whole: bool,
}

impl Repair {
    /// What was found and put back a second, in units of 2^20 bytes.
    #[must_use]
    pub fn mib_per_second(&self) -> f64 {
        self.damaged_mib / self.mended_after_seconds
    }
}

impl Display for Repair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segments, damaged_mib, found_after_seconds, mended_after_seconds, whole } = self;
        let rate = self.mib_per_second();
        writeln!(formatter, "{damaged_mib:.0} MiB of {segments} finished segments of one node overwritten")?;
        writeln!(formatter, "  found after    {found_after_seconds:.1} s")?;
        writeln!(formatter, "  mended after   {mended_after_seconds:.1} s more: {rate:.1} MiB/s")?;
        write!(
            formatter,
            "  whole again    {}",
            if *whole { "yes, every checksum fits, and all replicas are alike" } else { "NO" }
        )
    }
}

/// Writes so much, overwrites half of each finished segment of one node while that is down, and waits until it has mended them.
///
/// # Errors
/// If the cluster does not come up, or the damage is not found or not mended in time.
pub async fn repair(mib: u64, directory: &Path) -> Result<Repair, String> {
    let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let shape =
        Shape { kind: NodeKind::Shipped, network: Network::PeerProxies, segment_bytes: SEGMENT_BYTES, settings };
    let mut cluster = ChaosCluster::start(NODES, shape, directory).await?;
    let topic: TopicName = TOPIC.parse().map_err(|error| format!("{TOPIC}: {error}"))?;
    let client = connect(&cluster.servers(), TIMEOUT).await?;
    cluster.create_topic(&client, &topic, PARTITIONS).await?;
    fill(&client, &topic, mib).await?;
    let (info, _) = cluster.wait_until_replicas_agree(&client, &topic, ALIKE_MAX).await?;
    let at = NODE as usize - 1;
    let replicas = info.partitions.iter().flat_map(|partition| &partition.replicas);
    let of_node = replicas.filter(|replica| replica.node.0 == NODE);
    let logs: Vec<PathBuf> = of_node.map(|replica| log_directory(&cluster.nodes[at].data_dir, replica.id)).collect();
    // How far the log is settled is written down once a second: behind that, an opened log is read as a whole.
    tokio::time::sleep(MARKED_AFTER).await;
    cluster.nodes[at].kill_9();
    let (mut segments, mut bytes, mut damaged) = (0, 0, 0);
    for log in &logs {
        let overwritten = overwrite(log).map_err(|error| format!("{}: {error}", log.display()))?;
        damaged += usize::from(overwritten.0 > 0);
        (segments, bytes) = (segments + overwritten.0, bytes + overwritten.1);
    }
    if segments == 0 {
        return Err(format!("{mib} MiB are too little: no segment was finished"));
    }
    cluster.nodes[at].start();
    let began = Instant::now();
    let mut found = BTreeSet::new();
    eventually("damage is known", FOUND_MAX, async || {
        found.extend(known(&client, &topic).await?);
        if found.is_empty() { Err("none is".to_owned()) } else { Ok(()) }
    })
    .await?;
    let found_after = began.elapsed();
    eventually("all damage is mended", MENDED_MAX, async || {
        let left = known(&client, &topic).await?;
        found.extend(&left);
        match (left.len(), found.len() == damaged) {
            (0, true) => Ok(()),
            (left, _) => Err(format!("{left} replicas are damaged; of {damaged} it was known of {}", found.len())),
        }
    })
    .await?;
    let mended_after = began.elapsed() - found_after;
    cluster.wait_until_replicas_agree(&client, &topic, ALIKE_MAX).await?;
    for node in &mut cluster.nodes {
        node.try_stop().await?;
    }
    let whole = info.partitions.iter().try_fold(true, |whole, partition| {
        let read = |replica: &ReplicaInfo| {
            read_log(&log_directory(&cluster.nodes[replica.node.0 as usize - 1].data_dir, replica.id))
        };
        let logs: Vec<ReplicaLog> = partition.replicas.iter().map(read).collect::<Result<_, _>>()?;
        Ok::<_, String>(whole && are_alike(&logs))
    })?;
    Ok(Repair {
        segments,
        damaged_mib: bytes as f64 / f64::from(1 << 20),
        found_after_seconds: found_after.as_secs_f64(),
        mended_after_seconds: mended_after.as_secs_f64(),
        whole,
    })
}

async fn fill(client: &Client, topic: &TopicName, mib: u64) -> Result<(), String> {
    let producer = client.producer(topic).build().await.map_err(|error| error.to_string())?;
    for number in 0..(mib << 20) / RECORD_BYTES as u64 {
        // No two alike, so that nothing fits where it does not belong.
        let value: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(RECORD_BYTES).collect();
        let partition = Some((number % u64::from(PARTITIONS)) as u32);
        let sent = producer.send(ProducerRecord { partition, record: Record::new(value, 0) }).await;
        // Its end is that of the flush.
        drop(sent.map_err(|error| error.to_string())?);
    }
    producer.flush().await.map_err(|error| error.to_string())
}

/// The replicas of the node that are known to be damaged, once all of them run.
async fn known(client: &Client, topic: &TopicName) -> Result<Vec<ReplicaId>, String> {
    let info = client.topic(topic).await.map_err(|error| error.to_string())?;
    let of_node: Vec<&ReplicaInfo> =
        info.partitions.iter().flat_map(|of| &of.replicas).filter(|replica| replica.node.0 == NODE).collect();
    match of_node.iter().find(|replica| matches!(replica.role, ReplicaRole::Unknown | ReplicaRole::Failed)) {
        Some(replica) => Err(format!("{replica:?} does not run")),
        None => Ok(of_node.iter().filter(|replica| replica.detail.is_some()).map(|replica| replica.id).collect()),
    }
}

/// Whether logs are the same but for how far they go behind the last record: who leads next begins with an entry of its own.
fn are_alike(logs: &[ReplicaLog]) -> bool {
    let end = |log: &ReplicaLog| log.last().map_or(0, |entry| entry.end_offset);
    let alike = |one: &ReplicaLog, other: &ReplicaLog| {
        end(one) == end(other) && one.iter().zip(other).all(|(one, other)| one == other)
    };
    logs.windows(2).all(|pair| end(&pair[0]) > 0 && alike(&pair[0], &pair[1]))
}

/// Overwrites the middle half of the segments of a log with zeros, but for the last two; returns how many there were, and the bytes.
fn overwrite(log: &Path) -> io::Result<(usize, u64)> {
    let mut paths = segment_files(log)?;
    // The last one is still written, and what is read when the log is opened may begin in the one before.
    paths.truncate(paths.len().saturating_sub(2));
    let mut bytes = 0;
    for path in &paths {
        let file = File::options().write(true).open(path)?;
        let length = file.metadata()?.len();
        file.write_all_at(&vec![0; (length / 2) as usize], length / 4)?;
        file.sync_all()?;
        bytes += length / 2;
    }
    Ok((paths.len(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::LogEntry;

    fn log(entries: &[(u64, u64)]) -> ReplicaLog {
        (0..)
            .zip(entries)
            .map(|(index, (end_offset, hash))| LogEntry { index, term: 1, end_offset: *end_offset, hash: *hash })
            .collect()
    }

    #[test]
    fn logs_are_alike_if_every_entry_is_and_both_go_to_the_last_record() {
        let whole = log(&[(1, 7), (2, 8)]);
        assert!(are_alike(&[whole.clone(), whole.clone(), log(&[(1, 7), (2, 8), (2, 9)])]));
        for other in [log(&[(1, 7), (2, 9)]), log(&[(1, 7)]), log(&[])] {
            assert!(!are_alike(&[whole.clone(), other.clone()]), "{other:?}");
            assert!(!are_alike(&[other, whole.clone()]));
        }
        assert!(!are_alike(&[log(&[]), log(&[])]), "nothing was written");
    }
}
