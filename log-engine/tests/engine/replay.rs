//! Every crash of a recorded workload: the disk as it was after each of its operations, cut in several ways.

use quorate_faulty_vfs::{Filter, OperationKind};
use quorate_log_engine::LogStart;

use crate::support::{Fixture, Model, PowerCut, batch, command};

#[derive(Clone, Copy, Debug)]
enum Step {
    Vote,
    /// A batch, a rejected batch, a command and a batch, in one go, so many times without waiting in between.
    Append(usize),
    /// Down to this many entries.
    Truncate(usize),
    /// So many entries will never be truncated.
    Settle(usize),
    /// The entries before this log index go.
    Trim(usize),
    Mark,
    /// The process ends and another one opens the log.
    Reopen,
}

use Step::{Append, Mark, Reopen, Settle, Trim, Truncate, Vote};

/// Rolls, truncates into the tail, into older segments and to a segment's beginning, trims within a segment, to the end,
/// and what a truncation is about to follow.
const WORKLOAD: &[Step] = &[
    Vote,
    Append(1),
    Append(3),
    Truncate(13),
    Vote,
    Append(2),
    Settle(10),
    Mark,
    Truncate(10),
    Append(3),
    Trim(7),
    Append(1),
    Reopen,
    Append(1),
    Settle(20),
    Trim(20),
    Truncate(20),
    Append(1),
    Vote,
    Truncate(21),
    Append(4),
    Settle(37),
    Reopen,
    Trim(37),
    Append(2),
    Mark,
    Settle(45),
    Trim(45),
    Reopen,
    Append(2),
];

struct Recorded {
    fixture: Fixture,
    model: Model,
    settled: usize,
    /// What was asked for while each step was under way, what was settled by then and whether the log was created.
    asked: Vec<(Model, usize)>,
}

fn four_frames(model: &Model, term: u64) -> Vec<quorate_log_engine::Frame> {
    let (index, offset) = (model.frames().len() as u64, model.end_offset());
    vec![
        batch(term, index, offset, 2, true),
        batch(term, index + 1, offset + 2, 1, false),
        command(term, index + 2, offset + 2, "odd size"),
        batch(term, index + 3, offset + 2, 1, true),
    ]
}

impl Recorded {
    fn asks(&mut self) {
        self.asked.push((self.model.clone(), self.settled));
    }

    fn step(&mut self, step: Step, term: u64) {
        match step {
            Vote => {
                let vote = self.model.vote();
                self.asks();
                self.fixture.vote(vote, 1).unwrap();
            }
            Append(times) => {
                let batches: Vec<_> = (0..times)
                    .map(|_| {
                        let frames = four_frames(&self.model, term);
                        self.model.append(&frames);
                        frames
                    })
                    .collect();
                self.asks();
                let done: Vec<_> = batches.into_iter().map(|frames| self.fixture.append_later(frames)).collect();
                done.iter().for_each(|done| crate::support::wait(done).unwrap());
            }
            Truncate(length) => {
                self.model.truncate(length);
                self.asks();
                self.fixture.truncate(length as u64).unwrap();
                self.fixture.barrier();
            }
            Trim(index) => {
                self.model.trim(index);
                self.asks();
                self.fixture.trim(index as u64, self.model.offset_before(index)).unwrap();
                self.fixture.barrier();
            }
            Settle(length) => {
                self.asks();
                self.settled = length;
            }
            Mark => {
                self.asks();
                self.fixture.log().mark_if_idle();
                self.fixture.barrier();
            }
            Reopen => {
                self.asks();
                self.fixture.close();
                self.fixture.options.settled_through = (self.settled as u64).checked_sub(1);
                self.fixture.open().unwrap();
                self.model.check_opened(&self.fixture, "reopened");
            }
        }
        self.model.acknowledge();
    }
}

