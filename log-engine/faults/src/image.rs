//! All that is on the disk, and what operations do to it. No locks, no faults, no processes.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    contents::Contents,
    directory::{Directory, Names},
    operation::{FileId, Operation, SyncEffect},
    power_cut::PowerCut,
};

/// The longest file, bytes: more is taken for a mistake, not for data.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Clone, Debug)]
struct File {
    contents: Contents,
    /// The name it has, or had last.
    path: Arc<Path>,
    /// Whether it has a name.
    named: bool,
}

/// Invariant: `bytes_used` is the size of all files that have a name; a file has at most one.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    files: Vec<File>,
    directories: BTreeMap<Arc<Path>, Directory>,
    bytes_used: u64,
}

/// The roots of absolute and of relative paths are there.
impl Default for Image {
    fn default() -> Self {
        let directories = ["/", ""].map(|root| (Arc::from(Path::new(root)), Directory::default())).into();
        Self { files: Vec::new(), directories, bytes_used: 0 }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

impl Image {
    pub(crate) fn file(&self, path: &Path) -> Option<FileId> {
        self.directories.get(parent(path))?.live().get(path).copied()
    }

    pub(crate) fn path(&self, file: FileId) -> &Arc<Path> {
        &self.files[file.0].path
    }

    pub(crate) fn contents(&self, file: FileId) -> &Contents {
        &self.files[file.0].contents
    }

    pub(crate) fn has_directory(&self, path: &Path) -> bool {
        self.directories.contains_key(path)
    }

    pub(crate) fn has_parent(&self, path: &Path) -> bool {
        self.has_directory(parent(path))
    }

    pub(crate) fn same_directory(from: &Path, to: &Path) -> bool {
        parent(from) == parent(to)
    }

    /// The size of all files that have a name, bytes.
    pub(crate) fn bytes_used(&self) -> u64 {
        self.bytes_used
    }

    /// How many bytes longer a file would make the disk if it ended at `end`.
    pub(crate) fn growth(&self, file: FileId, end: u64) -> u64 {
        let File { contents, named, .. } = &self.files[file.0];
        if *named { end.saturating_sub(contents.live().len() as u64) } else { 0 }
    }

    pub(crate) fn next_file(&self) -> FileId {
        FileId(self.files.len())
    }

    /// All files that have a name, in the order of their directories.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&Arc<Path>, FileId)> {
        self.directories.values().flat_map(Directory::live).map(|(path, file)| (path, *file))
    }

    pub(crate) fn names(&self, directory: &Path) -> Option<&Names> {
        self.directories.get(directory).map(Directory::live)
    }

    /// The directories in a directory, at any depth, each before those in it.
    pub(crate) fn directories_in(&self, directory: &Path) -> impl Iterator<Item = &Arc<Path>> {
        let behind = (Bound::Excluded(directory), Bound::Unbounded);
        let paths = self.directories.range::<Path, _>(behind).map(|(path, _)| path);
        paths.take_while(move |path| path.starts_with(directory))
    }

    /// Adds a file on stable storage.
    pub(crate) fn insert_durably(&mut self, path: &Path, bytes: Vec<u8>) {
        self.create_directory(parent(path));
        let (file, path) = (self.next_file(), Arc::<Path>::from(path));
        self.bytes_used += bytes.len() as u64;
        self.files.push(File { contents: Contents::durable(bytes), path: path.clone(), named: true });
        self.directory(&path.clone()).insert_durably(path, file);
    }

    fn create_directory(&mut self, path: &Path) {
        for path in path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            if !self.directories.contains_key(path) {
                self.directories.insert(path.into(), Directory::default());
            }
        }
    }

    /// The directory of a file.
    fn directory(&mut self, path: &Path) -> &mut Directory {
        match self.directories.get_mut(parent(path)) {
            Some(directory) => directory,
            None => panic!("the directory of {} is not there", path.display()),
        }
    }

