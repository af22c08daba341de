//! What all logs of a node share: the writer threads, the maintenance, the caches and the scrubber.

use std::{io, sync::Arc, time::Duration};

use crate::{
    LogWriters, ScrubOptions, TailCache, WriterStats,
    read::OpenSegments,
    scrub::{OpenLogs, ScrubCounters, Scrubber},
    shared::Common,
    write::Maintenance,
};

/// The bounds of an engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Threads that write and sync, at least one. Each log is served by one of them.
    pub writer_threads: usize,
    /// Bytes of recent entries kept in memory over all logs.
    pub tail_cache_bytes: usize,
    /// Finished segments kept open for reading over all logs, each with an index of at most 32 KiB.
    pub open_segments_max: usize,
    /// How finished segments are reread in the background, if they are.
    pub scrub: Option<ScrubOptions>,
}

impl Default for EngineOptions {
    /// Two threads, 64 MiB, 256 segments, no scrubber.
    fn default() -> Self {
        Self { writer_threads: 2, tail_cache_bytes: 64 << 20, open_segments_max: 256, scrub: None }
    }
}

/// Counters since the start of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Of the writer threads.
    pub writers: WriterStats,
    /// Finished segments open for reading, now.
    pub open_segments: usize,
    /// Passes of the scrubber over all logs.
    pub scrub_passes: u64,
    /// Bytes the scrubber has read.
    pub scrub_bytes: u64,
    /// Damages the scrubber has met; what stays damaged counts at every pass.
    pub scrub_damages: u64,
}

/// See the module. Open logs keep it alive.
#[derive(Debug)]
pub struct LogEngine {
    writers: Arc<LogWriters>,
    cache: TailCache,
    common: Common,
    logs: Arc<OpenLogs>,
    scrubbed: Arc<ScrubCounters>,
    _maintenance: Maintenance,
    _scrubber: Option<Scrubber>,
}

impl LogEngine {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(options: EngineOptions) -> io::Result<Arc<Self>> {
        let maintenance = Maintenance::start()?;
        let logs = Arc::<OpenLogs>::default();
        let scrubbed = Arc::<ScrubCounters>::default();
        let scrubber = match options.scrub {
            Some(scrub) => Some(Scrubber::start(scrub, logs.clone(), scrubbed.clone())?),
            None => None,
        };
        Ok(Arc::new(Self {
            writers: LogWriters::start(options.writer_threads)?,
            cache: TailCache::new(options.tail_cache_bytes),
            common: Common {
                open_segments: Arc::new(OpenSegments::new(options.open_segments_max)),
                maintenance: maintenance.queue(),
            },
            logs,
            scrubbed,
            _maintenance: maintenance,
            _scrubber: scrubber,
        }))
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let (scrub_passes, scrub_bytes, scrub_damages) = self.scrubbed.read();
        EngineStats {
            writers: self.writers.stats(),
            open_segments: self.common.open_segments.count(),
            scrub_passes,
            scrub_bytes,
            scrub_damages,
        }
    }

    /// Waits until the background work asked for so far (indexes, checkpoints, removals) is done, at most this long;
    /// tells whether it is.
    #[must_use]
    pub fn wait_for_maintenance(&self, timeout: Duration) -> bool {
        self.common.maintenance.wait(timeout)
    }

    pub(crate) fn writers(&self) -> &Arc<LogWriters> {
        &self.writers
    }

    pub(crate) fn cache(&self) -> &TailCache {
        &self.cache
    }

    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    pub(crate) fn logs(&self) -> &OpenLogs {
        &self.logs
    }
}
