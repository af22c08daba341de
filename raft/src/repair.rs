//! Mending a damaged log from its peers: what cannot be read any more is fetched from other replicas, by log id, and put
//! back in its place. The segment log checks each entry against what it knows of its own.

use std::{io, ops::Range, time::Duration};

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use quorate_cluster_config::{NodeId, ReplicaId};
use quorate_log_engine::{Frame, ReadPlan, ReadStart};
use tokio::runtime::Handle;

use crate::{
    codec::{self, Call},
    environment::PAYLOAD_BYTES_MAX,
    group::Group,
    log_store::OUTDATED_READS_MAX,
    transport::Route,
};

/// Bytes of entries asked for at once: an answer of that size plus the longest entry fits a peer's message.
const ENTRIES_BYTES_MAX: u32 = 4 << 20;
/// How long a peer may take for one answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// What a round of repair has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Segments made whole.
    pub segments: u64,
    /// Entries fetched for them.
    pub entries: u64,
    /// Segments that are still damaged.
    pub left: u64,
}

impl Group {
    /// Committed entries for a peer that mends its log.
    pub(crate) async fn committed_entries(&self, start: u64, end: u64, bytes_max: u32) -> io::Result<Bytes> {
        let log = self.store().log();
        let committed = self.store().committed().map_or(0, |id| id.index + 1);
        if start < log.start().index || end > committed {
            let reason = format!("entries {start} to {end} are not all here and committed");
            return Err(io::Error::new(io::ErrorKind::NotFound, reason));
        }
        let bytes_max = bytes_max.min(ENTRIES_BYTES_MAX) as usize;
        for _ in 0..OUTDATED_READS_MAX {
            let frames = match log.plan_read(ReadStart::Index(start), end, bytes_max) {
                ReadPlan::Ready(frames) => frames,
                ReadPlan::Cold(read) => match tokio::task::spawn_blocking(move || read.run()).await? {
                    Ok(frames) => frames,
                    Err(error) if error.is_outdated() => continue,
                    Err(error) => return Err(error.into()),
                },
            };
            return Ok(codec::encode_entries(&frames));
        }
        Err(io::Error::other("the log changes faster than it is read"))
    }

    /// Mends all that is known to be damaged, one segment after the other. What is damaged in the active segment is mended
    /// once that is finished, for which it is sealed here: call again. Blocks.
    ///
    /// `pace` is told of the bytes of each fetch, and waits as long as they may take.
    pub fn mend(&self, runtime: &Handle, pace: &mut dyn FnMut(u64)) -> Mended {
        let log = self.store().log();
        let mut mended = Mended::default();
        let damaged = log.damaged_segments();
        if damaged.iter().any(|segment| !segment.finished) {
            self.store().seal();
        }
        for segment in damaged {
            let mut fetch = |indexes: Range<u64>| {
                let frames = runtime.block_on(self.fetch(indexes))?;
                pace(frames.iter().map(|frame| frame.payload.len() as u64).sum());
                Ok(frames)
            };
            let number = segment.number;
            match segment.finished.then(|| log.repair(number, &mut fetch)) {
                Some(Ok(report)) => {
                    mended.segments += 1;
                    mended.entries += report.entries;
                }
                Some(Err(error)) => {
                    tracing::warn!(replica = %self.replica(), segment = number, %error, "a damaged segment is not mended yet");
                    mended.left += 1;
                }
                None => mended.left += 1,
            }
        }
        mended
    }

    /// Entries from `indexes.start` on, from the first peer that has them.
    async fn fetch(&self, indexes: Range<u64>) -> io::Result<Vec<Frame>> {
        let peers: Vec<(ReplicaId, NodeId)> = {
            let metrics = self.raft().metrics();
            let metrics = metrics.borrow_watched();
            let leader = metrics.current_leader;
            let members = metrics.membership_config.membership().nodes().map(|(replica, node)| (*replica, *node));
            let mut peers: Vec<_> = members.filter(|(replica, _)| *replica != self.replica()).collect();
            // The leader has enough to do.
            peers.sort_by_key(|(replica, _)| Some(*replica) == leader);
            peers
        };
        let call = Call::Entries { start: indexes.start, end: indexes.end, bytes_max: ENTRIES_BYTES_MAX };
        let call = codec::encode_call(&call);
        let mut last = "there is no other replica".to_owned();
        for (to, node) in peers {
            let route = Route { kind: self.id().kind(), from: self.replica(), to, node };
            let answer =
                self.transport().call(route, call.clone(), FETCH_TIMEOUT).await.map_err(|error| error.to_string());
            let decode = |answer| codec::decode_entries(answer, PAYLOAD_BYTES_MAX).map_err(|error| error.to_string());
            match answer.and_then(decode) {
                Ok(frames) if frames.first().is_some_and(|first| first.index == indexes.start) => return Ok(frames),
                Ok(_) => last = format!("replica {to} does not have it"),
                Err(error) => last = format!("replica {to}: {error}"),
            }
        }
        Err(io::Error::other(format!("no peer has entry {}: {last}", indexes.start)))
    }
}
