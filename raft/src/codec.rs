//! Our own encoding of what Raft sends and keeps: votes, log ids, memberships, AppendEntries and its replies.
//! All integers are little-endian. Decoding checks every length before it allocates.

mod calls;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult},
    vote::RaftLeaderId,
};
use quorate_cluster_config::{NodeId, ReplicaId};
use quorate_log_engine::{Frame, FrameError, FrameKind};

pub(crate) use calls::{
    Call, decode_call, decode_entries, decode_snapshot_response, decode_transfer_response, decode_vote_response,
    encode_call, encode_entries, encode_snapshot_response, encode_transfer_response, encode_vote_response,
};

use crate::{
    partition::entries::{decode_expiry, decode_trim},
    types::{Entry, LogId, Membership, Proposal, TypeConfig, Vote, log_id},
};

/// Most configurations of a joint membership, and most members of one.
const CONFIGS_MAX: usize = 2;
const MEMBERS_MAX: usize = 64;

/// Bytes from a peer or from the disk that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The message ends too early.
    #[error("the message is cut short")]
    Short,
    /// A field has an impossible value.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A frame is damaged.
    #[error("damaged frame: {0}")]
    Frame(#[from] FrameError),
}

/// Greatest term and log index a message may name: far beyond any real one, and far from an overflow.
const TERM_MAX: u64 = i64::MAX as u64;
const INDEX_MAX: u64 = i64::MAX as u64;

pub(crate) fn end(bytes: &impl Buf, what: &'static str) -> Result<(), DecodeError> {
    if bytes.has_remaining() { Err(DecodeError::Malformed(what)) } else { Ok(()) }
}

pub(crate) fn need(bytes: &impl Buf, count: usize) -> Result<(), DecodeError> {
    if bytes.remaining() < count { Err(DecodeError::Short) } else { Ok(()) }
}

pub(crate) fn put_vote(buffer: &mut BytesMut, vote: &Vote) {
    buffer.put_u64_le(vote.leader_id.term);
    buffer.put_u64_le(vote.leader_id.voted_for.0);
    buffer.put_u8(vote.committed.into());
}

pub(crate) fn get_vote(bytes: &mut Bytes) -> Result<Vote, DecodeError> {
    need(bytes, 17)?;
    let (term, voted_for, committed) = (bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_u8() != 0);
    if term > TERM_MAX {
        return Err(DecodeError::Malformed("vote"));
    }
    Ok(Vote { leader_id: RaftLeaderId::new(term, ReplicaId(voted_for)), committed })
}

pub(crate) fn put_log_id(buffer: &mut BytesMut, id: Option<&LogId>) {
    buffer.put_u8(id.is_some().into());
    buffer.put_u64_le(id.map_or(0, |id| id.leader_id.term));
    buffer.put_u64_le(id.map_or(0, |id| id.index));
}

pub(crate) fn get_log_id(bytes: &mut Bytes) -> Result<Option<LogId>, DecodeError> {
    need(bytes, 17)?;
    let (some, term, index) = (bytes.get_u8() != 0, bytes.get_u64_le(), bytes.get_u64_le());
    if term > TERM_MAX || index > INDEX_MAX {
        return Err(DecodeError::Malformed("log id"));
    }
    Ok(some.then(|| log_id(term, index)))
}

/// Joint configurations, then all nodes: counts as u16, ids as u64.
pub(crate) fn encode_membership(membership: &Membership) -> Bytes {
    let mut buffer = BytesMut::new();
    let configs = membership.get_joint_config();
    buffer.put_u16_le(configs.len() as u16);
    for config in configs {
        buffer.put_u16_le(config.len() as u16);
        config.iter().for_each(|replica| buffer.put_u64_le(replica.0));
    }
    let nodes: Vec<_> = membership.nodes().collect();
    buffer.put_u16_le(nodes.len() as u16);
    for (replica, node) in nodes {
        buffer.put_u64_le(replica.0);
        buffer.put_u64_le(node.0);
    }
    buffer.freeze()
}

pub(crate) fn decode_membership(mut bytes: Bytes) -> Result<Membership, DecodeError> {
    let count = |bytes: &mut Bytes, max: usize| {
        need(bytes, 2)?;
        let count = usize::from(bytes.get_u16_le());
        if count > max { Err(DecodeError::Malformed("membership")) } else { Ok(count) }
    };
    let mut configs = Vec::with_capacity(CONFIGS_MAX);
    for _ in 0..count(&mut bytes, CONFIGS_MAX)? {
        let members = count(&mut bytes, MEMBERS_MAX)?;
        need(&bytes, members * 8)?;
        configs.push((0..members).map(|_| ReplicaId(bytes.get_u64_le())).collect::<BTreeSet<_>>());
    }
    let nodes = count(&mut bytes, MEMBERS_MAX)?;
    need(&bytes, nodes * 16)?;
    let nodes: BTreeMap<_, _> =
        (0..nodes).map(|_| (ReplicaId(bytes.get_u64_le()), NodeId(bytes.get_u64_le()))).collect();
    end(&bytes, "membership")?;
    Membership::new(configs, nodes).map_err(|_| DecodeError::Malformed("membership"))
}

