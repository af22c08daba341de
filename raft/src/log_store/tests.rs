#![expect(clippy::unwrap_used, reason = "tests")]
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use quorate_cluster_config::NodeId;
use quorate_faulty_vfs::Disk;
use quorate_log_engine::{EngineOptions, FrameKind, LogEngine, LogOptions, RecoveredEntry, Recovery};
use quorate_record::{BatchBuilder, Compression, ProducerStamp, Record};

use super::*;
use crate::{
    partition::{PartitionRecovery, PartitionState, Tracker},
    types::{Membership, Proposal},
};

const DIRECTORY: &str = "/log";

struct Nothing;

impl Recovery for Nothing {
    fn restore(&mut self, _: u64, _: bytes::Bytes) -> Result<(), String> {
        Err("the log is new".to_owned())
    }

    fn entry(&mut self, _: RecoveredEntry<'_>) -> Result<(), String> {
        Err("the log is new".to_owned())
    }
}

/// A partition's log store on a disk in memory, with segments of a few batches.
fn open() -> (LogStore, Arc<LogEngine>) {
    let engine = LogEngine::start(EngineOptions::default()).unwrap();
    let options = LogOptions {
        replica: 1,
        owner: 2,
        segment_bytes: 900,
        payload_bytes_max: 1 << 20,
        must_exist: false,
        settled_through: None,
    };
    let vfs = Disk::default().vfs();
    let log = quorate_log_engine::Log::open(&engine, vfs, Path::new(DIRECTORY), &options, &mut Nothing).unwrap().log;
    let opened = OpenedLog {
        log,
        committed: None,
        scanned_from: 0,
        memberships: Memberships::default(),
        snapshots: Snapshots::default(),
    };
    let machine = PartitionRecovery::default().into_machine(None);
    (LogStore::new(opened, Some(machine), CatchUp::new(0)), engine)
}

fn membership(term: u64, index: u64, voters: &[u64]) -> Entry {
    let nodes: BTreeMap<_, _> = voters.iter().map(|id| (ReplicaId(*id), NodeId(*id))).collect();
    let voters: BTreeSet<_> = nodes.keys().copied().collect();
    let membership = Membership::new(vec![voters], nodes).unwrap();
    Entry { log_id: log_id(term, index), payload: EntryPayload::Membership(membership) }
}

/// One of three producers' next batch, or a retry: what it means depends on all before it.
fn batch(term: u64, index: u64) -> Entry {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(&Record::new(format!("entry {index} of term {term}"), 1));
    let stamp = ProducerStamp { producer_id: (index % 3) as i64, producer_epoch: 0, base_sequence: (index / 6) as i32 };
    let payload = builder.build(stamp).unwrap();
    let proposal = Proposal {
        kind: FrameKind::Batch,
        leader_time_ms: 5,
        expected_end_offset: None,
        payload,
        queued: None,
        claim: None,
    };
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(proposal) }
}

/// The state after these entries.
fn state_of(entries: &[Entry]) -> PartitionState {
    let mut tracker = Tracker::default();
    entries.iter().for_each(|entry| tracker.append(&mut codec::frame_of(entry)).unwrap());
    tracker.state().clone()
}

async fn append(store: &mut LogStore, entries: &[Entry]) {
    store.append(entries.to_vec(), IOFlushed::noop()).await.unwrap();
}

/// The checkpoint of the segment that holds an entry, once all that were asked for are on the disk.
async fn checkpoint_at(store: &LogStore, engine: &LogEngine, index: u64) -> (u64, Checkpoint) {
    // What is encoded on other threads holds the store until it is done.
    while Arc::strong_count(&store.0) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (done, drained) = oneshot::channel();
    store.log().barrier(move || _ = done.send(()));
    drained.await.unwrap();
    assert!(engine.wait_for_maintenance(Duration::from_secs(5)));
    let (base_index, state) = store.log().last_checkpoint(index).unwrap();
    (base_index, Checkpoint::decode(state).unwrap())
}

