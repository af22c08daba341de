//! The network as the kernel's: each node in a network namespace of its own, and a router between them that drops packets.
//!
//! Stronger than a proxy, which ends every connection itself: here packets are lost, TCP sends them again for as long as it likes,
//! and what was on its way when a link was cut may arrive when it is healed. Nobody needs to be root where the system lets users
//! make user namespaces; all of it goes when the process does.
//!
//! Only `unshare`, `nsenter` (util-linux) and `ip` (iproute2) are needed. Delays, rates and damage are the proxies' business.

mod router;

use std::{
    ffi::{OsStr, OsString},
    process::{Command, Output, Stdio},
};

pub use router::{Place, Router};

/// Names the network namespace that this process was in before it got its own ones.
const INSIDE: &str = "CHAOS_INSIDE_NAMESPACES";
/// Names of namespaces are kept below `/run`, which belongs to others.
const ENTER: &str = "mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\"";
/// All that a router does, once.
const TRY: &str = "mount -t tmpfs tmpfs /run && ip netns add one && ip link add one0 type veth peer name one1 netns one \
    && ip rule add priority 100 iif one0 to 10.83.1.2/32 blackhole && nsenter --net=/run/netns/one true";

/// Whether this process is in namespaces of its own.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var(INSIDE).is_ok_and(|outside| own_namespace().is_ok_and(|own| own != outside))
}

/// What tells the network namespace of this process from others.
fn own_namespace() -> Result<String, String> {
    let link = std::fs::read_link("/proc/self/ns/net").map_err(|error| format!("/proc/self/ns/net: {error}"))?;
    Ok(link.to_string_lossy().into_owned())
}

/// Whether this system lets this user make what is needed.
///
/// # Errors
/// In a line, why not.
pub fn possible() -> Result<(), String> {
    run(&mut unshare(), &["sh", "-c", TRY]).map(drop)
}

/// Runs a program with its arguments in namespaces of its own; returns its exit code.
///
/// # Errors
/// If it cannot be run.
pub fn enter(program: &OsStr, arguments: &[OsString]) -> Result<u8, String> {
    let mut command = unshare();
    command.args(["sh", "-c", ENTER]).arg(program).args(arguments).env(INSIDE, own_namespace()?);
    let status = command.status().map_err(|error| format!("cannot run unshare: {error}"))?;
    let code = status.code().ok_or_else(|| format!("the program in the namespaces ended with {status}"))?;
    u8::try_from(code).map_err(|_| format!("the program in the namespaces ended with {status}"))
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "--"]);
    command
}

/// Runs a command to its end.
fn run(command: &mut Command, arguments: &[&str]) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = command.args(arguments).stdin(Stdio::null()).output();
    let output = ran.map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.lines().next().unwrap_or("it failed and said nothing")))
}
