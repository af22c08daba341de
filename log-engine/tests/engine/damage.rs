//! Torn or corrupt: one flipped byte anywhere never goes unnoticed, and never costs what a durable mark vouches for.

use quorate_log_engine::{FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, Vote};

use crate::support::{Disk, Fixture, Model, PowerCut, batch, command};

/// Appends entries of all sorts, one at a time.
fn append(fixture: &Fixture, model: &mut Model, term: u64, count: u64) {
    for _ in 0..count {
        let (index, offset) = (model.frames().len() as u64, model.end_offset());
        let frame = match index % 4 {
            1 => command(term, index, offset, "a command"),
            2 => batch(term, index, offset, 1, false),
            _ => batch(term, index, offset, 2, true),
        };
        model.append(std::slice::from_ref(&frame));
        fixture.append(vec![frame]).unwrap();
    }
}

/// A log of several segments, one of them truncated into, whose last frame vouches for everything before.
fn marked() -> (Fixture, Model) {
    let (mut fixture, mut model) = (Fixture::new(900), Model::default());
    fixture.vote(model.vote(), 3).unwrap();
    append(&fixture, &mut model, 1, 9);
    fixture.log().truncate_after(Some(2)).unwrap();
    model.truncate(3);
    fixture.vote(model.vote(), 3).unwrap();
    append(&fixture, &mut model, 2, 6);
    fixture.vote(model.vote(), 3).unwrap();
    append(&fixture, &mut model, 3, 2);
    model.acknowledge();
    fixture.log().mark_if_idle();
    fixture.close();
    (fixture, model)
}

#[test]
fn a_flipped_byte_anywhere_is_refused_cut_or_found_by_the_read() {
    let (mut fixture, model) = marked();
    let contents = fixture.disk.contents();
    let (mut refused, mut cut, mut unread) = (0, 0, 0);
    for (path, bytes) in &contents {
        for at in 0..bytes.len() {
            for mask in [0x01, 0xff] {
                fixture.disk = Disk::of(&contents);
                fixture.disk.damage(path, |bytes| bytes[at] ^= mask);
                let before = fixture.disk.contents();
                let context = format!("{} at {at}", path.display());
                match fixture.open() {
                    Err(_) => {
                        assert_eq!(fixture.disk.contents(), before, "{context}: a refused log is left as it is");
                        refused += 1;
                        continue;
                    }
                    Ok(()) => cut += u32::from(fixture.opened.as_ref().unwrap().torn_bytes > 0),
                }
                assert_eq!(fixture.log().next_index(), model.frames().len() as u64, "{context}: marked entries");
                assert_eq!(fixture.log().vote(), Some(Vote { term: 3, voted_for: 3, committed: false }), "{context}");
                match fixture.read_all() {
                    Ok(found) => assert_eq!(found, model.frames(), "{context}"),
                    Err(_) => unread += 1,
                }
            }
        }
    }
    assert!(refused > 1_000 && cut > 50 && unread > 100, "refused {refused}, cut {cut}, found by reads {unread}");
}

#[test]
fn a_flipped_byte_above_the_durable_mark_costs_no_more_than_what_follows() {
    let mut fixture = Fixture::new(1 << 20);
    let mut frames: Vec<_> = (0..4).map(|index| batch(1, index, index, 1, true)).collect();
    fixture.append(frames.clone()).unwrap();
    // Only the first of these names the four as durable.
    frames.extend((4..7).map(|index| batch(1, index, index, 1, true)));
    fixture.append(frames[4..].to_vec()).unwrap();
    fixture.close();
    let contents = fixture.disk.contents();
    let frames: Vec<_> = frames.iter().map(crate::support::image).collect();
    let mut lengths = std::collections::BTreeSet::new();
    // Behind the last frame are zeros.
    let end = contents[0].1.iter().rposition(|byte| *byte != 0).unwrap() + 9;
    for at in 0..end {
        fixture.disk = Disk::of(&contents);
        fixture.disk.damage(&contents[0].0, |bytes| bytes[at] ^= 0x10);
        if fixture.open().is_ok() {
            // Of the four the records are not read at the open, only their headers.
            let Ok(found) = fixture.read_all() else {
                assert!(fixture.log().next_index() == 7 && at < end * 2 / 3, "byte {at}");
                continue;
            };
            assert!(found.len() >= 4 && frames.starts_with(&found), "byte {at}");
            lengths.insert(found.len());
            // The cut is for good.
            fixture.power_cut_and_open(PowerCut::LoseAll).unwrap();
            assert_eq!(fixture.read_all().unwrap(), found);
        }
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [4, 5, 6, 7]);
}

#[test]
fn a_segment_cut_anywhere_is_refused_or_a_prefix() {
    let (mut fixture, model) = marked();
    let contents = fixture.disk.contents();
    for (path, bytes) in &contents {
        for size in 0..bytes.len() {
            fixture.disk = Disk::of(&contents);
            fixture.disk.damage(path, |bytes| bytes.truncate(size));
            if fixture.open().is_ok() && fixture.log().term_of(3) == Some(2) {
                let found = fixture.read_all().unwrap();
                assert!(model.frames().starts_with(&found), "{} of {size} bytes", path.display());
            }
        }
    }
}

#[test]
fn a_sound_frame_of_another_history_does_not_join_the_chain() {
    let log = |text: &str| {
        let mut fixture = Fixture::new(1 << 20);
        (0..3).for_each(|index| fixture.append(vec![command(1, index, 0, text)]).unwrap());
        fixture.close();
        fixture
    };
    let (mut fixture, other) = (log("one"), log("two"));
    let path = fixture.newest_segment();
    let stale = other.disk.bytes(&path);
    fixture.disk.damage(&path, |bytes| {
        let last = SEGMENT_HEADER_SIZE + 2 * (FRAME_HEADER_SIZE + 8);
        bytes[last..].copy_from_slice(&stale[last..]);
    });
    fixture.open().unwrap();
    assert_eq!(fixture.log().next_index(), 2);
}
