//! What the replicas of stopped nodes hold, read from their files without changing them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use quorate::{ReplicaId, TopicInfo};
use quorate_log_engine::{FrameKind, InspectOptions, InspectedFrame, RealVfs, inspect};

use super::{cluster::ChaosCluster, workload::FILES};
use crate::history::{Call, FNV_OFFSET, LogEntry, Outcome, PartitionKey, Recorder, ReplicaLog, fnv1a};

/// Adds the logs of all replicas of a topic to the history. Of a node whose files were altered, one that cannot be read is no
/// surprise: damage is found when it is read, or when its segment is finished and looked through.
pub(super) fn read(cluster: &ChaosCluster, topic: u32, info: &TopicInfo, damaged: &BTreeSet<u64>, recorder: &Recorder) {
    for partition in &info.partitions {
        for replica in &partition.replicas {
            let invoked_ns = recorder.now_ns();
            let node = replica.node.0;
            let outcome = match cluster.nodes.get(node as usize - 1) {
                Some(of) => {
                    let directory = log_directory(&of.data_dir, replica.id);
                    let failed = |why| if damaged.contains(&node) { Outcome::Info(why) } else { Outcome::Fail(why) };
                    read_log(&directory).map_or_else(failed, Outcome::Ok)
                }
                None => Outcome::Fail(format!("there is no node {node}")),
            };
            let key = PartitionKey { topic, index: partition.index };
            recorder.record(FILES, key, invoked_ns, Call::Replica { node, outcome });
        }
    }
}

/// Where a node with this data directory keeps the log of a replica.
pub(in crate::chaos) fn log_directory(data_dir: &Path, replica: ReplicaId) -> PathBuf {
    data_dir.join("replicas").join(format!("replica-{}", replica.0))
}

/// The files of a log's segments, in their order.
pub(in crate::chaos) fn segment_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)?.flatten().map(|file| file.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    Ok(paths)
}

/// The entries of a log. All checksums are verified on the way, those of the records included.
pub(in crate::chaos) fn read_log(directory: &Path) -> Result<ReplicaLog, String> {
    let mut entries = BTreeMap::new();
    let inspected = inspect(&RealVfs, directory, InspectOptions { verify: true }, &mut |frame| {
        if frame.on_chain && !matches!(frame.header.kind, FrameKind::Vote | FrameKind::Start) {
            entries.insert(frame.header.index, entry(frame));
        }
        Ok(())
    });
    let inspected = inspected.map_err(|error| format!("{}: {error}", directory.display()))?;
    if !inspected.is_sound() {
        let (damage, next_open) = (&inspected.damage, &inspected.next_open);
        return Err(format!("{} is damaged: {damage:?}, {next_open:?}", directory.display()));
    }
    Ok(entries.into_values().collect())
}

/// Without what each node stamps for itself: positions and durable marks.
fn entry(frame: &InspectedFrame) -> LogEntry {
    let header = &frame.header;
    let common = format!(
        "{:?} {} {} {} {:?} {:?}",
        header.kind,
        header.rejected,
        header.payload_checksum,
        header.leader_time_ms,
        header.expected_end_offset,
        frame.batch
    );
    LogEntry {
        index: header.index,
        term: header.term,
        end_offset: frame.offsets.end,
        hash: fnv1a(FNV_OFFSET, common.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_not_there_is_no_empty_log() {
        assert!(read_log(Path::new("/nowhere")).is_err());
    }
}
