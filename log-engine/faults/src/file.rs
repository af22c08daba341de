//! An open file of one process.

use std::{
    fmt,
    io::{self, IoSlice},
    ops::Range,
    sync::{Arc, MutexGuard},
};

use quorate_log_engine::VfsFile;

use crate::{
    fault::{Fault, full},
    filter::OperationKind,
    image::FILE_BYTES_MAX,
    operation::{FileId, Operation, SyncEffect},
    random::SplitMix64,
    rules::Strike,
    state::{Shared, State, Subject},
};

pub(crate) struct DiskFile {
    shared: Arc<Shared>,
    epoch: u64,
    file: FileId,
    writable: bool,
}

impl fmt::Debug for DiskFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DiskFile").field("epoch", &self.epoch).field("file", &self.file).finish_non_exhaustive()
    }
}

impl DiskFile {
    pub(crate) fn new(shared: Arc<Shared>, epoch: u64, file: FileId, writable: bool) -> Self {
        Self { shared, epoch, file, writable }
    }

    fn enter(&self, kind: OperationKind) -> io::Result<(MutexGuard<'_, State>, Strike)> {
        self.shared.enter(self.epoch, kind, Subject::File(self.file))
    }

    /// Checks that the handle may write, and that the file would not become absurdly long.
    fn may_end_at(&self, end: Option<u64>) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file was opened for reading only"));
        }
        if end.is_none_or(|end| end > FILE_BYTES_MAX) { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }
}

impl VfsFile for DiskFile {
    /// On a disk that fills up, what fits is written.
    fn write_all_at(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let size = slices.iter().map(|slice| slice.len()).sum();
        self.may_end_at(position.checked_add(size as u64))?;
        let mut bytes = Vec::with_capacity(size);
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        let (mut state, strike) = self.enter(OperationKind::Write)?;
        let mut error = strike.fault.and_then(Fault::error);
        if error.is_some() {
            let partly = strike.fault == Some(Fault::PartialWrite);
            bytes.truncate(if partly { SplitMix64::new(strike.random).below(size as u64) as usize } else { 0 });
        }
        let growth = state.image.growth(self.file, position + bytes.len() as u64);
        if growth > state.room() {
            bytes.truncate((bytes.len() as u64).saturating_sub(growth - state.room()) as usize);
            error = Some(full());
        }
        if !bytes.is_empty() {
            let path = state.image.path(self.file).clone();
            state.perform(Operation::Write { path, file: self.file, position, bytes: Arc::new(bytes) })?;
        }
        error.map_or(Ok(()), Err)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let (mut state, strike) = self.enter(OperationKind::Read)?;
        if let Some(error) = strike.fault.and_then(Fault::error) {
            return Err(error);
        }
        let live = state.image.contents(self.file).live();
        let rest = live.get(usize::try_from(position).unwrap_or(usize::MAX)..).unwrap_or_default();
        let mut count = rest.len().min(buffer.len());
        let mut random = SplitMix64::new(strike.random);
        if strike.fault == Some(Fault::ShortRead) && count > 1 {
            count = 1 + random.below(count as u64 - 1) as usize;
        }
        buffer[..count].copy_from_slice(&rest[..count]);
        if count > 0 && matches!(strike.fault, Some(Fault::FlipInRead | Fault::FlipOnDisk)) {
            let (at, mask) = (random.below(count as u64), 1 << random.below(8));
            buffer[at as usize] ^= mask;
            if strike.fault == Some(Fault::FlipOnDisk) {
                let path = state.image.path(self.file).clone();
                state.happen(Operation::Flip { path, file: self.file, position: position + at, mask });
            }
        }
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut state, strike) = self.enter(OperationKind::SyncFile)?;
        let error = strike.fault.and_then(Fault::error);
        let effect = match strike.fault {
            Some(Fault::IgnoredSync) => SyncEffect::Ignored,
            _ if error.is_some() => SyncEffect::Failed,
            _ => SyncEffect::Durable,
        };
        let path = state.image.path(self.file).clone();
        state.perform(Operation::SyncFile { path, file: self.file, effect })?;
        error.map_or(Ok(()), Err)
    }

    fn will_not_need(&self, bytes: Range<u64>) {
        *self.shared.lock().given_up.entry(self.file).or_default() += bytes.end.saturating_sub(bytes.start);
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.shared.lock();
        state.may(OperationKind::Read, self.epoch)?;
        Ok(state.image.contents(self.file).live().len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.may_end_at(Some(size))?;
        let (mut state, strike) = self.enter(OperationKind::Truncate)?;
        if let Some(error) = strike.fault.and_then(Fault::error) {
            return Err(error);
        }
        if state.image.growth(self.file, size) > state.room() {
            return Err(full());
        }
        let path = state.image.path(self.file).clone();
        state.perform(Operation::Truncate { path, file: self.file, size })
    }
}
