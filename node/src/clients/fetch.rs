//! Reading committed batches, at the leader or, on request, at any replica; and asking for offsets, at the leader.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use quorate_cluster_config::{PartitionId, limits};
use quorate_log_engine::Frame;
use quorate_protocol::{
    ApiError, ErrorCode, FetchRequest, FetchResponse, OffsetQuery, OffsetsRequest, OffsetsResponse, Payload, ServeFrom,
};
use quorate_raft::{PartitionGroup, ProposeError, TimeLookupError};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{errors, produce::find};
use crate::{cluster::Member, metrics::counters};

/// How long a fetch waits for room at least, before it is refused.
const CLAIM_WAIT_MIN: Duration = Duration::from_secs(1);
/// Batches of fewer bytes are copied together: each part of an answer costs more than that.
const JOINED_BELOW: usize = 16 << 10;

pub(super) async fn fetch(
    member: &Arc<Member>,
    request: FetchRequest,
    deadline: Instant,
) -> Result<FetchResponse, ApiError> {
    let id = PartitionId { topic: request.topic, index: request.partition };
    let bytes_max = request.max_bytes as usize;
    if bytes_max == 0 || bytes_max > limits::FETCH_BYTES_MAX {
        let message = format!("max_bytes is {bytes_max}; it must be 1 to {}", limits::FETCH_BYTES_MAX);
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let bytes_min = (request.min_bytes as usize).min(bytes_max);
    let until = deadline.min(Instant::now() + request.max_wait.min(limits::FETCH_WAIT_MAX));
    let group = find(member, id)?;
    let source = Source { group, id, serve_from: request.serve_from };
    let mut wanted = request.offset;
    loop {
        source.check(request.offset)?;
        // More is waited for only from where it could come: the high watermark seen last.
        let waited = tokio::time::timeout_at(until, source.wait_for(wanted)).await.is_ok();
        let high_watermark = source.group.high_watermark();
        let mut claim = claim(member, bytes_max, until).await?;
        let (batches, end) = read(&source.group, request.offset, bytes_max).await?;
        let found = size(&batches);
        // The first batch is returned whatever its size.
        if let Some(more) = found.checked_sub(claim.num_permits()).filter(|more| *more > 0) {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            claim.merge(member.fetch_bytes.clone().try_acquire_many_owned(more).map_err(|_| overloaded(member))?);
        }
        // What was left out although it is there comes with the next fetch.
        let enough = found >= bytes_min || end < high_watermark;
        if enough && found > 0 || !waited {
            // Whoever was deposed while it waited must not tell clients that nothing more is there; and what was trimmed
            // meanwhile is not served.
            source.check(request.offset)?;
            let log_start_offset = source.group.log_start_offset();
            counters().fetched_bytes.fetch_add(found as u64, Relaxed);
            return Ok(FetchResponse { batches: held(batches, claim), high_watermark, log_start_offset });
        }
        wanted = high_watermark.max(request.offset);
    }
}

/// The replica that answers a fetch.
struct Source {
    group: Arc<PartitionGroup>,
    id: PartitionId,
    serve_from: ServeFrom,
}

impl Source {
    /// Whether this replica may answer, and has what is asked for.
    fn check(&self, offset: u64) -> Result<(), ApiError> {
        match (self.group.check_leader(), self.serve_from) {
            (Ok(()), _) | (Err(ProposeError::NotLeader { .. }), ServeFrom::AnyReplica) => {}
            (Err(error), _) => return Err(errors::of_proposal(self.id, &error)),
        }
        let log_start = self.group.log_start_offset();
        if offset < log_start {
            let message = format!(
                "partition {}: offset {offset} was deleted; the first one retained is {log_start}",
                self.id.index
            );
            return Err(ApiError::new(ErrorCode::OffsetOutOfRange, message));
        }
        Ok(())
    }

    /// Waits for records from `offset` on; of a leader also until it leads no more.
    async fn wait_for(&self, offset: u64) {
        match self.serve_from {
            ServeFrom::AnyReplica => self.group.wait_for(offset).await,
            ServeFrom::Leader => tokio::select! {
                () = self.group.wait_for(offset) => {}
                () = self.group.deposed() => {}
            },
        }
    }
}

/// Room for what a fetch may read. Readers that are slow to take what they asked for make others wait, not the node grow.
async fn claim(member: &Member, bytes_max: usize, until: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
    let size = u32::try_from(bytes_max).unwrap_or(u32::MAX);
    let claiming = member.fetch_bytes.clone().acquire_many_owned(size);
    // A fetch that need not wait for records may still have to wait for room.
    let until = until.max(Instant::now() + CLAIM_WAIT_MIN);
    tokio::time::timeout_at(until, claiming).await.ok().and_then(Result::ok).ok_or_else(|| overloaded(member))
}

fn overloaded(member: &Member) -> ApiError {
    let message = format!(
        "node {} holds {} bytes that its readers have not taken, its maximum; try again",
        member.identity.node, member.config.limits.fetch_bytes_in_flight
    );
    ApiError::new(ErrorCode::Overloaded, message)
}

/// The bytes, with the claim on the node's budget that ends with the last of them: when it is written to the client's
/// socket, or dropped.
fn held(mut parts: Vec<Bytes>, mut claim: OwnedSemaphorePermit) -> Payload {
    struct Held {
        part: Bytes,
        _claim: OwnedSemaphorePermit,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.part
        }
    }
    // What was not read after all. What was read holds on to twice its size at most (`ColdRead::run`).
    let surplus = claim.num_permits().saturating_sub(size(&parts));
    drop(claim.split(surplus));
    if let Some(last) = parts.pop() {
        parts.push(Bytes::from_owner(Held { part: last, _claim: claim }));
    }
    parts.into()
}

