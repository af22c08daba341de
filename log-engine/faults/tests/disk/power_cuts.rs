//! What each mode of a power cut keeps and loses, of data and of names.

use std::{collections::BTreeSet, path::Path};

use quorate_faulty_vfs::{Disk, PowerCut};

use crate::support::{DIRECTORY, at, disk, durable, names, write};

const SEEDS: std::ops::Range<u64> = 0..200;

fn cuts(seed: u64) -> [PowerCut; 6] {
    [
        PowerCut::LoseAll,
        PowerCut::KeepAll,
        PowerCut::TearLast,
        PowerCut::KeepPrefix(seed),
        PowerCut::KeepSome(seed),
        PowerCut::Any(seed),
    ]
}

/// The disk after the cut; the given one goes on.
fn after(disk: &Disk, cut: PowerCut) -> Disk {
    let fork = disk.fork();
    fork.power_cut(cut);
    fork
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", &[7; 3_000]);
    write(&file, &[8; 3_000], 3_000).unwrap();
    for seed in SEEDS {
        for cut in cuts(seed) {
            let bytes = after(&disk, cut).bytes(&at("a"));
            assert!(bytes.len() >= 3_000 && bytes[..3_000] == [7; 3_000], "{cut:?}");
        }
    }
}

#[test]
fn lose_all_loses_unsynced_writes_truncations_creations_renames_and_removals() {
    let (disk, vfs) = disk();
    let written = durable(&vfs, "written", b"old");
    let cut = durable(&vfs, "cut", b"whole");
    durable(&vfs, "renamed", b"renamed");
    durable(&vfs, "removed", b"removed");
    let before = disk.contents();
    write(&written, b"new and longer", 0).unwrap();
    cut.truncate(1).unwrap();
    let created = vfs.create(&at("created")).unwrap();
    write(&created, b"created", 0).unwrap();
    created.sync_data().unwrap();
    vfs.rename(&at("renamed"), &at("other")).unwrap();
    vfs.remove_file(&at("removed")).unwrap();
    assert_eq!(names(&disk), ["created", "cut", "other", "written"]);
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.contents(), before);
}

#[test]
fn keep_all_loses_nothing() {
    let (disk, vfs) = disk();
    let file = durable(&vfs, "a", b"old");
    write(&file, &[1; 2_000], 1).unwrap();
    file.truncate(1_500).unwrap();
    write(&file, &[2; 10], 1_495).unwrap();
    vfs.rename(&at("a"), &at("b")).unwrap();
    write(&vfs.create(&at("a")).unwrap(), b"new", 0).unwrap();
    let before = disk.contents();
    disk.power_cut(PowerCut::KeepAll);
    assert_eq!(disk.contents(), before);
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.contents(), before, "a power cut leaves nothing unsynced");
}

#[test]
fn a_name_without_its_synced_data_is_an_empty_file() {
    let (disk, vfs) = disk();
    write(&vfs.create(&at("a")).unwrap(), b"not synced", 0).unwrap();
    vfs.sync_directory(Path::new(DIRECTORY)).unwrap();
    disk.power_cut(PowerCut::LoseAll);
    assert_eq!(disk.contents(), [(at("a"), Vec::new())]);
}

#[test]
fn keep_prefix_keeps_every_prefix_of_a_directory_and_nothing_else() {
    let (disk, vfs) = disk();
    durable(&vfs, "a", b"");
    vfs.rename(&at("a"), &at("b")).unwrap();
    vfs.create(&at("c")).unwrap();
    vfs.remove_file(&at("b")).unwrap();
    let found: BTreeSet<_> = SEEDS.map(|seed| names(&after(&disk, PowerCut::KeepPrefix(seed))).concat()).collect();
    assert_eq!(found, ["a", "b", "bc", "c"].map(str::to_owned).into());
}

#[test]
fn keep_some_reorders_the_changes_of_a_directory() {
    let (disk, vfs) = disk();
    durable(&vfs, "a", b"");
    vfs.create(&at("b")).unwrap();
    vfs.remove_file(&at("a")).unwrap();
    let found: BTreeSet<_> = SEEDS.map(|seed| names(&after(&disk, PowerCut::KeepSome(seed))).concat()).collect();
    assert_eq!(found, ["", "a", "ab", "b"].map(str::to_owned).into());
}

