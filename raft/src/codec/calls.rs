//! What replicas ask each other outside of replication: votes, snapshots, transfers of leadership, old entries.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::{
    alias::{SnapshotMetaOf, SnapshotOf},
    raft::{SnapshotResponse, TransferLeaderRequest, VoteRequest, VoteResponse},
};
use quorate_cluster_config::ReplicaId;
use quorate_log_engine::{Frame, Stamp};

use super::{
    DecodeError, INDEX_MAX, decode_membership, encode_membership, end, get_log_id, get_vote, need, put_log_id, put_vote,
};
use crate::types::{StoredMembership, TypeConfig, Vote};

/// What a replica asks another outside of replication.
#[derive(Debug)]
pub(crate) enum Call {
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    /// Take this state and begin the log behind it.
    Snapshot(Vote, SnapshotOf<TypeConfig, Bytes>),
    /// Stand for leader now.
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// Send committed entries, to mend a log that is damaged there.
    Entries {
        /// The first log index wanted.
        start: u64,
        /// One past the last one.
        end: u64,
        /// Bytes of them, at most, beyond the first.
        bytes_max: u32,
    },
}

const VOTE: u8 = 0;
const PRE_VOTE: u8 = 1;
const SNAPSHOT: u8 = 2;
const TRANSFER: u8 = 3;
const ENTRIES: u8 = 4;

fn put_vote_request(buffer: &mut BytesMut, request: &VoteRequest<TypeConfig>) {
    put_vote(buffer, &request.vote);
    put_log_id(buffer, request.last_log_id.as_ref());
    buffer.put_u8(request.leadership_transfer.into());
}

fn get_vote_request(bytes: &mut Bytes) -> Result<VoteRequest<TypeConfig>, DecodeError> {
    let vote = get_vote(bytes)?;
    let last_log_id = get_log_id(bytes)?;
    need(bytes, 1)?;
    Ok(VoteRequest { vote, last_log_id, leadership_transfer: bytes.get_u8() != 0 })
}

pub(crate) fn encode_call(call: &Call) -> Bytes {
    let mut buffer = BytesMut::with_capacity(64);
    match call {
        Call::Vote(request) => {
            buffer.put_u8(VOTE);
            put_vote_request(&mut buffer, request);
        }
        Call::PreVote(request) => {
            buffer.put_u8(PRE_VOTE);
            put_vote_request(&mut buffer, request);
        }
        Call::Snapshot(vote, snapshot) => {
            let membership = &snapshot.meta.last_membership;
            let members = encode_membership(membership.membership());
            buffer.put_u8(SNAPSHOT);
            put_vote(&mut buffer, vote);
            put_log_id(&mut buffer, snapshot.meta.last_log_id.as_ref());
            put_log_id(&mut buffer, membership.log_id().as_ref());
            buffer.put_u32_le(members.len() as u32);
            buffer.put(members);
            buffer.put(snapshot.snapshot.clone());
        }
        Call::Transfer(request) => {
            buffer.put_u8(TRANSFER);
            put_vote(&mut buffer, request.from_leader());
            buffer.put_u64_le(request.to_node_id().0);
            put_log_id(&mut buffer, request.last_log_id());
        }
        Call::Entries { start, end, bytes_max } => {
            buffer.put_u8(ENTRIES);
            buffer.put_u64_le(*start);
            buffer.put_u64_le(*end);
            buffer.put_u32_le(*bytes_max);
        }
    }
    buffer.freeze()
}

pub(crate) fn decode_call(mut bytes: Bytes) -> Result<Call, DecodeError> {
    need(&bytes, 1)?;
    let call = match bytes.get_u8() {
        VOTE => Call::Vote(get_vote_request(&mut bytes)?),
        PRE_VOTE => Call::PreVote(get_vote_request(&mut bytes)?),
        SNAPSHOT => return decode_snapshot(bytes),
        TRANSFER => {
            let from = get_vote(&mut bytes)?;
            need(&bytes, 8)?;
            let to = ReplicaId(bytes.get_u64_le());
            Call::Transfer(TransferLeaderRequest::new(from, to, get_log_id(&mut bytes)?))
        }
        ENTRIES => {
            need(&bytes, 20)?;
            let (start, end, bytes_max) = (bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_u32_le());
            if start >= end || end > INDEX_MAX {
                return Err(DecodeError::Malformed("range of entries"));
            }
            Call::Entries { start, end, bytes_max }
        }
        _ => return Err(DecodeError::Malformed("call")),
    };
    end(&bytes, "call")?;
    Ok(call)
}

