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
pub async fn until<T>(what: &str, within: Duration, look: impl AsyncFnMut() -> Result<T, String>) -> (T, Duration) {
    eventually(what, within, look).await.unwrap_or_else(|why| panic!("{why}"))
}

/// As [`until`].
///
/// # Errors
/// If there is nothing by then.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<(T, Duration), String> {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok((found, began.elapsed())),
            Err(why) if began.elapsed() >= within => return Err(format!("waited {within:?} until {what}: {why}")),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