fn size(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

/// The batches as the client gets them: one after the other, with offsets and leader epochs in place; and the offset behind
/// them. Large batches are sent from where they lie.
async fn read(group: &PartitionGroup, offset: u64, bytes_max: usize) -> Result<(Vec<Bytes>, u64), ApiError> {
    let frames = group.read(offset, bytes_max).await.map_err(|error| {
        ApiError::new(ErrorCode::Storage, format!("the log cannot be read at offset {offset}: {error}"))
    })?;
    let batches: Vec<_> = frames.iter().filter_map(Frame::stamped_batch).collect();
    Ok((parts(batches), frames.last().map_or(offset, |last| last.next_offset)))
}

/// Heads and rests of batches, one after the other: small ones are copied into memory of exactly their size.
fn parts<const N: usize>(batches: Vec<([u8; N], Bytes)>) -> Vec<Bytes> {
    let copied = |rest: &Bytes| N + if rest.len() < JOINED_BELOW { rest.len() } else { 0 };
    let mut joined = BytesMut::with_capacity(batches.iter().map(|(_, rest)| copied(rest)).sum());
    let mut parts = Vec::new();
    for (head, rest) in batches {
        joined.put_slice(&head);
        if rest.len() < JOINED_BELOW {
            joined.put_slice(&rest);
        } else {
            parts.extend([joined.split().freeze(), rest]);
        }
    }
    if !joined.is_empty() {
        parts.push(joined.freeze());
    }
    parts
}

pub(super) async fn offsets(
    member: &Arc<Member>,
    request: OffsetsRequest,
    deadline: Instant,
) -> Result<OffsetsResponse, ApiError> {
    let id = PartitionId { topic: request.topic, index: request.partition };
    let group = find(member, id)?;
    group.check_leader().map_err(|error| errors::of_proposal(id, &error))?;
    let offset = match request.query {
        OffsetQuery::First => group.log_start_offset(),
        OffsetQuery::AtTime { ms } => tokio::time::timeout_at(deadline, group.offset_at_time(ms))
            .await
            .map_err(|_| ApiError::new(ErrorCode::Unavailable, "no majority answered in time"))?
            .map_err(|error| match error {
                TimeLookupError::Propose(error) => errors::of_proposal(id, &error),
                TimeLookupError::Fetch(error) => {
                    ApiError::new(ErrorCode::Storage, format!("the log cannot be read: {error}"))
                }
            })?,
        OffsetQuery::Last => tokio::time::timeout_at(deadline, group.linearizable_end_offset())
            .await
            .map_err(|_| ApiError::new(ErrorCode::Unavailable, "no majority answered in time"))?
            .map_err(|error| errors::of_proposal(id, &error))?,
    };
    Ok(OffsetsResponse { offset })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn small_batches_are_joined_and_large_ones_are_sent_from_where_they_lie() {
        let large = Bytes::from(vec![7; JOINED_BELOW]);
        let small = Bytes::from_static(b"small");
        let batches = vec![(*b"a", small.clone()), (*b"b", small.clone()), (*b"c", large.clone()), (*b"d", small)];
        let parts = parts(batches);
        let lengths: Vec<_> = parts.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [13, JOINED_BELOW, 6]);
        assert_eq!(
            (parts[1].as_ptr(), parts[0].as_ref(), parts[2].as_ref()),
            (large.as_ptr(), &b"asmallbsmallc"[..], &b"dsmall"[..])
        );
        assert!(super::parts::<1>(Vec::new()).is_empty());
    }

    #[tokio::test]
    async fn the_claim_is_for_what_was_read_and_ends_with_the_last_part() {
        let budget = Arc::new(Semaphore::new(1_000));
        let claim = budget.clone().acquire_many_owned(600).await.unwrap();
        let payload = held(vec![Bytes::from(vec![1; 100]), Bytes::from(vec![2; 50])], claim);
        assert_eq!(budget.available_permits(), 850, "what was not read is given back at once");
        let parts = payload.parts().to_vec();
        drop(payload);
        let [first, last] = parts.try_into().unwrap();
        drop(first);
        assert_eq!(budget.available_permits(), 850);
        drop(last);
        assert_eq!(budget.available_permits(), 1_000);
        let claim = budget.clone().acquire_many_owned(600).await.unwrap();
        assert!(held(Vec::new(), claim).is_empty());
        assert_eq!(budget.available_permits(), 1_000, "nothing was read");
    }
}
