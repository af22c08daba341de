//! One node process.

use std::{
    fs::{self, File},
    io,
    net::Ipv4Addr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::{binary, eventually, until};
use crate::node_faults::NodeFaults;

/// A node that is asked to stop does so by then.
const STOP_MAX: Duration = Duration::from_secs(20);
/// The unit of times in `/proc`: fixed by Linux's interface, whatever the kernel's own clock.
const PROC_TICKS_PER_SECOND: u64 = 100;
/// Lines of its log shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// Which binary runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// The shipped `quorate-node`.
    Shipped,
    /// `quorate-chaos-node`: a kill is a power cut, syncs can be held, disk and clock can be broken.
    PowerLoss,
}

/// How a node without data becomes part of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayIn {
    /// It forms one with the nodes at these peer addresses, separated by commas.
    Seeds(String),
    /// It joins the one of the nodes at these peer addresses, separated by commas.
    Join(String),
    /// It waits to be added.
    Standby,
}

/// What a process has in memory, without what was swapped out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Now, in bytes.
    pub bytes: u64,
    /// The most it ever had, in bytes.
    pub peak_bytes: u64,
}

/// A node, running or not. Its process is killed when it is dropped.
#[derive(Debug)]
pub struct Node {
    /// What runs it.
    pub kind: NodeKind,
    /// The address it listens at.
    pub host: Ipv4Addr,
    /// The file of the network namespace it runs in, if not in that of this process.
    pub namespace: Option<String>,
    /// The port for clients.
    pub client_port: u16,
    /// The port for peers.
    pub peer_port: u16,
    /// All of its data.
    pub data_dir: PathBuf,
    /// How it becomes part of a cluster.
    pub way_in: WayIn,
    /// Where its peers are told to reach it, if not at its own port.
    pub peer_advertise: Option<String>,
    /// Where clients are told to reach it, if not at its own port.
    pub advertise: Option<String>,
    /// Settings, as environment variables: `QUORATE_A__B` and a value.
    pub settings: Vec<(String, String)>,
    log: PathBuf,
    /// How long its log was when its process was started.
    log_before: u64,
    child: Option<Child>,
}

impl Node {
    /// A node that does not run yet and keeps everything below `directory`.
    #[must_use]
    pub fn new(kind: NodeKind, directory: &Path, ports: (u16, u16), way_in: WayIn) -> Self {
        let (client_port, peer_port) = ports;
        let (data_dir, log) = (directory.join("data"), directory.join("log"));
        Self {
            kind,
            host: Ipv4Addr::LOCALHOST,
            namespace: None,
            client_port,
            peer_port,
            data_dir,
            way_in,
            peer_advertise: None,
            advertise: None,
            settings: Vec::new(),
            log,
            log_before: 0,
            child: None,
        }
    }

    /// Where clients reach it.
    #[must_use]
    pub fn client_address(&self) -> String {
        self.advertise.clone().unwrap_or_else(|| self.own_client_address())
    }

    /// Where clients reach it whatever it advertises.
    #[must_use]
    pub fn own_client_address(&self) -> String {
        format!("{}:{}", self.host, self.client_port)
    }

    /// Where its peers reach it.
    #[must_use]
    pub fn peer_address(&self) -> String {
        format!("{}:{}", self.host, self.peer_port)
    }

