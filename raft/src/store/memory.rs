//! A keyed store in memory that loses unflushed writes at a crash: for tests and for clusters inside of tests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{KvBatch, KvError, KvStore};

/// The store of one node. It survives crashes; what is mounted from it does not.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    life: u64,
    live: BTreeMap<Vec<u8>, Vec<u8>>,
    flushed: BTreeMap<Vec<u8>, Vec<u8>>,
    refuses: bool,
}

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store that works until the next crash.
    #[must_use]
    pub fn mount(self: &Arc<Self>) -> Arc<dyn KvStore> {
        let life = self.state().life;
        Arc::new(Mount { store: self.clone(), life })
    }

    /// Loses what was not flushed.
    pub fn crash(&self) {
        let mut state = self.state();
        state.life += 1;
        state.live = state.flushed.clone();
    }

    /// Fails all writes from now on, or no longer.
    pub fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Flushes, as the operating system may at any time.
    pub fn flush(&self) {
        let mut state = self.state();
        state.flushed = state.live.clone();
    }
}

#[derive(Debug)]
struct Mount {
    store: Arc<MemoryStore>,
    life: u64,
}

impl Mount {
    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> Result<T, KvError> {
        let mut state = self.store.state();
        if state.life == self.life { Ok(use_it(&mut state)) } else { Err(KvError("the node has crashed".into())) }
    }
}

impl KvStore for Mount {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.with(|state| state.live.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, KvError> {
        let matches = |(key, _): &(&Vec<u8>, &Vec<u8>)| key.starts_with(prefix);
        self.with(|state| state.live.iter().filter(matches).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        self.with(|state| {
            if state.refuses {
                return Err(KvError("the disk does not take it".into()));
            }
            state.live.extend(batch.puts);
            batch.deletes.iter().for_each(|key| drop(state.live.remove(key)));
            Ok(())
        })?
    }

    fn flush(&self) -> Result<(), KvError> {
        self.with(|state| state.flushed = state.live.clone())
    }
}
