//! What happened to a disk, to do it again up to any point.

use std::path::Path;

use crate::{
    disk::Disk,
    filter::{Filter, OperationKind},
    image::Image,
    operation::{Operation, SyncEffect},
    rules::Rules,
};

/// All operations that changed a disk since [`Disk::record`], and what the test noted in between.
///
/// A process that dies after `n` changes leaves the disk as it is after the first `n` operations: what it does up to
/// then does not depend on what is to come. So one run of a workload shows every crash of it.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    start: Image,
    operations: Vec<Operation>,
    /// After how many operations something was noted, and what.
    notes: Vec<(usize, u64)>,
}

impl Journal {
    pub(crate) fn new(start: Image) -> Self {
        Self { start, ..Self::default() }
    }

    pub(crate) fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    pub(crate) fn note(&mut self, note: u64) {
        self.notes.push((self.operations.len(), note));
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The operations, the oldest first.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// What had been noted, the oldest first, by the time at which the first `length` operations had been done. Notes
    /// are of things that have happened: what is noted after the last of these operations is among them.
    pub fn notes(&self, length: usize) -> impl Iterator<Item = u64> {
        let end = self.notes.partition_point(|(after, _)| *after <= length);
        self.notes[..end].iter().map(|(_, note)| *note)
    }

    /// Lets the syncs that match, counted from the beginning, have no effect: the same workload on a disk that lies, or
    /// by a program that forgot them. Returns how many there are.
    pub fn ignore_syncs(&mut self, filter: Filter) -> u64 {
        let mut rules = Rules::default();
        let fault = rules.add(filter, crate::Fault::IgnoredSync);
        for operation in &mut self.operations {
            let (kind, path, effect) = match operation {
                Operation::SyncFile { path, effect, .. } => (OperationKind::SyncFile, path, effect),
                Operation::SyncDirectory { path, effect } => (OperationKind::SyncDirectory, path, effect),
                _ => continue,
            };
            let path: &Path = path;
            if rules.strike(kind, [path; 2]).fault.is_some() {
                *effect = SyncEffect::Ignored;
            }
        }
        rules.struck(fault)
    }

    /// The image after the first `length` operations.
    pub(crate) fn image(&self, length: usize) -> Image {
        let mut image = self.start.clone();
        self.operations[..length].iter().for_each(|operation| image.apply(operation));
        image
    }

    /// The disks after each prefix of the operations, from none to all of them: see [`Prefixes`].
    #[must_use]
    pub fn prefixes(&self) -> Prefixes<'_> {
        Prefixes { journal: self, image: self.start.clone(), length: 0 }
    }
}

/// Goes over the prefixes of a journal; each is the number of operations and a disk of its own as it was after them,
/// the power still on. For a crash follow with [`Disk::power_cut`], for several with [`Disk::fork`] before.
///
/// All of them together cost what doing the operations once does, and a copy of each file touched; drop a disk before
/// the next one is made, or that copies files too.
#[derive(Clone, Debug)]
pub struct Prefixes<'a> {
    journal: &'a Journal,
    image: Image,
    length: usize,
}

impl Iterator for Prefixes<'_> {
    type Item = (usize, Disk);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(last) = self.length.checked_sub(1) {
            self.image.apply(self.journal.operations.get(last)?);
        }
        self.length += 1;
        Some((self.length - 1, Disk::of_image(self.image.clone())))
    }
}