#[test]
fn data_survives_without_regard_to_the_data_of_other_files_and_to_names() {
    let (disk, vfs) = disk();
    // Of as many files as directories there are, so that one of each has the same number.
    let [_, first, second] = ["0", "a", "b"].map(|name| durable(&vfs, name, b"0"));
    write(&first, b"1", 0).unwrap();
    write(&second, b"1", 0).unwrap();
    vfs.rename(&at("b"), &at("c")).unwrap();
    for mode in [PowerCut::KeepPrefix, PowerCut::KeepSome] {
        let state = |seed| {
            let disk = after(&disk, mode(seed));
            (disk.bytes(&at("a")), disk.contents().remove(2).1, names(&disk)[2] == "c")
        };
        assert_eq!(SEEDS.map(state).collect::<BTreeSet<_>>().len(), 8, "{:?}", mode(0));
    }
}

#[test]
fn a_durable_file_that_is_renamed_has_one_of_its_names_after_every_power_cut() {
    let (disk, vfs) = disk();
    durable(&vfs, "a", b"the file");
    durable(&vfs, "b", b"replaced");
    vfs.rename(&at("a"), &at("b")).unwrap();
    vfs.rename(&at("b"), &at("c")).unwrap();
    let mut found = BTreeSet::new();
    for cut in SEEDS.flat_map(cuts) {
        let contents = after(&disk, cut).contents();
        let held: Vec<_> = contents.iter().filter(|(_, bytes)| bytes == b"the file").collect();
        assert_eq!(held.len(), 1, "{cut:?}: {contents:?}");
        found.insert(held[0].0.clone());
    }
    assert_eq!(found, ["a", "b", "c"].map(at).into());
}

#[test]
fn a_rename_over_a_durable_file_leaves_the_old_or_the_new_one() {
    let (disk, vfs) = disk();
    durable(&vfs, "b", b"old");
    let file = vfs.create(&at("a")).unwrap();
    write(&file, b"new", 0).unwrap();
    file.sync_data().unwrap();
    vfs.rename(&at("a"), &at("b")).unwrap();
    let found: BTreeSet<_> = SEEDS.flat_map(cuts).map(|cut| after(&disk, cut).bytes(&at("b"))).collect();
    assert_eq!(found, [b"new".to_vec(), b"old".to_vec()].into());
}

#[test]
fn any_shows_what_each_of_the_other_modes_shows_and_mixtures() {
    let (disk, vfs) = disk();
    let files = ["a", "b"].map(|name| durable(&vfs, name, b""));
    for file in &files {
        (0..4).for_each(|sector| write(file, &[1; 512], sector * 512).unwrap());
    }
    let sectors =
        |bytes: Vec<u8>| -> String { bytes.chunks(512).map(|sector| if sector[0] == 1 { 'x' } else { '.' }).collect() };
    let outcome = |seed| {
        let disk = after(&disk, PowerCut::Any(seed));
        ["a", "b"].map(|name| sectors(disk.bytes(&at(name))))
    };
    let found: BTreeSet<_> = (0..1_000).map(outcome).collect();
    let has = |first: &str, second: &str| found.contains(&[first.to_owned(), second.to_owned()]);
    assert!(has("", "") && has("xxxx", "xxxx") && has("xxx", "xxx") && has("xxxx", ""), "{found:?}");
    assert!(found.iter().any(|[first, _]| first.contains(".x")), "reordered: {found:?}");
}

#[test]
fn the_same_seed_does_the_same_and_another_one_something_else() {
    let (disk, vfs) = disk();
    for name in ["a", "b", "c"] {
        let file = vfs.create(&at(name)).unwrap();
        (0..20).for_each(|at| write(&file, &[at as u8 + 1; 300], at * 300).unwrap());
    }
    let outcome = |seed| after(&disk, PowerCut::Any(seed)).contents();
    assert!(SEEDS.clone().all(|seed| outcome(seed) == outcome(seed)));
    assert!(SEEDS.map(outcome).collect::<BTreeSet<_>>().len() > 100);
}

#[test]
fn a_removed_directory_is_gone_with_all_that_is_in_it() {
    let (disk, vfs) = disk();
    durable(&vfs, "a", b"a");
    vfs.create_directory(&at("e/f")).unwrap();
    vfs.create(&at("e/f/g")).unwrap();
    vfs.remove_directory(Path::new(DIRECTORY)).unwrap();
    disk.power_cut(PowerCut::LoseAll);
    let vfs = disk.vfs();
    assert!(disk.paths().is_empty() && !vfs.directory_exists(&at("e")) && !vfs.directory_exists(Path::new("/d")));
}
