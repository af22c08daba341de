//! Reads that return less than there is, or something else.

use quorate_faulty_vfs::{Fault, Filter, OperationKind, PowerCut};

use crate::support::{at, disk, durable, read};

const BYTES: &[u8] = b"a few bytes to read";

fn flipped_bits(found: &[u8]) -> u32 {
    assert_eq!(found.len(), BYTES.len());
    found.iter().zip(BYTES).map(|(found, sound)| (found ^ sound).count_ones()).sum()
}

#[test]
fn a_short_read_returns_fewer_bytes_and_at_least_one() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", BYTES);
    disk.inject(Filter::on(OperationKind::Read).seed(1), Fault::ShortRead);
    let mut sizes = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let found = read(&file, 0, BYTES.len()).unwrap();
        assert!(BYTES.starts_with(&found));
        sizes.insert(found.len());
    }
    assert_eq!(sizes, (1..BYTES.len()).collect());
    assert_eq!(read(&file, 0, 1).unwrap(), b"a");
    assert_eq!(read(&file, BYTES.len() as u64, 10).unwrap(), b"", "the end of the file is still one");
}

#[test]
fn a_flip_in_a_read_is_one_bit_and_gone_with_the_next() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", BYTES);
    disk.inject(Filter::on(OperationKind::Read).nth(1), Fault::FlipInRead);
    let found = [0; 3].map(|at| flipped_bits(&read(&file, at, 99).unwrap()));
    assert_eq!(found, [0, 1, 0]);
    assert_eq!(disk.bytes(&at("a")), BYTES);
}

#[test]
fn a_flip_on_the_disk_stays_and_survives_a_power_cut() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &BYTES[..10]);
    crate::support::write(&file, &BYTES[10..], 10).unwrap();
    disk.inject(Filter::on(OperationKind::Read).nth(0).seed(9), Fault::FlipOnDisk);
    let first = read(&file, 0, 99).unwrap();
    assert_eq!(flipped_bits(&first), 1);
    assert_eq!(read(&file, 0, 99).unwrap(), first);
    disk.power_cut(PowerCut::KeepAll);
    assert_eq!(disk.bytes(&at("a")), first);
}

#[test]
fn a_flip_at_a_byte_strikes_synced_and_unsynced_bytes_for_ever() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"ab");
    crate::support::write(&file, b"cd", 2).unwrap();
    disk.flip(&at("a"), 1, 1);
    disk.flip(&at("a"), 3, 1);
    assert_eq!(read(&file, 0, 99).unwrap(), b"acce");
    file.sync_data().unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.bytes(&at("a")), b"acce");
}