    /// What an operation names is there: whoever asks for one has looked.
    fn expect_file(&self, path: &Path) -> FileId {
        self.file(path).unwrap_or_else(|| panic!("{} is not there", path.display()))
    }

    fn unname(&mut self, file: FileId) {
        let File { contents, named, .. } = &mut self.files[file.0];
        self.bytes_used -= contents.live().len() as u64;
        *named = false;
    }

    /// Changes the live bytes of a file, and counts them.
    fn change(&mut self, file: FileId, change: impl FnOnce(&mut Contents)) {
        let File { contents, named, .. } = &mut self.files[file.0];
        let before = contents.live().len() as u64;
        change(contents);
        if *named {
            self.bytes_used = self.bytes_used - before + contents.live().len() as u64;
        }
    }

    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateDirectory { path } => self.create_directory(path),
            Operation::RemoveDirectory { path } => drop(self.directories.remove(path)),
            Operation::Create { path, file } => {
                debug_assert_eq!(*file, self.next_file());
                self.files.push(File { contents: Contents::default(), path: path.clone(), named: true });
                self.directory(path).insert(path.clone(), *file);
            }
            Operation::Write { file, position, bytes, .. } => {
                self.change(*file, |contents| contents.write(*position, bytes));
            }
            Operation::Truncate { file, size, .. } => self.change(*file, |contents| contents.truncate(*size)),
            Operation::SyncFile { file, effect, .. } => {
                let contents = &mut self.files[file.0].contents;
                match effect {
                    SyncEffect::Durable => contents.sync(),
                    SyncEffect::Failed => contents.fail_sync(),
                    SyncEffect::Ignored => {}
                }
            }
            Operation::SyncDirectory { path, effect } => {
                if let (SyncEffect::Durable, Some(directory)) = (effect, self.directories.get_mut(path)) {
                    directory.sync();
                }
            }
            Operation::Rename { from, to } => {
                let file = self.expect_file(from);
                if let Some(replaced) = self.file(to).filter(|replaced| *replaced != file) {
                    self.unname(replaced);
                }
                self.files[file.0].path = to.clone();
                self.directory(from).rename(from.clone(), to.clone(), file);
            }
            Operation::Remove { path } => {
                self.unname(self.expect_file(path));
                self.directory(path).remove(path.clone());
            }
            Operation::Flip { file, position, mask, .. } => self.files[file.0].contents.flip(*position, *mask),
            Operation::Damage { file, live, durable, .. } => {
                self.change(*file, |contents| contents.replace(live, durable));
            }
            Operation::Lose { path } => {
                self.unname(self.expect_file(path));
                self.directory(path).lose(path);
            }
            Operation::PowerCut(cut) => self.power_cut(*cut),
        }
    }

    fn power_cut(&mut self, cut: PowerCut) {
        self.files.iter_mut().for_each(|file| file.named = false);
        for (number, directory) in self.directories.values_mut().enumerate() {
            // Counted down from the greatest number, so that files and directories never share one.
            directory.power_cut(cut.fate(u64::MAX - number as u64));
            for (path, file) in directory.durable() {
                let file = &mut self.files[file.0];
                (file.path, file.named) = (path.clone(), true);
            }
        }
        self.bytes_used = 0;
        for (number, file) in self.files.iter_mut().enumerate() {
            if file.named {
                file.contents.power_cut(cut.fate(number as u64));
                self.bytes_used += file.contents.live().len() as u64;
            } else {
                file.contents.clear();
            }
        }
        debug_assert!(self.is_valid());
    }

    /// Whether the invariants hold.
    fn is_valid(&self) -> bool {
        let sizes = self.live().map(|(_, file)| self.contents(file).live().len() as u64);
        let named = self.files.iter().filter(|file| file.named).count();
        sizes.sum::<u64>() == self.bytes_used && named == self.live().count()
    }

    /// All files that have a name, and their bytes.
    pub(crate) fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.live().map(|(path, file)| (path.to_path_buf(), self.contents(file).live().to_vec())).collect()
    }
}
