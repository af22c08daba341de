//! The bytes of one file: as processes see them, as the disk has them, and what lies between.

use std::{mem, sync::Arc};

use crate::power_cut::{Fate, Mode, SECTOR_BYTES};

#[derive(Clone, Debug)]
enum Change {
    Write { position: u64, bytes: Arc<Vec<u8>> },
    Truncate(u64),
}

/// Invariant: unless a sync failed, `live` is `durable` with `pending` applied in order.
///
/// Both are copied when they are changed and shared, so that a snapshot costs nothing until then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

fn write(to: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    let (start, end) = (position as usize, position as usize + bytes.len());
    if start == to.len() {
        to.extend_from_slice(bytes);
        return;
    }
    if to.len() < end {
        to.resize(end, 0);
    }
    to[start..end].copy_from_slice(bytes);
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { position, bytes } => write(to, *position, bytes),
            Self::Truncate(size) => to.resize(*size as usize, 0),
        }
    }

    /// Applies those sectors of it that survive.
    fn apply_some(&self, to: &mut Vec<u8>, fate: &mut Fate) {
        match self {
            Self::Write { position, bytes } => {
                let end = position + bytes.len() as u64;
                let mut start = *position;
                while start < end {
                    let sector_end = end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
                    if fate.survives() {
                        write(to, start, &bytes[(start - position) as usize..(sector_end - position) as usize]);
                    }
                    start = sector_end;
                }
                if end > to.len() as u64 && fate.survives() {
                    to.resize(end as usize, 0);
                }
            }
            Self::Truncate(_) if fate.survives() => self.apply(to),
            Self::Truncate(_) => {}
        }
    }

    /// The part of a write that is before the `boundary`-th sector boundary within it, counted from 1; nothing for 0.
    fn torn(&self, boundary: u64) -> Option<Self> {
        let Self::Write { position, bytes } = self else { return None };
        let end = (position / SECTOR_BYTES + boundary) * SECTOR_BYTES;
        let kept = end.checked_sub(*position).filter(|kept| *kept > 0)?;
        Some(Self::Write { position: *position, bytes: Arc::new(bytes[..kept as usize].to_vec()) })
    }

    /// How many sector boundaries there are strictly within a write.
    fn boundaries(&self) -> u64 {
        match self {
            Self::Write { position, bytes } => {
                (position + bytes.len() as u64 - 1) / SECTOR_BYTES - position / SECTOR_BYTES
            }
            Self::Truncate(_) => 0,
        }
    }
}

impl Contents {
    /// Contents on stable storage.
    pub(crate) fn durable(bytes: Vec<u8>) -> Self {
        let bytes = Arc::new(bytes);
        Self { live: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    pub(crate) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(crate) fn write(&mut self, position: u64, bytes: &Arc<Vec<u8>>) {
        self.change(Change::Write { position, bytes: bytes.clone() });
    }

    pub(crate) fn truncate(&mut self, size: u64) {
        self.change(Change::Truncate(size));
    }

    fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.live));
        self.pending.push(change);
    }

    pub(crate) fn sync(&mut self) {
        self.settle(|pending, durable| pending.iter().for_each(|change| change.apply(durable)));
    }

    /// The pages look clean and are not on the disk: a later success says nothing of them.
    pub(crate) fn fail_sync(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn power_cut(&mut self, mut fate: Fate) {
        match fate.mode {
            Mode::LoseAll => self.pending.clear(),
            Mode::KeepAll => self.sync(),
            Mode::TearLast => self.settle(|pending, durable| {
                let last = pending.pop();
                pending.iter().for_each(|change| change.apply(durable));
                let torn = last.and_then(|last| match &last {
                    Change::Write { .. } => last.torn(last.boundaries()),
                    Change::Truncate(_) => Some(last),
                });
                torn.iter().for_each(|change| change.apply(durable));
            }),
            Mode::KeepPrefix => self.settle(|pending, durable| {
                let whole = fate.prefix(pending.len());
                pending[..whole].iter().for_each(|change| change.apply(durable));
                let torn =
                    pending.get(whole).and_then(|next| next.torn(fate.prefix(next.boundaries() as usize) as u64));
                torn.iter().for_each(|change| change.apply(durable));
            }),
            Mode::KeepSome => self.settle(|pending, durable| {
                pending.iter().for_each(|change| change.apply_some(durable, &mut fate));
            }),
        }
        self.live = self.durable.clone();
    }

    /// Lets what is pending become durable, or not.
    fn settle(&mut self, settle: impl FnOnce(&mut Vec<Change>, &mut Vec<u8>)) {
        if !self.pending.is_empty() {
            settle(&mut self.pending, Arc::make_mut(&mut self.durable));
            self.pending.clear();
        }
    }

    /// Flips bits of one byte wherever it is.
    pub(crate) fn flip(&mut self, position: u64, mask: u8) {
        let flip = |bytes: &mut Arc<Vec<u8>>, at: u64| {
            if at < bytes.len() as u64 {
                Arc::make_mut(bytes)[at as usize] ^= mask;
            }
        };
        flip(&mut self.live, position);
        flip(&mut self.durable, position);
        for change in &mut self.pending {
            if let Change::Write { position: start, bytes } = change
                && *start <= position
            {
                flip(bytes, position - *start);
            }
        }
    }

    /// The live and the durable bytes after some damage to both.
    pub(crate) fn damaged(&self, damage: impl Fn(&mut Vec<u8>)) -> (Arc<Vec<u8>>, Arc<Vec<u8>>) {
        let mut live = Vec::clone(&self.live);
        damage(&mut live);
        let live = Arc::new(live);
        if Arc::ptr_eq(&self.live, &self.durable) {
            return (live.clone(), live);
        }
        let mut durable = Vec::clone(&self.durable);
        damage(&mut durable);
        (live, Arc::new(durable))
    }

    pub(crate) fn replace(&mut self, live: &Arc<Vec<u8>>, durable: &Arc<Vec<u8>>) {
        (self.live, self.durable) = (live.clone(), durable.clone());
    }

    /// Gives up the bytes.
    pub(crate) fn clear(&mut self) {
        drop(mem::take(self));
    }
}
