//! The names in one directory: as processes see them, as the disk has them, and what lies between.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    operation::FileId,
    power_cut::{Fate, Mode},
};

/// Whole paths of files, so that they are shared with everything else that names the file.
pub(crate) type Names = BTreeMap<Arc<Path>, FileId>;

#[derive(Clone, Debug)]
enum Change {
    Insert(Arc<Path>, FileId),
    Remove(Arc<Path>),
    /// One change, lest a power cut could part it into two: the file never has both names, nor neither.
    Rename(Arc<Path>, Arc<Path>, FileId),
}

/// Invariants: `live` is `durable` with `pending` applied in order; a file has one name at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    live: Names,
    durable: Names,
    pending: Vec<Change>,
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Insert(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Remove(path) => drop(names.remove(path)),
            Self::Rename(from, to, file) => {
                // If an earlier rename of the file was lost, it still has another name.
                if names.get(from) == Some(file) {
                    names.remove(from);
                } else {
                    names.retain(|_, other| other != file);
                }
                names.insert(to.clone(), *file);
            }
        }
    }
}

impl Directory {
    pub(crate) fn live(&self) -> &Names {
        &self.live
    }

    pub(crate) fn durable(&self) -> &Names {
        &self.durable
    }

    /// Adds a name on stable storage.
    pub(crate) fn insert_durably(&mut self, path: Arc<Path>, file: FileId) {
        self.durable.insert(path.clone(), file);
        self.live.insert(path, file);
    }

    pub(crate) fn insert(&mut self, path: Arc<Path>, file: FileId) {
        self.change(Change::Insert(path, file));
    }

    pub(crate) fn remove(&mut self, path: Arc<Path>) {
        self.change(Change::Remove(path));
    }

    pub(crate) fn rename(&mut self, from: Arc<Path>, to: Arc<Path>, file: FileId) {
        self.change(Change::Rename(from, to, file));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(crate) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    pub(crate) fn power_cut(&mut self, mut fate: Fate) {
        match fate.mode {
            Mode::LoseAll => self.pending.clear(),
            Mode::KeepAll | Mode::TearLast => {}
            Mode::KeepPrefix => self.pending.truncate(fate.prefix(self.pending.len())),
            Mode::KeepSome => self.pending.retain(|_| fate.survives()),
        }
        self.sync();
        self.live = self.durable.clone();
    }

    /// Forgets a name, also where it was not durable yet.
    pub(crate) fn lose(&mut self, path: &Path) {
        self.live.remove(path);
        self.durable.remove(path);
        self.pending.retain_mut(|change| match change {
            Change::Insert(name, _) => &**name != path,
            Change::Rename(from, to, _) if &**to == path => {
                *change = Change::Remove(from.clone());
                true
            }
            _ => true,
        });
    }
}
