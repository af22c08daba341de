//! What a node needs of its machine, and how it is looked for. Each verdict is a pure function of what was found.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bytesize::ByteSize;
use quorate_cluster_config::limits::RESERVE_BYTES_DEFAULT;
use serde::Serialize;

/// Whether a node can run so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It runs, but not as it could.
    Warning,
    /// It must not run.
    Bad,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Bad => "bad",
        })
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn new(check: &'static str, verdict: Verdict, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Looks at everything.
pub(super) fn all(directory: &Path) -> Vec<Finding> {
    // A node makes its directory itself: what is above it counts until then.
    let existing = directory.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(directory);
    vec![file_system(existing), space(existing), sync_time(existing), open_files(), clock(), memory(), processors()]
}

const FILE_SYSTEM: &str = "file system";

fn file_system(directory: &Path) -> Finding {
    match rustix::fs::statfs(directory) {
        // The field's type differs between systems.
        #[expect(clippy::cast_possible_truncation, reason = "magic numbers have 32 bits")]
        Ok(found) => judge_file_system(found.f_type as u32),
        Err(error) => unreadable(FILE_SYSTEM, directory, &error.to_string()),
    }
}

/// By the magic numbers of Linux, as in statfs(2).
fn judge_file_system(magic: u32) -> Finding {
    let local =
        [(0xEF53, "ext4"), (0x5846_5342, "xfs"), (0x9123_683E, "btrfs"), (0x2FC1_2FC1, "zfs"), (0xF2F5_2010, "f2fs")];
    let volatile = [(0x0102_1994, "tmpfs"), (0x8584_58F6, "ramfs")];
    let remote = [(0x6969, "nfs"), (0xFF53_4D42, "cifs"), (0xFE53_4D42, "smb"), (0x6573_5546, "fuse")];
    let named = |of: &[(u32, &'static str)]| of.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name);
    if let Some(name) = named(&local) {
        return Finding::ok(FILE_SYSTEM, name);
    }
    if let Some(name) = named(&volatile) {
        let advice = "it is memory: a power cut loses acknowledged records; use a directory on a disk";
        return Finding::new(FILE_SYSTEM, Verdict::Bad, name, advice);
    }
    if let Some(name) = named(&remote) {
        let advice = "whether a sync reaches stable storage there is up to its server; use a local disk";
        return Finding::new(FILE_SYSTEM, Verdict::Warning, name, advice);
    }
    if magic == 0x794C_7630 {
        let advice = "the layers of a container are slow and go with it; mount a volume";
        return Finding::new(FILE_SYSTEM, Verdict::Warning, "overlayfs", advice);
    }
    let advice = "not known to this program; make sure that fdatasync reaches stable storage there";
    Finding::new(FILE_SYSTEM, Verdict::Warning, format!("type {magic:#x}"), advice)
}

const SPACE: &str = "free space";

fn space(directory: &Path) -> Finding {
    match rustix::fs::statvfs(directory) {
        Ok(found) => judge_space(found.f_bavail.saturating_mul(found.f_frsize)),
        Err(error) => unreadable(SPACE, directory, &error.to_string()),
    }
}

fn judge_space(bytes: u64) -> Finding {
    let found = ByteSize(bytes).to_string();
    let reserve = ByteSize(RESERVE_BYTES_DEFAULT);
    match bytes {
        bytes if bytes <= RESERVE_BYTES_DEFAULT => {
            let advice = format!("a node takes no records with less than {reserve} (log.reserve_bytes); make room");
            Finding::new(SPACE, Verdict::Bad, found, advice)
        }
        bytes if bytes < 10 * RESERVE_BYTES_DEFAULT => {
            let advice = format!("{reserve} of it are left free; keep --retention-size of topics below the rest");
            Finding::new(SPACE, Verdict::Warning, found, advice)
        }
        _ => Finding::ok(SPACE, found),
    }
}

const SYNC: &str = "fdatasync";
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 4 << 10;
/// Written again and again, as a log writes into blocks it has reserved.
const FILE_BYTES: usize = 1 << 20;
const MEASURE_MAX: Duration = Duration::from_secs(5);

fn sync_time(directory: &Path) -> Finding {
    match measure_syncs(directory) {
        Ok(times) => judge_syncs(times),
        Err(error) => unreadable(SYNC, directory, &error.to_string()),
    }
}

/// The times of writes of 4 KiB with their syncs.
fn measure_syncs(directory: &Path) -> std::io::Result<Vec<Duration>> {
    use std::os::unix::fs::FileExt;
    let path = directory.join(format!(".quorate-doctor-{}", std::process::id()));
    let measured = (|| {
        let mut file = OpenOptions::new().create_new(true).write(true).open(&path)?;
        file.write_all(&vec![0; FILE_BYTES])?;
        file.sync_all()?;
        let (began, block) = (Instant::now(), [7; SYNC_BYTES]);
        let mut times = Vec::with_capacity(SYNCS);
        while times.len() < SYNCS && began.elapsed() < MEASURE_MAX {
            let step = Instant::now();
            file.write_all_at(&block, (times.len() * SYNC_BYTES % FILE_BYTES) as u64)?;
            file.sync_data()?;
            times.push(step.elapsed());
        }
        Ok(times)
    })();
    drop(fs::remove_file(&path));
    measured
}

fn judge_syncs(mut times: Vec<Duration>) -> Finding {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    let (median, slow) = (at(50), at(99));
    let found = format!("p50 {median:.1?}, p99 {slow:.1?} of {}", times.len());
    if median < Duration::from_micros(30) {
        let advice = "faster than disks are: is the write cache volatile, or sync ignored? A power cut may lose what was acknowledged";
        return Finding::new(SYNC, Verdict::Warning, found, advice);
    }
    if median > Duration::from_millis(10) || slow > Duration::from_millis(100) {
        let advice = "each acknowledgement waits for one; use a faster disk, or one with power-loss protection";
        return Finding::new(SYNC, Verdict::Warning, found, advice);
    }
    Finding::ok(SYNC, found)
}

const OPEN_FILES: &str = "open files";
/// For segments, connections and the keyed store.
const OPEN_FILES_MIN: u64 = 4_096;
const OPEN_FILES_WANTED: u64 = 65_536;

fn open_files() -> Finding {
    judge_open_files(rustix::process::getrlimit(rustix::process::Resource::Nofile).current)
}

fn judge_open_files(limit: Option<u64>) -> Finding {
    let Some(limit) = limit else { return Finding::ok(OPEN_FILES, "unlimited") };
    let advice =
        format!("raise it to {OPEN_FILES_WANTED} (ulimit -n, LimitNOFILE=): each replica and connection has some");
    match limit {
        limit if limit < OPEN_FILES_MIN => Finding::new(OPEN_FILES, Verdict::Bad, limit.to_string(), advice),
        limit if limit < OPEN_FILES_WANTED => Finding::new(OPEN_FILES, Verdict::Warning, limit.to_string(), advice),
        limit => Finding::ok(OPEN_FILES, limit.to_string()),
    }
}

const CLOCK: &str = "clock";
/// Nothing of this program is older: 2024-01-01.
const EARLIEST: Duration = Duration::from_secs(1_704_067_200);

fn clock() -> Finding {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let markers = ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/chrony", "/run/ntpd.pid"];
    judge_clock(since, markers.iter().any(|marker| Path::new(marker).exists()))
}

fn judge_clock(since: Duration, kept: bool) -> Finding {
    let found = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string();
    if since < EARLIEST {
        return Finding::new(
            CLOCK,
            Verdict::Bad,
            found,
            "it is wrong: retention and times of records depend on it; set it",
        );
    }
    if !kept {
        let advice = "no sign of chrony, ntpd or systemd-timesyncd; retention by time believes this clock, though nothing else does";
        return Finding::new(CLOCK, Verdict::Warning, found, advice);
    }
    Finding::ok(CLOCK, format!("{found}, kept by a time service"))
}

const MEMORY: &str = "memory";
const MEMORY_WANTED: u64 = 1 << 30;

fn memory() -> Finding {
    judge_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

/// From the text of `/proc/meminfo`.
fn judge_memory(meminfo: &str) -> Finding {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> = total.and_then(|total| total.split_whitespace().next()?.parse().ok());
    match kib.map(|kib| kib.saturating_mul(1 << 10)) {
        None => {
            Finding::new(MEMORY, Verdict::Warning, "unknown", "this system does not tell; a node wants 1 GiB or more")
        }
        Some(bytes) if bytes < MEMORY_WANTED => {
            let advice = "lower log.tail_cache_bytes and limits.*_in_flight, or use a machine with 1 GiB or more";
            Finding::new(MEMORY, Verdict::Warning, ByteSize(bytes).to_string(), advice)
        }
        Some(bytes) => Finding::ok(MEMORY, ByteSize(bytes).to_string()),
    }
}

const PROCESSORS: &str = "processors";

fn processors() -> Finding {
    match std::thread::available_parallelism().map(std::num::NonZero::get) {
        Ok(1) => Finding::new(PROCESSORS, Verdict::Warning, "1", "a node runs on one, and faster on two or more"),
        Ok(count) => Finding::ok(PROCESSORS, count.to_string()),
        Err(error) => Finding::new(PROCESSORS, Verdict::Warning, error.to_string(), "this system does not tell"),
    }
}

fn unreadable(check: &'static str, directory: &Path, why: &str) -> Finding {
    let advice = format!("{} must be, or come to be, a directory this user may write to", directory.display());
    Finding::new(check, Verdict::Bad, why, advice)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn verdicts<const N: usize>(findings: [Finding; N]) -> [Verdict; N] {
        for finding in &findings {
            assert_eq!(finding.advice.is_none(), finding.verdict == Verdict::Ok, "{finding:?}");
        }
        findings.map(|finding| finding.verdict)
    }

    #[test]
    fn memory_is_no_disk_and_a_disk_far_away_is_doubtful() {
        use Verdict::{Bad, Ok, Warning};
        let found = [0xEF53, 0x5846_5342, 0x0102_1994, 0x6969, 0x794C_7630, 0x1234].map(judge_file_system);
        assert_eq!(verdicts(found), [Ok, Ok, Bad, Warning, Warning, Warning]);
    }

    #[test]
    fn each_limit_has_a_point_from_which_on_it_is_too_low() {
        use Verdict::{Bad, Ok, Warning};
        assert_eq!(verdicts([1 << 30, 2 << 30, 100 << 30].map(judge_space)), [Bad, Warning, Ok]);
        assert_eq!(
            verdicts([Some(1_024), Some(8_192), Some(65_536), None].map(judge_open_files)),
            [Bad, Warning, Ok, Ok]
        );
        let meminfo = ["MemTotal:  524288 kB\nMemFree: 1 kB", "MemTotal: 16384000 kB", ""].map(judge_memory);
        assert_eq!(verdicts(meminfo), [Warning, Ok, Warning]);
    }

    #[test]
    fn syncs_may_be_too_slow_and_too_fast_to_be_true() {
        use Verdict::{Ok, Warning};
        let of = |micros: u64| judge_syncs(vec![Duration::from_micros(micros); 100]);
        assert_eq!(verdicts([of(5), of(200), of(20_000)]), [Warning, Ok, Warning]);
        let mut times = vec![Duration::from_micros(200); 98];
        times.extend([Duration::from_millis(300); 2]);
        assert_eq!(verdicts([judge_syncs(times)]), [Warning]);
        assert_eq!(verdicts([judge_syncs(Vec::new())]), [Warning]);
    }

    #[test]
    fn a_clock_of_the_past_is_wrong() {
        use Verdict::{Bad, Ok, Warning};
        let now = Duration::from_secs(1_800_000_000);
        assert_eq!(
            verdicts([judge_clock(Duration::ZERO, true), judge_clock(now, false), judge_clock(now, true)]),
            [Bad, Warning, Ok]
        );
    }

    #[test]
    fn nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let findings = all(&directory.path().join("not/there/yet"));
        assert_eq!(findings.len(), 7);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(measure_syncs(Path::new("/nowhere")).is_err());
    }
}
