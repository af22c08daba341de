//! The file system of one process.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, MutexGuard},
};

use quorate_log_engine::{Vfs, VfsFile};

use crate::{
    fault::{Fault, full},
    file::DiskFile,
    filter::OperationKind,
    image::Image,
    operation::{FileId, Operation, SyncEffect},
    state::{Shared, State, Subject},
};

pub(crate) struct DiskVfs {
    shared: Arc<Shared>,
    epoch: u64,
}

impl fmt::Debug for DiskVfs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DiskVfs").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

impl DiskVfs {
    pub(crate) fn new(shared: Arc<Shared>, epoch: u64) -> Self {
        Self { shared, epoch }
    }

    fn enter(&self, kind: OperationKind, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        self.shared.enter_sound(self.epoch, kind, Subject::Path(path))
    }

    fn handle(&self, file: FileId, writable: bool) -> Arc<dyn VfsFile> {
        Arc::new(DiskFile::new(self.shared.clone(), self.epoch, file, writable))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn VfsFile>> {
        let state = self.enter(OperationKind::Open, path)?;
        let file = state.image.file(path).ok_or_else(|| not_found(path))?;
        Ok(self.handle(file, writable))
    }
}

impl Vfs for DiskVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.enter(OperationKind::Create, path)?;
        if !state.image.has_parent(path) {
            return Err(not_found(path));
        }
        if state.image.file(path).is_some() || state.image.has_directory(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.room() == 0 {
            return Err(full());
        }
        let file = state.image.next_file();
        state.perform(Operation::Create { path: path.into(), file })?;
        Ok(self.handle(file, true))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.open(path, true)
    }

    fn open_read_only(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.open(path, false)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.shared.enter_sound(self.epoch, OperationKind::Rename, Subject::Paths(from, to))?;
        if !Image::same_directory(from, to) {
            let reason = format!("{} and {} are in different directories", from.display(), to.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        state.image.file(from).ok_or_else(|| not_found(from))?;
        if state.image.has_directory(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        state.perform(Operation::Rename { from: from.into(), to: to.into() })
    }

    /// Of files and of directories, as the operating system's.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.enter(OperationKind::List, directory)?;
        let files = state.image.names(directory).ok_or_else(|| not_found(directory))?.keys();
        let directories = state.image.directories_in(directory).filter(|path| path.parent() == Some(directory));
        let names = files.chain(directories).filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.enter(OperationKind::CreateDirectory, directory)?;
        if directory.ancestors().any(|path| state.image.file(path).is_some()) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        state.perform(Operation::CreateDirectory { path: directory.into() })
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let (mut state, strike) =
            self.shared.enter(self.epoch, OperationKind::SyncDirectory, Subject::Path(directory))?;
        if !state.image.has_directory(directory) {
            return Err(not_found(directory));
        }
        let error = strike.fault.and_then(Fault::error);
        let effect = match strike.fault {
            Some(Fault::IgnoredSync) => SyncEffect::Ignored,
            _ if error.is_some() => SyncEffect::Failed,
            _ => SyncEffect::Durable,
        };
        state.perform(Operation::SyncDirectory { path: directory.into(), effect })?;
        error.map_or(Ok(()), Err)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(OperationKind::Remove, path)?;
        state.image.file(path).ok_or_else(|| not_found(path))?;
        state.perform(Operation::Remove { path: path.into() })
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.enter(OperationKind::Remove, directory)?;
        if !state.image.has_directory(directory) {
            return Err(not_found(directory));
        }
        let mut directories: Vec<_> = state.image.directories_in(directory).cloned().collect();
        directories.insert(0, directory.into());
        for path in directories.into_iter().rev() {
            let files: Vec<_> = state.image.names(&path).into_iter().flat_map(|names| names.keys().cloned()).collect();
            files.into_iter().try_for_each(|path| state.perform(Operation::Remove { path }))?;
            state.perform(Operation::RemoveDirectory { path })?;
        }
        Ok(())
    }

    /// Of all files together, whatever their directory: `u64::MAX` on a disk without a capacity.
    fn available_bytes(&self, directory: &Path) -> io::Result<u64> {
        let state = self.shared.lock();
        state.may(OperationKind::List, self.epoch)?;
        if !state.image.has_directory(directory) {
            return Err(not_found(directory));
        }
        Ok(state.room())
    }

    fn directory_exists(&self, directory: &Path) -> bool {
        self.shared.lock().image.has_directory(directory)
    }
}
