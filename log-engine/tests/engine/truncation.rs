//! What was truncated never comes back.

use quorate_log_engine::Vote;

use crate::support::{Fixture, Model, PowerCut, batch, engine, image};

#[test]
fn a_stale_tail_never_comes_back() {
    for last in [None, Some(0), Some(2), Some(5), Some(10), Some(11)] {
        for appends in [0, 1, 5] {
            for reopen_before in [false, true] {
                let mut fixture = Fixture::new(600);
                let mut frames = Vec::new();
                (0..12).for_each(|_| frames.extend(fixture.append_batches(1, 1)));
                fixture.vote(2, 5).unwrap();
                if reopen_before {
                    fixture.open().unwrap();
                }
                fixture.log().truncate_after(last).unwrap();
                frames.truncate(last.map_or(0, |last| last as usize + 1));
                (0..appends).for_each(|_| frames.extend(fixture.append_batches(2, 1)));
                let frames: Vec<_> = frames.iter().map(image).collect();
                fixture.barrier();
                for cut in [PowerCut::LoseAll, PowerCut::TearLast] {
                    assert_eq!(fixture.read_all().unwrap(), frames);
                    assert_eq!(fixture.log().vote(), Some(Vote { term: 2, voted_for: 5, committed: false }));
                    fixture.power_cut_and_open(cut).unwrap();
                }
                assert_eq!(fixture.read_all().unwrap(), frames);
            }
        }
    }
}

#[test]
fn a_committed_vote_survives_in_the_header_of_a_segment() {
    let mut fixture = Fixture::new(600);
    fixture.append_batches(1, 2);
    let vote = Vote { term: u64::MAX - 1, voted_for: u64::MAX, committed: true };
    let (done, receiver) = std::sync::mpsc::channel();
    fixture.log().save_vote(vote, Box::new(move |result| drop(done.send(result))));
    receiver.recv().unwrap().unwrap();
    fixture.log().truncate_after(Some(0)).unwrap();
    fixture.barrier();
    fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
    assert_eq!((fixture.log().vote(), fixture.log().next_index()), (Some(vote), 1));
}

#[test]
fn term_starts_follow_a_truncation() {
    let mut fixture = Fixture::new(600);
    for (term, count) in [(1, 3), (2, 2), (4, 3)] {
        fixture.append_batches(term, count);
    }
    assert_eq!(fixture.log().term_starts(1..=7), [(1, 1), (2, 3), (4, 5), (4, 7)]);
    fixture.log().truncate_after(Some(3)).unwrap();
    fixture.append_batches(5, 2);
    for _ in 0..2 {
        assert_eq!(fixture.log().term_starts(0..=5), [(1, 0), (2, 3), (5, 4), (5, 5)]);
        assert_eq!(fixture.log().term_starts(2..=2), [(1, 2)]);
        fixture.open().unwrap();
    }
}

#[test]
fn a_truncation_to_the_start_of_a_trimmed_log_finds_its_end() {
    for cache_bytes in [0, 1 << 20] {
        let (mut fixture, mut model) = (Fixture::closed(700), Model::default());
        fixture.engine = engine(cache_bytes);
        fixture.open().unwrap();
        for index in 0..20 {
            let frame = batch(1, index, index, 1, true);
            model.append(std::slice::from_ref(&frame));
            fixture.append(vec![frame]).unwrap();
        }
        fixture.barrier();
        let first = fixture.log().last_checkpoint(12).unwrap().0;
        model.trim(first as usize);
        fixture.trim(first, first).unwrap();
        fixture.barrier();
        model.truncate(first as usize);
        fixture.truncate(first).unwrap();
        let frame = batch(2, first, first, 1, true);
        model.append(std::slice::from_ref(&frame));
        fixture.append(vec![frame]).unwrap();
        model.acknowledge();
        fixture.options.settled_through = first.checked_sub(1);
        fixture.close();
        fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
        model.check_opened(&fixture, "trimmed, then truncated");
    }
}
