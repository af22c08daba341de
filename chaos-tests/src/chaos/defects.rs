//! What must not happen besides anomalies: crashes, panics, hangs, damage.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are told; a run that goes wrong all the time says the same again and again.
const DEFECTS_MAX: usize = 100;

/// Defects met so far, in words.
#[derive(Debug, Default)]
pub(super) struct Defects(Mutex<Vec<String>>);

impl Defects {
    pub(super) fn add(&self, defect: impl Into<String>) {
        let (mut defects, defect) = (self.lock(), defect.into());
        if defects.len() < DEFECTS_MAX {
            tracing::error!(defect);
            defects.push(defect);
        }
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
