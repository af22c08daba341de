//! What all handles of a disk share, and how an operation gets to the image.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    filter::OperationKind,
    gates::Gates,
    image::Image,
    journal::Journal,
    operation::{FileId, Operation},
    rules::{Rules, Strike},
};

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Handles of earlier epochs are dead: their process or the power is gone.
    pub(crate) epoch: u64,
    pub(crate) image: Image,
    /// Changes by the process of this epoch, and how many it may make.
    pub(crate) changes: u64,
    pub(crate) changes_max: Option<u64>,
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) journal: Option<Journal>,
    pub(crate) rules: Rules,
    pub(crate) gates: Gates,
    /// Bytes that a cache was told to give up.
    pub(crate) given_up: BTreeMap<FileId, u64>,
}

#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) changed: Condvar,
}

/// What an operation is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    Path(&'a Path),
    Paths(&'a Path, &'a Path),
    File(FileId),
}

/// Not its contents, which are long.
impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn crashed() -> io::Error {
    io::Error::other("crashed")
}

impl State {
    fn may_change(&self) -> io::Result<()> {
        if self.changes_max.is_some_and(|max| self.changes >= max) { Err(crashed()) } else { Ok(()) }
    }

    /// Checks that the process still lives.
    pub(crate) fn may(&self, kind: OperationKind, epoch: u64) -> io::Result<()> {
        if self.epoch != epoch {
            return Err(crashed());
        }
        if kind.changes_disk() { self.may_change() } else { Ok(()) }
    }

    fn strike(&mut self, kind: OperationKind, subject: Subject<'_>) -> Strike {
        if self.rules.is_empty() {
            return Strike::default();
        }
        let paths = match subject {
            Subject::Path(path) => [path; 2],
            Subject::Paths(from, to) => [from, to],
            Subject::File(file) => [&**self.image.path(file); 2],
        };
        self.rules.strike(kind, paths)
    }

    /// One change by the process, unless it is dead by then.
    pub(crate) fn perform(&mut self, operation: Operation) -> io::Result<()> {
        self.may_change()?;
        self.changes += 1;
        self.happen(operation);
        Ok(())
    }

    /// Something happens to the disk, whoever did it.
    pub(crate) fn happen(&mut self, operation: Operation) {
        self.image.apply(&operation);
        if let Some(journal) = &mut self.journal {
            journal.push(operation);
        }
    }

    /// How many bytes there is room for.
    pub(crate) fn room(&self) -> u64 {
        self.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.image.bytes_used()))
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits an operation once its gate is open and its delay is over. The caller does as the strike says.
    pub(crate) fn enter(
        &self,
        epoch: u64,
        kind: OperationKind,
        subject: Subject<'_>,
    ) -> io::Result<(MutexGuard<'_, State>, Strike)> {
        let mut state = self.lock();
        if state.gates.is_closed(kind) {
            state.gates.arrive(kind);
            self.changed.notify_all();
            while state.gates.is_closed(kind) && state.epoch == epoch {
                state = self.wait(state);
            }
            state.gates.leave(kind);
        }
        state.may(kind, epoch)?;
        let strike = state.strike(kind, subject);
        if strike.delay > Duration::ZERO {
            drop(state);
            thread::sleep(strike.delay);
            state = self.lock();
            state.may(kind, epoch)?;
        }
        Ok((state, strike))
    }

    /// As [`Shared::enter`], where all that can go wrong is that it fails without effect.
    pub(crate) fn enter_sound(
        &self,
        epoch: u64,
        kind: OperationKind,
        subject: Subject<'_>,
    ) -> io::Result<MutexGuard<'_, State>> {
        let (state, strike) = self.enter(epoch, kind, subject)?;
        strike.fault.and_then(crate::Fault::error).map_or(Ok(state), Err)
    }
}
