//! Reads from the disk for those who ask for old records.

use std::sync::Arc;

use quorate_log_engine::{ColdRead, Frame, ReadError};
use tokio::sync::Semaphore;

/// Reads from the disk that a node runs for its readers at once; further ones wait. A fraction of the runtime's blocking
/// threads (512), so that a crowd of readers of old records leaves enough to Raft, the store and the opening of logs.
const COLD_READS_MAX: usize = 64;

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The disk failed, or the log is damaged there.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The read did not come to its end: it panicked, or the node is stopping.
    #[error("the read was broken off: {0}")]
    BrokenOff(String),
}

/// The reads of old records on one node, bounded in number. Raft's own reads do not wait here.
#[derive(Clone, Debug)]
pub struct ColdReads(Arc<Semaphore>);

impl Default for ColdReads {
    /// 64 at once.
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COLD_READS_MAX)))
    }
}

impl ColdReads {
    /// Runs a read off the async threads, once there is room.
    pub(crate) async fn run(&self, read: ColdRead) -> Result<Vec<Frame>, FetchError> {
        self.blocking(move || read.run()).await?.map_err(FetchError::Log)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
        let broken_off = |error: &dyn std::error::Error| FetchError::BrokenOff(error.to_string());
        let permit = self.0.clone().acquire_owned().await.map_err(|closed| broken_off(&closed))?;
        let run = move || {
            // Given back by the thread itself: it goes on even if nobody waits for it any more.
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(run).await.map_err(|error| broken_off(&error))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use super::*;

    #[tokio::test]
    async fn a_read_that_panics_is_an_error_and_gives_its_room_back() {
        let reads = ColdReads::default();
        let broken = reads.blocking(|| panic!("a bug")).await;
        let Err(FetchError::BrokenOff(reason)) = broken.map(|(): ()| ()) else { panic!("no error") };
        assert!(reason.contains("panicked"), "{reason}");
        assert_eq!(reads.0.available_permits(), COLD_READS_MAX);
    }

    #[tokio::test]
    async fn no_more_than_the_bound_run_at_once_also_if_nobody_waits_for_them() {
        let reads = ColdReads::default();
        let running = Arc::new(AtomicUsize::new(0));
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let read = || {
            let (reads, running, released) = (reads.clone(), running.clone(), released.clone());
            tokio::spawn(async move {
                let work = move || {
                    running.fetch_add(1, SeqCst);
                    let _ = released.lock().unwrap().recv();
                };
                reads.blocking(work).await.unwrap();
            })
        };
        let tasks: Vec<_> = (0..2 * COLD_READS_MAX).map(|_| read()).collect();
        while running.load(SeqCst) < COLD_READS_MAX {
            tokio::task::yield_now().await;
        }
        tasks.iter().take(COLD_READS_MAX / 2).for_each(tokio::task::JoinHandle::abort);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(running.load(SeqCst), COLD_READS_MAX, "those that were given up still hold their room");
        drop(release);
        for task in tasks.into_iter().skip(COLD_READS_MAX / 2) {
            task.await.unwrap();
        }
        // Nobody waits for those that were given up.
        let all_back = reads.0.acquire_many(COLD_READS_MAX as u32);
        drop(tokio::time::timeout(std::time::Duration::from_secs(5), all_back).await.unwrap().unwrap());
    }
}
