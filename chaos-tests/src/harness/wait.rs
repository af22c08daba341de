//! Waiting for what should become true.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

/// How often is looked.
const POLL: Duration = Duration::from_millis(25);

static ALONE: Mutex<()> = Mutex::const_new(());

/// Lets one test of this process run at a time: each has three nodes to run on few cores.
pub async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

/// Looks until there is something, and returns it with how long that took.
///
/// # Panics
/// If there is nothing by then; `look` says why not.
pub async fn until<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> (T, Duration) {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return (found, began.elapsed()),
            Err(why) => assert!(began.elapsed() < within, "waited {within:?} until {what}: {why}"),
        }
        tokio::time::sleep(POLL).await;
    }
}
