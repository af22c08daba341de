//! The command line `quorate`, run to its end.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::binary;

/// Far beyond every `--timeout` of the tests: a command that runs on hangs.
const HANGS_AFTER: Duration = Duration::from_secs(40);

/// How to run a command line program.
#[derive(Clone, Debug)]
pub struct Cli {
    program: PathBuf,
    servers: Option<String>,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The command.
    pub command: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Cli {
    /// `quorate`, with `--server` by its environment variable.
    #[must_use]
    pub fn new(servers: &str) -> Self {
        Self { program: binary("quorate"), servers: Some(servers.to_owned()) }
    }

    /// Another program.
    #[must_use]
    pub fn of(program: &Path) -> Self {
        Self { program: program.to_owned(), servers: None }
    }

    /// What it runs.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it with this input.
    ///
    /// # Panics
    /// If it cannot be started or hangs.
    pub async fn run(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let command = format!("{name} {}", arguments.join(" "));
        let mut process = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"QUORATE_")) {
            process.env_remove(name);
        }
        process.args(arguments).envs(self.servers.iter().map(|servers| ("QUORATE_SERVER", servers)));
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let began = Instant::now();
        let mut child = process.spawn().unwrap_or_else(|error| panic!("cannot run {command}: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_vec();
            // A command that fails early closes its stdin.
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        let Ok(output) = timeout(HANGS_AFTER, child.wait_with_output()).await else {
            panic!("{command} hangs: it still ran after {HANGS_AFTER:?}")
        };
        let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ran { command, code: output.status.code(), stdout: output.stdout, stderr, took: began.elapsed() }
    }

    /// Runs it and expects it to succeed; returns what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub async fn ok(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let ran = self.run(arguments, input).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    }

    /// Runs it and expects one line on stderr and this exit code; returns the line.
    ///
    /// # Panics
    /// If it does anything else.
    pub async fn refused(&self, code: i32, arguments: &[&str], input: &[u8]) -> String {
        let ran = self.run(arguments, input).await;
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(code == 2 || ran.stderr.lines().count() == 1, "not one line: {ran:?}");
        ran.stderr
    }
}
