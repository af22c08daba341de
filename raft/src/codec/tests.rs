#![expect(clippy::unwrap_used, reason = "tests")]
use proptest::prelude::*;
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

use openraft::{
    alias::{SnapshotMetaOf, SnapshotOf},
    raft::{TransferLeaderRequest, VoteRequest, VoteResponse},
};

use super::*;

fn membership() -> Membership {
    let configs = vec![BTreeSet::from([ReplicaId(4), ReplicaId(5)]), BTreeSet::from([ReplicaId(5), ReplicaId(9)])];
    let nodes = BTreeMap::from([4, 5, 9, 11].map(|id| (ReplicaId(id), NodeId(id * 10))));
    Membership::new(configs, nodes).unwrap()
}

#[test]
fn a_joint_membership_with_a_learner_survives_the_encoding() {
    assert_eq!(decode_membership(encode_membership(&membership())).unwrap(), membership());
}

#[test]
fn append_entries_survives_the_encoding_and_refuses_every_cut() {
    let request = AppendEntriesRequest::<TypeConfig> {
        vote: Vote { leader_id: RaftLeaderId::new(7, ReplicaId(3)), committed: true },
        prev_log_id: Some(log_id(6, 41)),
        leader_commit: None,
        entries: vec![
            Entry { log_id: log_id(7, 42), payload: EntryPayload::Blank },
            Entry { log_id: log_id(7, 43), payload: EntryPayload::Membership(membership()) },
            Entry {
                log_id: log_id(7, 44),
                payload: EntryPayload::Normal(Proposal {
                    kind: FrameKind::Command,
                    leader_time_ms: 5,
                    expected_end_offset: Some(9),
                    payload: Bytes::from_static(b"command"),
                    queued: None,
                    claim: None,
                }),
            },
        ],
    };
    let (parts, size) = encode_append(&request);
    let bytes = Bytes::from(parts.concat());
    assert_eq!(bytes.len(), size);
    let decoded = decode_append(bytes.clone(), 1 << 20).unwrap();
    assert_eq!(decoded.entries, request.entries);
    assert_eq!((decoded.vote, decoded.prev_log_id), (request.vote, request.prev_log_id));
    for cut in 0..bytes.len() {
        assert!(decode_append(bytes.slice(..cut), 1 << 20).is_err(), "cut at {cut}");
    }
}

fn request(entries: Vec<Entry>) -> AppendEntriesRequest<TypeConfig> {
    let vote = Vote { leader_id: RaftLeaderId::new(7, ReplicaId(3)), committed: true };
    AppendEntriesRequest { vote, prev_log_id: Some(log_id(6, 41)), leader_commit: Some(log_id(6, 40)), entries }
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&Record::new("value", 1));
    builder.build(ProducerStamp::NONE).unwrap()
}

fn entry(term: u64, index: u64) -> Entry {
    let proposal = Proposal {
        kind: FrameKind::Batch,
        leader_time_ms: 5,
        expected_end_offset: None,
        payload: batch(),
        queued: None,
        claim: None,
    };
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(proposal) }
}

fn decode(request: &AppendEntriesRequest<TypeConfig>) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
    decode_append(Bytes::from(encode_append(request).0.concat()), 1 << 20)
}

#[test]
fn entries_out_of_order_are_refused_before_the_log_sees_them() {
    assert!(decode(&request(vec![entry(6, 42), entry(7, 43)])).is_ok());
    for (what, entries) in [
        ("a gap behind the previous entry", vec![entry(7, 43)]),
        ("a gap between entries", vec![entry(7, 42), entry(7, 44)]),
        ("the same entry twice", vec![entry(7, 42), entry(7, 42)]),
        ("a term that goes back", vec![entry(7, 42), entry(6, 43)]),
        ("a term below the previous entry's", vec![entry(5, 42)]),
        ("a term above the leader's", vec![entry(8, 42)]),
    ] {
        assert!(matches!(decode(&request(entries)), Err(DecodeError::Malformed(_))), "{what}");
    }
    let far = AppendEntriesRequest { prev_log_id: Some(log_id(6, u64::MAX)), ..request(Vec::new()) };
    assert!(decode(&far).is_err(), "an index without a successor");
}

#[test]
fn a_batch_that_means_nothing_is_refused_before_the_log_sees_it() {
    let mut payload = batch().to_vec();
    // No records at all, under a checksum that is right.
    let count = quorate_record::layout::RECORD_COUNT;
    payload[count..count + 4].fill(0);
    let crc = quorate_record::layout::CRC;
    let sum = crc32c(&payload[crc + 4..]);
    payload[crc..crc + 4].copy_from_slice(&sum.to_be_bytes());
    let proposal = Proposal {
        kind: FrameKind::Batch,
        leader_time_ms: 5,
        expected_end_offset: None,
        payload: payload.into(),
        queued: None,
        claim: None,
    };
    let entry = Entry { log_id: log_id(7, 42), payload: EntryPayload::Normal(proposal) };
    assert!(decode(&request(vec![entry])).is_err());
}

