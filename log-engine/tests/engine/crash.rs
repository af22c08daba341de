//! A crash at every single change a small workload makes to the disk, and the first fsync that fails.

use quorate_log_engine::LogFailure;

use crate::support::{Fixture, Model, PowerCut, batch, command, wait};

#[derive(Clone, Copy, Debug)]
enum Step {
    Vote,
    /// A batch, a rejected batch, a command and a batch, in one go.
    Append,
    /// As many times as asked, without waiting in between; then the last is waited for.
    Burst(usize),
    /// Down to this many entries.
    Truncate(usize),
    Mark,
    Reopen,
}

use Step::{Append, Burst, Mark, Reopen, Truncate, Vote};

/// Rolls segments, truncates within the newest, into an older one and to nothing, votes before and after.
const WORKLOAD: &[Step] = &[
    Vote,
    Append,
    Append,
    Vote,
    Burst(3),
    Truncate(18),
    Vote,
    Mark,
    Append,
    Append,
    Truncate(5),
    Append,
    Vote,
    Reopen,
    Append,
    Truncate(9),
    Vote,
    Truncate(2),
    Append,
    Truncate(0),
    Vote,
    Append,
    Reopen,
    Truncate(1),
    Reopen,
    Append,
];

const CUTS: &[Option<PowerCut>] = &[
    None,
    Some(PowerCut::LoseAll),
    Some(PowerCut::TearLast),
    Some(PowerCut::KeepSome(1)),
    Some(PowerCut::KeepSome(2)),
    Some(PowerCut::KeepSome(3)),
    Some(PowerCut::KeepSome(4)),
];

fn four_frames(model: &Model, term: u64) -> Vec<quorate_log_engine::Frame> {
    let (index, offset) = (model.frames().len() as u64, model.end_offset());
    vec![
        batch(term, index, offset, 2, true),
        batch(term, index + 1, offset + 2, 1, false),
        command(term, index + 2, offset + 2, "odd size"),
        batch(term, index + 3, offset + 2, 1, true),
    ]
}

fn step(fixture: &mut Fixture, model: &mut Model, step: Step, term: u64) -> Result<(), LogFailure> {
    match step {
        Vote => {
            let vote = model.vote();
            fixture.vote(vote, 1)?;
        }
        Append => {
            let frames = four_frames(model, term);
            model.append(&frames);
            fixture.append(frames)?;
        }
        Burst(count) => {
            let mut done = Vec::new();
            for _ in 0..count {
                let frames = four_frames(model, term);
                model.append(&frames);
                done.push(fixture.append_later(frames));
            }
            done.iter().try_for_each(wait)?;
        }
        Truncate(length) => {
            model.truncate(length);
            return fixture.truncate(length as u64);
        }
        Mark => {
            fixture.log().mark_if_idle();
            fixture.barrier();
        }
        Reopen => fixture.barrier(),
    }
    if !matches!(step, Mark | Reopen) {
        model.acknowledge();
    }
    Ok(())
}

/// Runs the workload until the disk has made `changes` changes; returns whether it was all done before.
fn run(fixture: &mut Fixture, model: &mut Model, changes: u64) -> bool {
    let mut left = changes;
    for (at, next) in WORKLOAD.iter().enumerate() {
        if at == 0 || matches!(next, Reopen) {
            if at > 0 {
                fixture.barrier();
                left -= fixture.disk.changes().min(left);
            }
            fixture.opened = None;
            let vfs = fixture.disk.vfs();
            fixture.disk.crash_after(left);
            if fixture.open_on(vfs).is_err() {
                return false;
            }
            fixture.options.must_exist = true;
            if at > 0 {
                model.check_opened(fixture, &format!("reopened at {at}"));
                continue;
            }
        }
        if step(fixture, model, *next, at as u64 + 1).is_err() {
            return false;
        }
    }
    fixture.barrier();
    fixture.disk.changes() < left
}

#[test]
fn a_crash_at_any_change_of_the_disk_loses_nothing_acknowledged() {
    for cut in CUTS {
        for changes in 0.. {
            let (mut fixture, mut model) = (Fixture::closed(700), Model::default());
            let finished = run(&mut fixture, &mut model, changes);
            if let Some(cut) = cut {
                fixture.disk.power_cut(*cut);
            }
            let context = format!("{cut:?} after {changes} changes");
            fixture.open().unwrap_or_else(|error| panic!("{context}: {error}"));
            model.check_opened(&fixture, &context);
            // What the reopened log holds is on stable storage, though the process before may not have synced it.
            fixture.options.must_exist = true;
            fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
            model.check_opened(&fixture, &format!("{context}, then once more"));
            let next = four_frames(&model, 1_000);
            model.append(&next);
            fixture.append(next).unwrap();
            model.acknowledge();
            fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
            model.check_opened(&fixture, &format!("{context}, with one more append"));
            if finished {
                assert!(changes > 80, "the workload is about {changes} changes long");
                break;
            }
        }
    }
}

#[test]
fn a_failed_sync_poisons_the_log_and_a_reopened_one_writes_the_lost_pages_again() {
    for steps in 0..WORKLOAD.len() {
        let (mut fixture, mut model) = (Fixture::new(700), Model::default());
        for (at, next) in WORKLOAD[..steps].iter().enumerate().filter(|(_, next)| !matches!(next, Reopen)) {
            step(&mut fixture, &mut model, *next, at as u64 + 1).unwrap();
        }
        fixture.barrier();
        fixture.fail_syncs();
        assert!(step(&mut fixture, &mut model, Append, 100).is_err());
        fixture.disk.heal_all();
        let failure = fixture.log().failure().unwrap().to_string();
        assert!(failure.contains("the disk is broken") && failure.contains(".log"), "{failure}");
        assert!(fixture.append(vec![command(100, fixture.log().next_index(), 0, "")]).is_err());
        assert!(fixture.vote(1_000, 1).is_err());
        assert!(fixture.log().truncate_after(None).is_err());
        fixture.open().unwrap();
        model.check_opened(&fixture, "the process died, the power stayed on");
        fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
        model.check_opened(&fixture, "then the power failed");
    }
}

#[test]
fn a_refused_append_may_ask_the_log_from_its_completion() {
    let mut fixture = Fixture::new(700);
    fixture.fail_syncs();
    assert!(fixture.append(vec![command(1, 0, 0, "")]).is_err());
    let log = std::sync::Arc::new(fixture.opened.take().unwrap().log);
    let (done, receiver) = std::sync::mpsc::channel();
    let asked = log.clone();
    log.append(Vec::new(), Box::new(move |result| done.send((asked.next_index(), result.is_err())).unwrap()));
    assert_eq!(receiver.recv().unwrap(), (1, true));
}
