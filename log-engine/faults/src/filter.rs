//! Which operations a fault strikes.

use std::{ops::Range, path::Path};

/// What a process asks of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// A file is created.
    Create,
    /// A file is opened, for reading and writing or for reading alone.
    Open,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// A file is cut or lengthened.
    Truncate,
    /// The data of a file are synced.
    SyncFile,
    /// A file gets another name.
    Rename,
    /// A file, or a directory with all that is in it, is removed.
    Remove,
    /// The names in a directory are read.
    List,
    /// A directory is created.
    CreateDirectory,
    /// The names in a directory are synced.
    SyncDirectory,
}

impl OperationKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::SyncFile,
        Self::Rename,
        Self::Remove,
        Self::List,
        Self::CreateDirectory,
        Self::SyncDirectory,
    ];

    pub(crate) fn changes_disk(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::List)
    }
}

/// A set of kinds, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) fn of(kinds: &[OperationKind]) -> Self {
        Self(kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u16))
    }

    pub(crate) fn contains(self, kind: OperationKind) -> bool {
        self.0 & 1 << kind as u16 != 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Which operations a fault strikes: those of some kinds, of these those whose path ends so, of these those at some
/// occurrences, of these by chance. Without more, all operations of the kinds.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(crate) kinds: Kinds,
    suffix: Option<String>,
    pub(crate) occurrences: Range<u64>,
    pub(crate) one_in: u64,
    pub(crate) seed: u64,
}

impl Filter {
    /// Operations of every kind.
    #[must_use]
    pub fn any() -> Self {
        Self::on_all(&OperationKind::ALL)
    }

    /// Operations of one kind.
    #[must_use]
    pub fn on(kind: OperationKind) -> Self {
        Self::on_all(&[kind])
    }

    /// Operations of some kinds.
    #[must_use]
    pub fn on_all(kinds: &[OperationKind]) -> Self {
        Self { kinds: Kinds::of(kinds), suffix: None, occurrences: 0..u64::MAX, one_in: 1, seed: 0 }
    }

    /// Syncs of files and of directories.
    #[must_use]
    pub fn syncs() -> Self {
        Self::on_all(&[OperationKind::SyncFile, OperationKind::SyncDirectory])
    }

    /// Only on a path that ends with these characters. Of a rename, either path.
    #[must_use]
    pub fn suffix(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = Some(suffix.into());
        self
    }

    /// Only the n-th operation that matches otherwise, from 0, counted since the fault was scheduled.
    #[must_use]
    pub fn nth(self, occurrence: u64) -> Self {
        self.occurrences(occurrence..occurrence + 1)
    }

    /// Only these of the operations that match otherwise, from 0, counted since the fault was scheduled.
    #[must_use]
    pub fn occurrences(mut self, occurrences: Range<u64>) -> Self {
        self.occurrences = occurrences;
        self
    }

    /// Only one in `n` of them, by chance.
    #[must_use]
    pub fn one_in(mut self, n: u64) -> Self {
        self.one_in = n;
        self
    }

    /// The seed of all that is left to chance, in the filter and in its fault. 0 without this.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether kind and path match.
    pub(crate) fn matches(&self, kind: OperationKind, paths: [&Path; 2]) -> bool {
        let ends_so =
            |suffix: &String| paths.iter().any(|path| path.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes()));
        self.kinds.contains(kind) && self.suffix.as_ref().is_none_or(ends_so)
    }
}