/// CRC-32C, bit by bit: slow, and no dependency.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn calls_answers_and_replies_survive_the_encoding_and_refuse_a_tail() {
    let vote = Vote { leader_id: RaftLeaderId::new(7, ReplicaId(3)), committed: false };
    let call = encode_call(&Call::PreVote(VoteRequest { vote, last_log_id: None, leadership_transfer: true }));
    let Call::PreVote(decoded) = decode_call(call.clone()).unwrap() else { panic!("another call") };
    assert_eq!((decoded.vote, decoded.last_log_id, decoded.leadership_transfer), (vote, None, true));
    let answer = encode_vote_response(&VoteResponse { vote, last_log_id: Some(log_id(6, 41)), vote_granted: true });
    let decoded = decode_vote_response(answer.clone()).unwrap();
    assert_eq!((decoded.vote, decoded.last_log_id, decoded.vote_granted), (vote, Some(log_id(6, 41)), true));
    let replies = [Ok(None), Ok(Some(log_id(6, 41))), Err(StreamAppendError::Conflict(log_id(6, 41)))];
    for reply in replies.into_iter().chain([Err(StreamAppendError::HigherVote(vote))]) {
        let bytes = encode_reply(&reply);
        assert_eq!(decode_reply(bytes.clone()).unwrap(), reply);
        assert!(decode_reply([&bytes[..], &[0]].concat().into()).is_err());
    }
    assert!(decode_call([&call[..], &[0]].concat().into()).is_err());
    assert!(decode_vote_response([&answer[..], &[0]].concat().into()).is_err());
    assert!(decode_membership([&encode_membership(&membership())[..], &[0]].concat().into()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        let _ = decode_append(bytes.clone(), 1 << 20);
        let _ = decode_call(bytes.clone());
        let _ = decode_reply(bytes.clone());
        let _ = decode_vote_response(bytes.clone());
        let _ = decode_membership(bytes);
    }

    /// Closer to what is real: a message with some bytes changed. What is still taken is no larger than what came.
    #[test]
    fn no_damage_makes_a_decoder_panic_or_take_more_than_it_was_given(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let full = request(vec![entry(6, 42), entry(7, 43), Entry {
            log_id: log_id(7, 44),
            payload: EntryPayload::Membership(membership()),
        }]);
        let mut append = encode_append(&full).0.concat();
        let mut members = encode_membership(&membership()).to_vec();
        for (at, byte) in damage {
            let (in_append, in_members) = (at.index(append.len()), at.index(members.len()));
            append[in_append] = byte;
            members[in_members] = byte;
        }
        let size = append.len();
        if let Ok(taken) = decode_append(append.into(), 1 << 20) {
            prop_assert!(encode_append(&taken).1 <= size);
        }
        let _ = decode_membership(members.into());
    }
}

fn vote() -> Vote {
    Vote { leader_id: RaftLeaderId::new(7, ReplicaId(3)), committed: true }
}

#[test]
fn a_snapshot_survives_the_encoding_and_one_that_contradicts_itself_is_refused() {
    let snapshot = |last, membership_at| {
        let last_membership = crate::types::StoredMembership::new(membership_at, membership());
        let meta = SnapshotMetaOf::<TypeConfig> { last_log_id: last, last_membership };
        encode_call(&Call::Snapshot(vote(), SnapshotOf::<TypeConfig, Bytes> { meta, snapshot: "state".into() }))
    };
    let bytes = snapshot(Some(log_id(7, 41)), Some(log_id(6, 3)));
    let Call::Snapshot(found_vote, found) = decode_call(bytes.clone()).unwrap() else { panic!("another call") };
    assert_eq!((found_vote, found.snapshot), (vote(), Bytes::from("state")));
    assert_eq!(found.meta.last_log_id, Some(log_id(7, 41)));
    assert_eq!(found.meta.last_membership.membership(), &membership());
    // The state is what is left: its own checksums are looked at elsewhere.
    for cut in 0..bytes.len() - "state".len() {
        assert!(decode_call(bytes.slice(..cut)).is_err(), "cut at {cut}");
    }
    for contradiction in [
        snapshot(None, Some(log_id(6, 3))),
        snapshot(Some(log_id(8, 41)), Some(log_id(6, 3))),
        snapshot(Some(log_id(7, 41)), Some(log_id(7, 42))),
        snapshot(Some(log_id(7, 41)), None),
    ] {
        assert!(decode_call(contradiction).is_err());
    }
}

#[test]
fn a_transfer_and_a_request_for_entries_survive_the_encoding() {
    let transfer = TransferLeaderRequest::<TypeConfig>::new(vote(), ReplicaId(9), Some(log_id(6, 41)));
    let bytes = encode_call(&Call::Transfer(transfer.clone()));
    assert!(matches!(decode_call(bytes).unwrap(), Call::Transfer(found) if found == transfer));
    let bytes = encode_call(&Call::Entries { start: 3, end: 9, bytes_max: 77 });
    assert!(matches!(decode_call(bytes).unwrap(), Call::Entries { start: 3, end: 9, bytes_max: 77 }));
    for (start, end) in [(3, 3), (4, 3), (3, u64::MAX)] {
        assert!(decode_call(encode_call(&Call::Entries { start, end, bytes_max: 1 })).is_err());
    }
    for answer in [Ok(()), Err("not now".to_owned())] {
        assert_eq!(decode_transfer_response(encode_transfer_response(&answer)).unwrap(), answer);
    }
}

#[test]
fn entries_for_a_repair_carry_what_was_decided_of_them() {
    let frame = |index, stamp, next_offset| Frame {
        kind: FrameKind::Batch,
        term: 3,
        index,
        leader_time_ms: 5,
        expected_end_offset: None,
        payload: batch(),
        stamp,
        next_offset,
    };
    let stamp = quorate_log_engine::Stamp { base_offset: 70, leader_epoch: 3 };
    let frames = [frame(4, Some(stamp), 71), frame(5, None, 71)];
    let bytes = encode_entries(&frames);
    let found = decode_entries(bytes.clone(), 1 << 20).unwrap();
    assert_eq!(
        found.iter().map(|frame| (frame.index, frame.stamp, frame.next_offset)).collect::<Vec<_>>(),
        [(4, Some(stamp), 71), (5, None, 71)]
    );
    for cut in 0..bytes.len() {
        assert!(decode_entries(bytes.slice(..cut), 1 << 20).is_err(), "cut at {cut}");
    }
}
