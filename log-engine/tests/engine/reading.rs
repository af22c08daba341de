//! Hot and cold reads, at the edges between the two and at the end of what is written.

use quorate_log_engine::ReadStart;

use crate::support::{Fixture, Model, batch, command, engine, image};

/// Forty entries of all sorts on stable storage, of which few are in memory.
fn evicted(cache_bytes: usize) -> (Fixture, Model) {
    let (mut fixture, mut model) = (Fixture::closed(1_500), Model::default());
    fixture.engine = engine(cache_bytes);
    fixture.open().unwrap();
    for index in 0..40 {
        let offset = model.end_offset();
        let frame = match index % 5 {
            1 => command(1, index, offset, "a command"),
            3 => batch(1, index, offset, 1, false),
            _ => batch(1, index, offset, 1 + index % 3, true),
        };
        model.append(std::slice::from_ref(&frame));
        fixture.append(vec![frame]).unwrap();
        if index % 7 == 0 {
            fixture.vote(1, index).unwrap();
        }
    }
    (fixture, model)
}

#[test]
fn every_offset_finds_its_batch_below_every_end() {
    for cache_bytes in [0, 400, 1_000, 1 << 20] {
        let (fixture, model) = evicted(cache_bytes);
        for offset in 0..model.end_offset() {
            let holder = model.frames().iter().find(|frame| frame.next_offset > offset).unwrap();
            for end in 0..=40 {
                let (frames, _) = fixture.read(ReadStart::Offset(offset), end, 500).unwrap();
                let found = frames.first().map(image);
                assert_eq!(found.as_ref(), Some(holder).filter(|holder| holder.index < end), "{offset} below {end}");
                assert!(frames.iter().all(|frame| frame.index < end), "nothing at or behind the end");
            }
        }
        assert!(fixture.read(ReadStart::Offset(model.end_offset()), 40, 500).unwrap().0.is_empty());
    }
}

#[test]
fn every_index_is_read_as_it_was_appended() {
    for cache_bytes in [0, 400, 1 << 20] {
        let (mut fixture, model) = evicted(cache_bytes);
        for _ in 0..2 {
            assert_eq!(fixture.read_all().unwrap(), model.frames());
            for index in 0..40 {
                let (frames, _) = fixture.read(ReadStart::Index(index), index + 1, 1 << 20).unwrap();
                assert_eq!(frames.iter().map(image).collect::<Vec<_>>(), model.frames()[index as usize..][..1]);
                assert_eq!(fixture.log().term_of(index), Some(1));
            }
            assert!(fixture.read(ReadStart::Index(40), 50, 1).unwrap().0.is_empty());
            assert_eq!(fixture.log().term_of(40), None);
            fixture.open().unwrap();
        }
    }
}

#[test]
fn what_a_cold_read_has_read_is_given_up_to_the_page_cache_but_for_its_end() {
    let (mut fixture, mut model) = (Fixture::closed(64 << 20), Model::default());
    fixture.engine = engine(0);
    fixture.open().unwrap();
    let large = "x".repeat(100_000);
    for index in 0..80 {
        let frame = command(1, index, model.end_offset(), &large);
        model.append(std::slice::from_ref(&frame));
        fixture.append(vec![frame]).unwrap();
    }
    let path = fixture.disk.paths().into_iter().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    let before = fixture.disk.bytes_given_up(&path);
    assert_eq!(fixture.read_all().unwrap(), model.frames());
    let given_up = fixture.disk.bytes_given_up(&path) - before;
    assert!((5_700_000..8_000_000).contains(&given_up), "{given_up} bytes of 8 MB, all but the last 2 MiB");
}

#[test]
fn frames_read_back_do_not_hold_on_to_more_than_twice_their_size() {
    let (mut fixture, mut model) = (Fixture::closed(64 << 20), Model::default());
    fixture.engine = engine(0);
    fixture.open().unwrap();
    let large = "x".repeat(100_000);
    for index in 0..40 {
        let frame = command(1, index, model.end_offset(), if index % 4 == 0 { "small" } else { &large });
        model.append(std::slice::from_ref(&frame));
        fixture.append(vec![frame]).unwrap();
    }
    let read = |bytes_max| fixture.read(ReadStart::Index(0), 40, bytes_max).unwrap().0;
    let (few, many) = (read(1), read(2 << 20));
    assert!(few.len() == 1 && few[0].payload.is_unique(), "memory of its own");
    assert!(many.len() > 20 && !many[1].payload.is_unique(), "many share what was read at once, and are not copied");
    assert_eq!(many.iter().map(image).collect::<Vec<_>>(), model.frames()[..many.len()]);
}

#[test]
fn a_cold_read_does_not_mind_what_is_not_written_yet() {
    let (fixture, mut model) = evicted(0);
    fixture.disk.close_writes();
    let frames: Vec<_> = (40..60).map(|index| command(2, index, model.end_offset(), "not written yet")).collect();
    model.append(&frames);
    let done = fixture.append_later(frames);
    fixture.disk.wait_for_write();
    assert_eq!(fixture.read_all().unwrap(), model.frames());
    fixture.disk.open_gates();
    done.recv().unwrap().unwrap();
}

#[test]
fn a_truncation_behind_an_evicted_entry_does_not_mind_what_is_not_written_yet() {
    for last in 0..45 {
        let (mut fixture, mut model) = evicted(0);
        fixture.disk.close_writes();
        let frames: Vec<_> = (40..46).map(|index| command(2, index, model.end_offset(), "not written yet")).collect();
        model.append(&frames);
        fixture.append_later(frames);
        fixture.disk.wait_for_write();
        fixture.log().truncate_after(Some(last)).unwrap();
        model.truncate(last as usize + 1);
        assert_eq!(fixture.log().end_offset(), model.end_offset());
        fixture.disk.open_gates();
        fixture.vote(model.vote(), 1).unwrap();
        model.acknowledge();
        assert_eq!(fixture.read_all().unwrap(), model.frames());
        fixture.open().unwrap();
        model.check_opened(&fixture, &format!("truncated after {last}"));
    }
}

#[test]
fn the_tail_cache_is_bounded_but_for_what_is_not_on_stable_storage() {
    let (fixture, model) = evicted(1_000);
    let hot = |index: &u64| fixture.read(ReadStart::Index(*index), index + 1, 1).unwrap().1;
    let held: Vec<u64> = (0..40).filter(hot).collect();
    let bytes: usize = held.iter().map(|index| model.frames()[*index as usize].payload.len()).sum();
    assert!((500..=1_000).contains(&bytes), "{bytes} bytes are held");
    assert_eq!(held, (40 - held.len() as u64..40).collect::<Vec<_>>(), "the newest are held");

    fixture.disk.close_syncs();
    let frames = (40..140).map(|index| command(1, index, model.end_offset(), &"x".repeat(100))).collect();
    let done = fixture.append_later(frames);
    assert!((40..140).all(|index| hot(&index)), "what is not on stable storage is never evicted");
    fixture.disk.open_gates();
    done.recv().unwrap().unwrap();
    assert!((10..=11).contains(&(0..140).filter(hot).count()));
}