/// An entry as a frame. Stamp and next offset are for the log store to fill in.
pub(crate) fn frame_of(entry: &Entry) -> Frame {
    let (kind, leader_time_ms, expected_end_offset, payload) = match &entry.payload {
        EntryPayload::Blank => (FrameKind::Blank, 0, None, Bytes::new()),
        EntryPayload::Membership(membership) => (FrameKind::Membership, 0, None, encode_membership(membership)),
        EntryPayload::Normal(proposal) => {
            (proposal.kind, proposal.leader_time_ms, proposal.expected_end_offset, proposal.payload.clone())
        }
    };
    let (term, index) = (entry.log_id.leader_id.term, entry.log_id.index);
    Frame { kind, term, index, leader_time_ms, expected_end_offset, payload, stamp: None, next_offset: 0 }
}

pub(crate) fn entry_of(frame: Frame) -> Result<Entry, DecodeError> {
    let log_id = log_id(frame.term, frame.index);
    let payload = match frame.kind {
        FrameKind::Blank => EntryPayload::Blank,
        FrameKind::Membership => EntryPayload::Membership(decode_membership(frame.payload)?),
        FrameKind::Batch | FrameKind::Command | FrameKind::Trim | FrameKind::ProducerExpiry => {
            // What does not decode must not get as far as the log, whose state it is to change.
            match frame.kind {
                FrameKind::Trim => drop(decode_trim(frame.payload.clone())?),
                FrameKind::ProducerExpiry => drop(decode_expiry(frame.payload.clone())?),
                _ => {}
            }
            EntryPayload::Normal(Proposal {
                kind: frame.kind,
                leader_time_ms: frame.leader_time_ms,
                expected_end_offset: frame.expected_end_offset,
                payload: frame.payload,
                queued: None,
                claim: None,
            })
        }
        FrameKind::Vote | FrameKind::Start => {
            return Err(DecodeError::Malformed("entry: a frame of this kind is none"));
        }
    };
    Ok(Entry { log_id, payload })
}

/// An AppendEntries request as the parts to be sent one after the other, and their size together. Batches are shared,
/// not copied.
pub(crate) fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> (Vec<Bytes>, usize) {
    let mut heads = BytesMut::with_capacity(64 + request.entries.len() * 96);
    put_vote(&mut heads, &request.vote);
    put_log_id(&mut heads, request.prev_log_id.as_ref());
    put_log_id(&mut heads, request.leader_commit.as_ref());
    heads.put_u32_le(request.entries.len() as u32);
    let mut parts = Vec::with_capacity(1 + request.entries.len() * 2);
    parts.push(heads.split().freeze());
    request.entries.iter().for_each(|entry| frame_of(entry).encode_for_wire(&mut heads, &mut parts));
    let size = parts.iter().map(Bytes::len).sum();
    (parts, size)
}

/// Checks every frame and batch on the way.
pub(crate) fn decode_append(
    mut bytes: Bytes,
    payload_bytes_max: u64,
) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
    let vote = get_vote(&mut bytes)?;
    let prev_log_id = get_log_id(&mut bytes)?;
    let leader_commit = get_log_id(&mut bytes)?;
    need(&bytes, 4)?;
    let count = bytes.get_u32_le();
    let mut entries = Vec::new();
    // Entries out of order must not get as far as the log: it takes them for a bug and stops.
    let (mut term, mut index) = prev_log_id.map_or((0, 0), |id| (id.leader_id.term, id.index + 1));
    for _ in 0..count {
        let frame = Frame::decode_from_wire(&mut bytes, payload_bytes_max)?;
        if frame.index != index || frame.term < term || frame.term > vote.leader_id.term {
            return Err(DecodeError::Malformed("order of entries"));
        }
        (term, index) = (frame.term, index + 1);
        entries.push(entry_of(frame)?);
    }
    end(&bytes, "AppendEntries")?;
    Ok(AppendEntriesRequest { vote, prev_log_id, leader_commit, entries })
}

const MATCHED: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;

pub(crate) fn encode_reply(reply: &StreamAppendResult<TypeConfig>) -> Bytes {
    let mut buffer = BytesMut::with_capacity(24);
    match reply {
        Ok(id) => {
            buffer.put_u8(MATCHED);
            put_log_id(&mut buffer, id.as_ref());
        }
        Err(StreamAppendError::Conflict(id)) => {
            buffer.put_u8(CONFLICT);
            put_log_id(&mut buffer, Some(id));
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            buffer.put_u8(HIGHER_VOTE);
            put_vote(&mut buffer, vote);
        }
    }
    buffer.freeze()
}

pub(crate) fn decode_reply(mut bytes: Bytes) -> Result<StreamAppendResult<TypeConfig>, DecodeError> {
    need(&bytes, 1)?;
    let reply = match bytes.get_u8() {
        MATCHED => Ok(get_log_id(&mut bytes)?),
        CONFLICT => {
            let id = get_log_id(&mut bytes)?.ok_or(DecodeError::Malformed("conflict"))?;
            Err(StreamAppendError::Conflict(id))
        }
        HIGHER_VOTE => Err(StreamAppendError::HigherVote(get_vote(&mut bytes)?)),
        _ => return Err(DecodeError::Malformed("reply to AppendEntries")),
    };
    end(&bytes, "reply to AppendEntries")?;
    Ok(reply)
}

#[cfg(test)]
mod tests;
