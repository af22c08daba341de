//! The operating system's file system.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice},
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use super::{Vfs, VfsFile};

/// The most slices one `pwritev` takes (`IOV_MAX` on Linux).
const SLICES_PER_WRITE_MAX: usize = 1024;

/// The largest unit in which the page cache of Linux holds files, bytes: it gives up what lies within a range as a whole.
#[cfg(target_os = "linux")]
const FOLIO_BYTES_MAX: u64 = 2 << 20;

/// [`Vfs`] by system calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealVfs;

#[derive(Debug)]
struct RealFile(File);

impl Vfs for RealVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(RealFile(File::open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        if directory.is_dir() {
            // A process that died right after the creation left it unsynced. What belongs to others is their business.
            return match self.sync_directory(parent.unwrap_or(Path::new("."))) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                other => other,
            };
        }
        if let Some(parent) = parent {
            self.create_directory(parent)?;
        }
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_directory(parent.unwrap_or(Path::new(".")))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir_all(directory)?;
        directory.parent().map_or(Ok(()), |parent| self.sync_directory(parent))
    }

    fn available_bytes(&self, directory: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(directory)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        directory.is_dir()
    }
}

impl VfsFile for RealFile {
    #[cfg(target_os = "linux")]
    fn write_all_at(&self, slices: &[IoSlice<'_>], mut position: u64) -> io::Result<()> {
        let mut owned: Vec<IoSlice<'_>> = slices.to_vec();
        let mut rest = owned.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let count = rest.len().min(SLICES_PER_WRITE_MAX);
            let written = match rustix::io::pwritev(&self.0, &rest[..count], position) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            position += written as u64;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn write_all_at(&self, slices: &[IoSlice<'_>], mut position: u64) -> io::Result<()> {
        for slice in slices {
            self.0.write_all_at(slice, position)?;
            position += slice.len() as u64;
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, position) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn will_not_need(&self, bytes: Range<u64>) {
        // What lay across the end of the range before this one, and was kept.
        let start = bytes.start.saturating_sub(FOLIO_BYTES_MAX);
        if let Some(size) = NonZeroU64::new(bytes.end.saturating_sub(start))
            && let Err(error) = rustix::fs::fadvise(&self.0, start, Some(size), rustix::fs::Advice::DontNeed)
        {
            tracing::debug!(%error, "fadvise");
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
}