fn decode_snapshot(mut bytes: Bytes) -> Result<Call, DecodeError> {
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_log_id(&mut bytes)?;
    let membership_id = get_log_id(&mut bytes)?;
    need(&bytes, 4)?;
    let size = bytes.get_u32_le() as usize;
    need(&bytes, size)?;
    let membership = decode_membership(bytes.split_to(size))?;
    // Raft takes these two for granted.
    let in_order = last_log_id.is_some_and(|last| last.leader_id.term <= vote.leader_id.term)
        && membership_id.is_some()
        && membership_id <= last_log_id;
    if !in_order {
        return Err(DecodeError::Malformed("snapshot"));
    }
    let meta =
        SnapshotMetaOf::<TypeConfig> { last_log_id, last_membership: StoredMembership::new(membership_id, membership) };
    Ok(Call::Snapshot(vote, SnapshotOf::<TypeConfig, Bytes> { meta, snapshot: bytes }))
}

pub(crate) fn encode_vote_response(response: &VoteResponse<TypeConfig>) -> Bytes {
    let mut buffer = BytesMut::with_capacity(40);
    put_vote(&mut buffer, &response.vote);
    put_log_id(&mut buffer, response.last_log_id.as_ref());
    buffer.put_u8(response.vote_granted.into());
    buffer.freeze()
}

pub(crate) fn decode_vote_response(mut bytes: Bytes) -> Result<VoteResponse<TypeConfig>, DecodeError> {
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_log_id(&mut bytes)?;
    need(&bytes, 1)?;
    let response = VoteResponse { vote, last_log_id, vote_granted: bytes.get_u8() != 0 };
    end(&bytes, "answer to a vote")?;
    Ok(response)
}

pub(crate) fn encode_snapshot_response(response: &SnapshotResponse<TypeConfig>) -> Bytes {
    let mut buffer = BytesMut::with_capacity(24);
    put_vote(&mut buffer, &response.vote);
    buffer.freeze()
}

pub(crate) fn decode_snapshot_response(mut bytes: Bytes) -> Result<SnapshotResponse<TypeConfig>, DecodeError> {
    let vote = get_vote(&mut bytes)?;
    end(&bytes, "answer to a snapshot")?;
    Ok(SnapshotResponse { vote })
}

/// Whether the transfer was taken up, and if not, why not: a line for the log.
pub(crate) fn encode_transfer_response(response: &Result<(), String>) -> Bytes {
    let reason = response.as_ref().err().map_or("", String::as_str);
    let mut buffer = BytesMut::with_capacity(1 + reason.len());
    buffer.put_u8(response.is_ok().into());
    buffer.put_slice(reason.as_bytes());
    buffer.freeze()
}

pub(crate) fn decode_transfer_response(mut bytes: Bytes) -> Result<Result<(), String>, DecodeError> {
    need(&bytes, 1)?;
    Ok(match bytes.get_u8() {
        1 => Ok(()),
        _ => Err(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// Entries with what the log order has decided of each: whether it was rejected, its base offset, and the end offset
/// after it. These are the same on every replica.
pub(crate) fn encode_entries(frames: &[Frame]) -> Bytes {
    let size = frames.iter().map(|frame| frame.payload.len() + 128).sum();
    let (mut buffer, mut parts, mut heads) = (BytesMut::with_capacity(size), Vec::new(), BytesMut::new());
    buffer.put_u32_le(frames.len() as u32);
    for frame in frames {
        buffer.put_u64_le(frame.next_offset);
        buffer.put_u8(frame.stamp.is_some().into());
        buffer.put_u64_le(frame.stamp.map_or(0, |stamp| stamp.base_offset));
        frame.encode_for_wire(&mut heads, &mut parts);
        parts.drain(..).for_each(|part| buffer.put(part));
    }
    buffer.freeze()
}

/// The opposite of [`encode_entries`]; every frame and batch is checked on the way.
pub(crate) fn decode_entries(mut bytes: Bytes, payload_bytes_max: u64) -> Result<Vec<Frame>, DecodeError> {
    need(&bytes, 4)?;
    let count = bytes.get_u32_le();
    let mut frames = Vec::new();
    for _ in 0..count {
        need(&bytes, 17)?;
        let (next_offset, accepted, base_offset) = (bytes.get_u64_le(), bytes.get_u8() != 0, bytes.get_u64_le());
        let mut frame = Frame::decode_from_wire(&mut bytes, payload_bytes_max)?;
        // As the log stamps them: see the tracker.
        let leader_epoch = i32::try_from(frame.term).unwrap_or(i32::MAX);
        frame.stamp = accepted.then_some(Stamp { base_offset, leader_epoch });
        frame.next_offset = next_offset;
        frames.push(frame);
    }
    end(&bytes, "entries")?;
    Ok(frames)
}
