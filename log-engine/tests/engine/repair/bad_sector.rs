//! A disk that cannot read some of its sectors: what lies around them is saved.

use std::{
    io::{self, IoSlice},
    ops::Range,
    path::Path,
    sync::Arc,
};

use quorate_log_engine::{Vfs, VfsFile};

use crate::support::{Fixture, image, segment_path, shared_engine};

/// Another file system, of which some bytes of one file, as it was at first, are unreadable.
#[derive(Debug)]
struct BadSectors {
    vfs: Arc<dyn Vfs>,
    bytes: Range<u64>,
}

#[derive(Debug)]
struct BadFile(Arc<dyn VfsFile>, Range<u64>);

impl VfsFile for BadFile {
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        self.0.write_all_at(slices, position)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let end = position + buffer.len() as u64;
        if position < self.1.end && self.1.start < end {
            return Err(rustix::io::Errno::IO.into());
        }
        self.0.read_at(buffer, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }
}

impl Vfs for BadSectors {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs.open(path)
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.vfs.open_read_only(path)?;
        // The repaired file is shorter: it has no zeros behind its end.
        let is_bad = path == segment_path(0) && file.size()? == SEGMENT_BYTES;
        Ok(if is_bad { Arc::new(BadFile(file, self.bytes.clone())) } else { file })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.vfs.rename(from, to)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.vfs.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.vfs.create_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.vfs.sync_directory(directory)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.vfs.remove_file(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.vfs.remove_directory(directory)
    }

    fn available_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.vfs.available_bytes(directory)
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        self.vfs.directory_exists(directory)
    }
}

const SEGMENT_BYTES: u64 = 100_000;

#[test]
fn around_a_sector_that_cannot_be_read_everything_is_saved() {
    for (bad, entries_max) in [(40_960..41_472, 30), (0..512, 20), (20_000..20_001, 30), (90_112..SEGMENT_BYTES, 100)] {
        let mut fixture = Fixture::closed(SEGMENT_BYTES);
        fixture.engine = shared_engine(0);
        fixture.open().unwrap();
        let mut entries = Vec::new();
        while fixture.log().segments().len() < 2 {
            entries.extend(fixture.append_batches(1, 1));
        }
        fixture.close();
        fixture.options.settled_through = Some(entries.len() as u64 - 1);
        let vfs = Arc::new(BadSectors { vfs: fixture.disk.vfs(), bytes: bad.clone() });
        fixture.open_on(vfs).unwrap();
        assert_eq!(fixture.disk.bytes(&segment_path(0)).len() as u64, SEGMENT_BYTES);
        assert_eq!(fixture.log().scrub().damages, 1);
        let report =
            fixture.log().repair(0, &mut |indexes| Ok(entries[indexes.start as usize..indexes.end as usize].to_vec()));
        let report = report.unwrap();
        assert!(report.entries > 0 && report.entries < entries_max, "{bad:?}: {report:?} of {}", entries.len());
        assert_eq!(fixture.read_all().unwrap(), entries.iter().map(image).collect::<Vec<_>>());
        assert_eq!(fixture.log().scrub().damages, 0);
        assert!(fixture.log().holes().is_empty());
    }
}
