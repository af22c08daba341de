//! Torn or corrupt: one flipped byte anywhere never goes unnoticed, and never costs what a durable mark vouches for.

use quorate_log_engine::{FRAME_HEADER_SIZE, OpenError, ReadStart, SEGMENT_HEADER_SIZE, Vote};

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

#[test]
fn nothing_is_served_across_a_hole_whether_the_index_is_there_or_made_anew() {
    for lose_index in [false, true] {
        let mut fixture = Fixture::closed(100_000);
        fixture.engine = crate::support::engine(0);
        fixture.open().unwrap();
        // One finished segment of many frames, one entry behind it.
        let mut index = 0;
        while fixture.newest_segment() == fixture.segments()[0] {
            fixture.append(vec![batch(1, index, 2 * index, 2, true)]).unwrap();
            index += 1;
        }
        fixture.close();
        let first = fixture.segments().remove(0);
        let contents = fixture.disk.bytes(&first);
        fixture.disk.damage(&first, |bytes| bytes[40_000..60_000].fill(0xaa));
        if lose_index {
            fixture.disk.lose(&first.with_extension("index"));
        }
        fixture.options.settled_through = Some(index - 1);
        fixture.open().unwrap();
        let frame_bytes = contents.len() as u64 / index;
        let damaged = |index: u64| index * frame_bytes + 2 * frame_bytes > 40_000 && index * frame_bytes < 60_000;
        let mut failed = 0;
        for wanted in 0..index {
            for start in
                [ReadStart::Offset(2 * wanted), ReadStart::Index(wanted), ReadStart::Time(1_000 + wanted as i64)]
            {
                match fixture.read(start, u64::MAX, 1) {
                    Ok((frames, _)) => assert_eq!(frames[0].index, wanted, "{start:?} without the index: {lose_index}"),
                    Err(_) => failed += u64::from(damaged(wanted)),
                }
            }
        }
        assert!(failed > 30, "{failed}");
        assert!(!fixture.log().holes().is_empty());
    }
}

#[test]
fn a_sound_frame_that_this_build_cannot_read_is_refused_and_not_cut() {
    let mut fixture = Fixture::new(1 << 20);
    fixture.append(vec![command(1, 0, 0, "short")]).unwrap();
    fixture.append(vec![command(1, 1, 0, &"long ".repeat(100))]).unwrap();
    fixture.close();
    fixture.options.payload_bytes_max = 100;
    let before = fixture.disk.contents();
    assert!(matches!(fixture.open(), Err(OpenError::Corrupt { log_index: 1, .. })), "longer than is allowed now");
    assert_eq!(fixture.disk.contents(), before);
    fixture.options.payload_bytes_max = 1 << 20;
    // The last frame as a later build might write it: of another format, or of a kind that is not known here.
    let path = fixture.newest_segment();
    let sound = fixture.disk.bytes(&path);
    let at = SEGMENT_HEADER_SIZE + FRAME_HEADER_SIZE + 8;
    for (field, value) in [(2, 9), (3, 200)] {
        fixture.disk.damage(&path, |bytes| {
            bytes.clone_from(&sound);
            bytes[at + field] = value;
            let salt = u32::from_le_bytes(bytes[SEGMENT_HEADER_SIZE - 4..SEGMENT_HEADER_SIZE].try_into().unwrap());
            let checksum = crc32c::crc32c_append(salt, &bytes[at..at + FRAME_HEADER_SIZE - 4]);
            bytes[at + FRAME_HEADER_SIZE - 4..at + FRAME_HEADER_SIZE].copy_from_slice(&checksum.to_le_bytes());
        });
        let before = fixture.disk.contents();
        assert!(matches!(fixture.open(), Err(OpenError::Format { .. })));
        assert_eq!(fixture.disk.contents(), before);
    }
}
