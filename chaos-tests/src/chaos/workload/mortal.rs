//! A client that can crash: a runtime of its own, which ends with all of its tasks and connections at any moment.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::runtime::{Builder, Runtime};

use crate::history::{PartitionKey, Value};

/// A task that does not yield for this long is left behind.
const KILL_MAX: Duration = Duration::from_secs(5);

/// A client's runtime.
#[derive(Debug)]
pub(super) struct Mortal(Option<Runtime>);

impl Mortal {
    pub(super) fn run(client: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.spawn(client);
        Ok(Self(Some(runtime)))
    }

    /// Ends it. Nothing of it runs any more when this returns.
    pub(super) async fn kill(mut self) {
        if let Some(runtime) = self.0.take() {
            // It waits for threads, which tasks must not do.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(KILL_MAX)).await;
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Sends under way: of those of a client that has crashed nobody knows.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<BTreeMap<Value, (PartitionKey, u64)>>);

impl Pending {
    pub(super) fn begin(&self, value: Value, partition: PartitionKey, invoked_ns: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(value, (partition, invoked_ns));
    }

    /// Whether it was under way until now.
    pub(super) fn end(&self, value: Value) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&value).is_some()
    }

    /// All that are under way; none is after that.
    pub(super) fn take(&self) -> BTreeMap<Value, (PartitionKey, u64)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
