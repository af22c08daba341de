//! Processes by id *and* start time: an id alone may belong to another process by now.

use std::io;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// One process, told apart from any later one that gets the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: u32,
    /// Linux: field 22 of `/proc/PID/stat` (ticks since boot) and the boot it counts from; elsewhere `ps -o lstart=`.
    pub(crate) start_time: String,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signalled {
    Sent,
    /// The process had ended before.
    Gone,
}

impl ProcessIdentity {
    /// The process that has this id now; none if it ended, also if its parent has not noticed yet.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_time: platform::start_time(pid)? })
    }

    pub(crate) fn is_running(&self) -> bool {
        platform::start_time(self.pid).is_some_and(|start_time| start_time == self.start_time)
    }

    /// Sends a signal to this very process.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<Signalled> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(Signalled::Gone);
        };
        match platform::signal(self, pid, signal) {
            Ok(true) => Ok(Signalled::Sent),
            Ok(false) | Err(rustix::io::Errno::SRCH) => Ok(Signalled::Gone),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::fs;

    use rustix::io::Errno;
    use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

    use super::ProcessIdentity;

    pub(super) fn start_time(pid: u32) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let ticks = super::running_since(&stat)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Some(format!("{ticks}@{}", boot.trim()))
    }

    /// The descriptor pins the process before the check, so that its id cannot pass on between check and signal.
    pub(super) fn signal(process: &ProcessIdentity, pid: Pid, signal: Signal) -> Result<bool, Errno> {
        let pinned = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Some(descriptor),
            // Kernels before 5.3 and some sandboxes have no such descriptors.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => None,
            Err(error) => return Err(error),
        };
        if !process.is_running() {
            return Ok(false);
        }
        match pinned {
            Some(descriptor) => pidfd_send_signal(descriptor, signal)?,
            None => kill_process(pid, signal)?,
        }
        Ok(true)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::process::Command;

    use rustix::io::Errno;
    use rustix::process::{Pid, Signal, kill_process};

    use super::ProcessIdentity;

    pub(super) fn start_time(pid: u32) -> Option<String> {
        let output = Command::new("ps").args(["-o", "stat=", "-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
        let line = String::from_utf8(output.stdout).ok()?;
        let (state, started) = line.trim().split_once(char::is_whitespace)?;
        (!state.starts_with('Z')).then(|| started.trim().to_owned())
    }

    pub(super) fn signal(process: &ProcessIdentity, pid: Pid, signal: Signal) -> Result<bool, Errno> {
        if !process.is_running() {
            return Ok(false);
        }
        kill_process(pid, signal).map(|()| true)
    }
}

/// The start time in `/proc/PID/stat`, unless the process has ended and only waits for its parent to notice.
#[cfg(target_os = "linux")]
fn running_since(stat: &str) -> Option<&str> {
    const STATE: usize = 0;
    const START_TIME: usize = 19;
    // The command's name, in parentheses, may hold blanks and parentheses itself: count from the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.nth(STATE)?;
    (!matches!(state, "Z" | "X" | "x")).then(|| fields.nth(START_TIME - STATE - 1))?
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_start_time_is_found_behind_any_command_name() {
        let stat = |state| format!("42 (a) b (c)) {state} 1 42 42 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 98765 1 2");
        assert_eq!(running_since(&stat("S")), Some("98765"));
        assert_eq!(running_since(&stat("Z")), None);
        assert_eq!(running_since("42 (a"), None);
    }

    #[test]
    fn this_process_runs_and_is_no_other() {
        let this = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(this.is_running());
        let earlier = ProcessIdentity { start_time: "1@earlier".to_owned(), ..this };
        assert!(!earlier.is_running());
        // Were the start time ignored, this would end the test.
        assert_eq!(earlier.signal(Signal::KILL).unwrap(), Signalled::Gone);
    }

    #[test]
    fn a_killed_process_is_gone_even_before_its_parent_notices() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessIdentity::of(child.id()).unwrap();
        assert_eq!(process.signal(Signal::KILL).unwrap(), Signalled::Sent);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while process.is_running() && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(!process.is_running());
        child.wait().unwrap();
        assert_eq!(process.signal(Signal::KILL).unwrap(), Signalled::Gone);
    }
}