#[test]
fn a_crash_after_any_operation_loses_nothing_acknowledged() {
    let mut run = Recorded { fixture: Fixture::closed(700), model: Model::default(), settled: 0, asked: Vec::new() };
    run.fixture.disk.record();
    run.asks();
    run.fixture.open().unwrap();
    run.fixture.options.must_exist = true;
    run.fixture.disk.note(0);
    for (at, step) in WORKLOAD.iter().enumerate() {
        run.step(*step, at as u64 + 1);
        run.fixture.disk.note(at as u64 + 1);
    }
    run.asks();
    run.fixture.close();
    let journal = run.fixture.disk.stop_recording();
    let count = |kind| journal.operations().iter().filter(|operation| operation.kind() == Some(kind)).count();
    assert!(journal.len() > 300, "{} operations", journal.len());
    assert!(
        count(OperationKind::Remove) > 10 && count(OperationKind::Rename) > 10,
        "checkpoints are made, segments go"
    );
    let engine = run.fixture.engine;
    for (length, disk) in journal.prefixes() {
        let done = journal.notes(length).last();
        let (model, settled) = &run.asked[done.map_or(0, |done| done as usize + 1)];
        let seeds = (0..5).map(|seed| PowerCut::Any(seed + 5 * length as u64));
        for cut in [None, Some(PowerCut::LoseAll), Some(PowerCut::TearLast)].into_iter().chain(seeds.map(Some)) {
            let mut fixture = Fixture::closed(700);
            (fixture.engine, fixture.disk) = (engine.clone(), disk.fork());
            fixture.options.must_exist = done.is_some();
            fixture.options.settled_through = (*settled as u64).checked_sub(1);
            cut.iter().for_each(|cut| fixture.disk.power_cut(*cut));
            let mut model = model.clone();
            let context = format!("{cut:?} after {length} operations, {done:?} done");
            fixture.open().unwrap_or_else(|error| panic!("{context}: {error}"));
            model.check_opened(&fixture, &context);
            // What the reopened log holds is on stable storage, though the process before may not have synced it; and the
            // log goes on from there.
            fixture.options.must_exist = true;
            fixture.power_cut_and_open(PowerCut::LoseAll).unwrap_or_else(|error| panic!("{context}, twice: {error}"));
            model.check_opened(&fixture, &format!("{context}, then once more"));
            let next = four_frames(&model, 1_000);
            model.append(&next);
            fixture.append(next).unwrap();
            model.acknowledge();
            fixture.power_cut_and_open(PowerCut::LoseAll).unwrap_or_else(|error| panic!("{context}, thrice: {error}"));
            model.check_opened(&fixture, &format!("{context}, with one more append"));
        }
    }
}

/// A log of several segments, trimmed so that only a checkpoint stands for its beginning; all work on it is done.
fn trimmed() -> (Fixture, Model) {
    let (fixture, mut model) = (Fixture::new(700), Model::default());
    for term in 1..8 {
        let frames = four_frames(&model, term);
        model.append(&frames);
        fixture.append(frames).unwrap();
    }
    model.acknowledge();
    fixture.barrier();
    model.trim(22);
    fixture.trim(22, model.offset_before(22)).unwrap();
    fixture.barrier();
    model.acknowledge();
    (fixture, model)
}

#[test]
fn a_checkpoint_is_on_stable_storage_before_what_it_stands_for_goes() {
    for cut in (0..50).map(PowerCut::Any).chain([PowerCut::LoseAll, PowerCut::KeepAll]) {
        let (mut fixture, mut model) = trimmed();
        fixture.options.settled_through = Some(21);
        fixture.power_cut_and_open(cut).unwrap_or_else(|error| panic!("{cut:?}: {error}"));
        model.check_opened(&fixture, &format!("{cut:?}"));
        assert!(fixture.visited.restored.is_some());
    }
}

#[test]
fn names_that_a_dead_process_left_unsynced_are_made_durable_by_the_open() {
    let (mut fixture, mut model) = (Fixture::new(700), Model::default());
    fixture.disk.ignore_syncs(Filter::on(OperationKind::SyncDirectory));
    for term in 1..6 {
        let frames = four_frames(&model, term);
        model.append(&frames);
        fixture.append(frames).unwrap();
    }
    fixture.close();
    fixture.disk.heal_all();
    model.acknowledge();
    fixture.options.settled_through = Some(19);
    fixture.open().unwrap();
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    model.check_opened(&fixture, "after the power cut");
}

#[test]
fn what_was_removed_stays_removed() {
    let (fixture, _) = trimmed();
    let paths = fixture.disk.paths();
    fixture.disk.power_cut(PowerCut::LoseAll);
    assert_eq!(fixture.disk.paths(), paths, "removed segments come back after a power cut");
    // A crash that keeps names from going leaves them to the next open, for good.
    let (mut fixture, _) = trimmed();
    let stray = crate::support::segment_path(900).with_extension("checkpoint.new");
    fixture.close();
    drop(fixture.disk.vfs().create(&stray).unwrap());
    fixture.open().unwrap();
    fixture.disk.power_cut(PowerCut::LoseAll);
    assert!(!fixture.disk.paths().contains(&stray), "what the open removes is gone for good");
}

#[test]
fn the_next_segment_is_made_ahead_of_its_time_with_its_zeros_and_its_name() {
    let fixture = Fixture::new(4_000);
    let mut model = Model::default();
    while fixture.segments().len() < 2 {
        let frames = four_frames(&model, 1);
        model.append(&frames);
        fixture.append(frames).unwrap();
        fixture.barrier();
    }
    assert_eq!(fixture.log().start(), LogStart::default());
    let next = fixture.segments().remove(1);
    assert!(fixture.disk.bytes(&next).iter().all(|byte| *byte == 0), "the log has not rolled yet");
    fixture.disk.power_cut(PowerCut::LoseAll);
    assert_eq!(fixture.disk.bytes(&next).len(), 4_000);
}