#[tokio::test]
async fn a_segment_begins_with_the_state_before_it_also_in_the_middle_of_an_append() {
    let (mut store, engine) = open();
    let mut entries = vec![membership(1, 0, &[1, 2, 3])];
    entries.extend((1..40).map(|index| batch(1, index)));
    // All at once, so that many segments begin within one append; then one by one.
    append(&mut store, &entries[..20]).await;
    for entry in &entries[20..] {
        append(&mut store, std::slice::from_ref(entry)).await;
    }
    let mut bases = BTreeSet::new();
    for index in 5..40 {
        let (base_index, checkpoint) = checkpoint_at(&store, &engine, index).await;
        assert_eq!(
            checkpoint.state,
            GroupState::Partition(state_of(&entries[..base_index as usize])),
            "before {base_index}"
        );
        assert_eq!(checkpoint.membership.log_id(), &Some(log_id(1, 0)));
        bases.insert(base_index);
    }
    assert!(bases.len() > 8, "{bases:?}");
}

#[tokio::test]
async fn what_was_truncated_leaves_no_trace_in_a_checkpoint() {
    let (mut store, engine) = open();
    let mut entries = vec![membership(1, 0, &[1, 2, 3])];
    entries.extend((1..12).map(|index| batch(1, index)));
    append(&mut store, &entries).await;
    store.save_committed(Some(log_id(1, 8))).await.unwrap();
    // A membership that will not last, and segments behind it.
    let mut lost = entries.clone();
    lost.push(membership(1, 12, &[1, 2]));
    lost.extend((13..24).map(|index| batch(1, index)));
    append(&mut store, &lost[12..]).await;
    let (base_index, checkpoint) = checkpoint_at(&store, &engine, 23).await;
    assert!(base_index > 12);
    assert_eq!(checkpoint.membership.log_id(), &Some(log_id(1, 12)));

    // The truncation begins a segment of its own, and so do the entries that come instead.
    store.truncate_after(Some(log_id(1, 10))).await.unwrap();
    let mut kept = entries[..11].to_vec();
    let (base_index, checkpoint) = checkpoint_at(&store, &engine, 23).await;
    assert_eq!((base_index, checkpoint.state), (11, GroupState::Partition(state_of(&kept))));
    assert_eq!(checkpoint.membership.log_id(), &Some(log_id(1, 0)));
    kept.extend((11..24).map(|index| batch(2, index)));
    append(&mut store, &kept[11..]).await;
    let (base_index, checkpoint) = checkpoint_at(&store, &engine, 23).await;
    assert!(base_index > 11);
    assert_eq!(checkpoint.state, GroupState::Partition(state_of(&kept[..base_index as usize])));
    assert_eq!(checkpoint.membership.log_id(), &Some(log_id(1, 0)), "the other membership is gone");
}

#[tokio::test]
async fn a_state_taken_before_a_truncation_is_not_kept_after_it() {
    let (mut store, engine) = open();
    let lost: Vec<_> = (0..12).map(|index| batch(1, index)).collect();
    append(&mut store, &lost).await;
    let truncations = *lock(&store.0.truncations);
    store.truncate_after(None).await.unwrap();
    let kept: Vec<_> = (0..12).map(|index| batch(2, index)).collect();
    append(&mut store, &kept).await;
    let (base_index, checkpoint) = checkpoint_at(&store, &engine, 11).await;
    assert!(base_index > 0);
    // As if the thread that was to keep the state of before had been slow.
    store.0.keep(base_index, &Checkpoint::default(), truncations);
    assert_eq!(checkpoint_at(&store, &engine, 11).await, (base_index, checkpoint));
    store.0.keep(base_index, &Checkpoint::default(), truncations + 1);
    assert_eq!(checkpoint_at(&store, &engine, 11).await, (base_index, Checkpoint::default()), "else it is kept");
}

#[tokio::test]
async fn the_key_log_ids_are_the_last_of_each_term() {
    let (mut store, _engine) = open();
    let terms = [1, 1, 1, 2, 3, 3, 5, 5, 5, 6];
    let entries: Vec<_> = terms.iter().zip(0..).map(|(term, index)| batch(*term, index)).collect();
    append(&mut store, &entries).await;
    for first in 0..entries.len() {
        for last in first..entries.len() {
            let range = &entries[first..=last];
            let mut expected: Vec<LogId> = range.iter().map(|entry| entry.log_id).collect();
            expected.reverse();
            expected.dedup_by_key(|id| id.leader_id);
            expected.reverse();
            let found = store.get_key_log_ids(entries[first].log_id..=entries[last].log_id).await.unwrap();
            assert_eq!(found, expected, "{first}..={last}");
        }
    }
}
