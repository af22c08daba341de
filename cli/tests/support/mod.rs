//! A cluster of one fake node, as `quorate local` runs it, and the program to use it with.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A local cluster of one fake node, stopped when dropped.
pub(crate) struct Local {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
    variables: Vec<(&'static str, &'static str)>,
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

pub(crate) fn fake_node() -> PathBuf {
    program().parent().unwrap().join("examples/fake-node")
}

/// A port that is free now, and whose peer port is.
pub(crate) fn free_port() -> u16 {
    (0..100)
        .find_map(|_| {
            let client = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let port = client.local_addr().unwrap().port();
            TcpListener::bind(("127.0.0.1", port.checked_add(100)?)).ok().map(|_| port)
        })
        .expect("two free ports")
}

impl Local {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts the node with these environment variables.
    pub(crate) fn start_with(variables: &[(&'static str, &'static str)]) -> Self {
        let local = Self { dir: tempfile::tempdir().unwrap(), port: free_port(), variables: variables.to_vec() };
        let port = local.port.to_string();
        let started = local.run(&["local", "start", "--nodes", "1", "--base-port", &port, "--detach", "--dir"], b"");
        assert!(started.status.success(), "{started:?}");
        local
    }

    /// Runs `quorate`; an argument `--dir` at the end is followed by the directory.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(program());
        command.args(arguments).env("QUORATE_SERVER", format!("127.0.0.1:{}", self.port));
        if arguments.last() == Some(&"--dir") {
            command.arg(self.dir.path().join("cluster"));
        }
        command
            .env("QUORATE_NODE_BIN", fake_node())
            .envs(self.variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that fails early closes its stdin.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    pub(crate) fn ok(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    }

    pub(crate) fn refused(&self, arguments: &[&str], input: &[u8]) -> String {
        let output = self.run(arguments, input);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.run(&["local", "stop", "--dir"], b"");
    }
}
