//! Ctrl-C, and the two other signals that ask a program to end.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Failure;

/// Resolves once the user or the system asks the program to end.
///
/// The signals are taken over by the first poll, for the rest of the program's life.
pub(crate) async fn interrupted() -> Result<(), Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::message(format!("cannot listen for signals, {error}, try again")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