    /// Starts the process.
    ///
    /// # Panics
    /// If it runs already or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        self.log_before = self.log_bytes();
        let child = self.spawn().unwrap_or_else(|error| panic!("cannot start a node: {error}"));
        self.child = Some(child);
    }

    fn spawn(&self) -> io::Result<Child> {
        let program = binary(match self.kind {
            NodeKind::Shipped => "quorate-node",
            NodeKind::PowerLoss => "quorate-chaos-node",
        });
        if let Some(directory) = self.log.parent() {
            fs::create_dir_all(directory)?;
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = match &self.namespace {
            // It becomes the program: the process is the same.
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={namespace}")).arg("--").arg(program);
                command
            }
            None => Command::new(program),
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"QUORATE_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(&self.data_dir).args(["--listen", &self.own_client_address()]);
        command.args(["--peer-listen", &self.peer_address()]).env("QUORATE_HTTP_LISTEN", "off");
        match &self.way_in {
            WayIn::Seeds(seeds) => command.args(["--seeds", seeds]),
            WayIn::Join(nodes) => command.env("QUORATE_JOIN", nodes),
            WayIn::Standby => command.env("QUORATE_STANDBY", "true"),
        };
        command.args(self.peer_advertise.iter().flat_map(|address| ["--peer-advertise", address]));
        if let Some(address) = &self.advertise {
            command.env("QUORATE_ADVERTISE", address);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    /// Kills the process as a crash would, if it runs.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill_9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = child.kill().and_then(|()| child.wait());
            ended.unwrap_or_else(|error| panic!("cannot kill process {}: {error}", child.id()));
        }
    }

    /// Kills the process as [`kill_9`](Self::kill_9) does, which has to follow, but does not wait for its end.
    pub fn begin_to_kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks the process to stop and waits until it has.
    ///
    /// # Panics
    /// If it does not stop, or not with exit code 0.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.exited(STOP_MAX).await;
        assert!(status.success(), "the node stopped with {status}: {}", self.log_tail());
    }

    /// As [`stop`](Self::stop); kills the process if it does not stop.
    ///
    /// # Errors
    /// If it does not stop, or not with exit code 0.
    pub async fn try_stop(&mut self) -> Result<(), String> {
        self.signal(Signal::TERM);
        let stopped = eventually("the process ends", STOP_MAX, async || match self.ended_by_itself() {
            Some(status) if status.success() || self.ended_before_it_began(status) => Ok(Ok(())),
            Some(status) => Ok(Err(format!("it stopped with {status}"))),
            None => Err("it still runs".to_owned()),
        });
        let stopped = stopped.await.and_then(|(stopped, _)| stopped);
        self.kill_9();
        stopped
    }

    /// Whether it was asked to stop so early that the system ended it, before the program could have a say: it has not even
    /// said that it starts.
    fn ended_before_it_began(&self, status: ExitStatus) -> bool {
        status.signal() == Some(Signal::TERM.as_raw()) && self.log_bytes() == self.log_before
    }

    fn log_bytes(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// Stops the process in its tracks until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        let pid = pid.unwrap_or_else(|| panic!("the node does not run"));
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal process {pid:?}: {error}"));
    }

    /// Whether it has a process, as far as is known.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// How its process ended, if it has a process and nobody here ended it.
    ///
    /// # Panics
    /// If the system does not tell.
    pub fn ended_by_itself(&mut self) -> Option<ExitStatus> {
        let looked = self.child.as_mut().map_or(Ok(None), Child::try_wait);
        looked.unwrap_or_else(|error| panic!("cannot look at the node at {}: {error}", self.client_address()))
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Panics
    /// If it does not.
    pub async fn exited(&mut self, within: Duration) -> ExitStatus {
        let mut child = self.child.take().unwrap_or_else(|| panic!("the node does not run"));
        let looked = until("the process ends", within, async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        looked.await.0
    }

    /// Holds or releases the syncs of a [`NodeKind::PowerLoss`] node.
    ///
    /// # Panics
    /// If the file system fails.
    pub fn hold_sync(&self, held: bool) {
        let path = self.data_dir.join(crate::power_loss::HOLD_SYNC);
        let done = if held { fs::write(&path, b"") } else { fs::remove_file(&path) };
        done.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Lets these faults, and no others, hold on a [`NodeKind::PowerLoss`] node.
    ///
    /// # Panics
    /// If the file system fails.
    pub fn set_faults(&self, faults: NodeFaults) {
        faults.install(&self.data_dir).unwrap_or_else(|error| panic!("{}: {error}", self.data_dir.display()));
    }

    /// Processor time its process has used, where there is `/proc`.
    #[must_use]
    pub fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.as_ref()?.id())).ok()?;
        // What follows the name in parentheses: the state is field 3, user and system time are fields 14 and 15.
        let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks = times.next()?.ok()? + times.next()?.ok()?;
        Some(Duration::from_millis(ticks * 1000 / PROC_TICKS_PER_SECOND))
    }

    /// What its process has in memory, where there is `/proc`.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            // In units that are called kB and are 1,024 bytes.
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
        };
        Some(Memory { bytes: bytes("VmRSS:")?, peak_bytes: bytes("VmHWM:")? })
    }

    /// The directories of its replicas.
    #[must_use]
    pub fn replica_directories(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.data_dir.join("replicas")) else { return Vec::new() };
        let mut directories: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        directories.sort();
        directories
    }

    /// Everything its processes wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of [`log`](Self::log).
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the node at {} wrote at last:\n{}", self.client_address(), self.log_tail());
        }
        if let Some(mut child) = self.child.take() {
            // Already dead is as good.
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}
