//! Metadata commands: executed by the leader of the metadata group, wherever they come in.

use std::{sync::Arc, time::Duration};

use quorate_raft::{MetadataCommand, MetadataError, MetadataReply, ProposeError};
use tokio::time::Instant;

use super::Member;
use crate::peers::PeerFailure;

const PAUSE: Duration = Duration::from_millis(50);

/// Why a command was not executed, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    /// No leader was found in time; nothing happened.
    #[error("the metadata group has no leader; a majority of its nodes must be up")]
    NoLeader,
    /// It was handed to a leader, and the answer did not come.
    #[error("whether the command was executed is unknown: {0}")]
    Unknown(String),
}

/// Executes a command if this node leads the metadata group.
pub(crate) async fn here(
    member: &Member,
    command: &MetadataCommand,
    patience: Duration,
) -> Result<(MetadataReply, u64), PeerFailure> {
    match tokio::time::timeout(patience, member.metadata.execute(command)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(MetadataError::Propose(ProposeError::NotLeader { leader }))) => Err(PeerFailure::NotLeader(leader)),
        Ok(Err(error)) => Err(PeerFailure::Unknown(error.to_string())),
        Err(_) => Err(PeerFailure::Unknown("no majority answered in time".to_owned())),
    }
}

/// Executes a command wherever the leader is, looking for it until `deadline`. A command is handed over at most once,
/// unless it is certain that it was not executed.
pub(crate) async fn anywhere(
    member: &Arc<Member>,
    command: &MetadataCommand,
    deadline: Instant,
) -> Result<(MetadataReply, u64), ExecuteError> {
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            return Err(ExecuteError::NoLeader);
        }
        let status = member.metadata.group().status();
        let answer = match status.leader_node {
            Some(node) if node == member.identity.node => here(member, command, patience).await,
            Some(node) => match member.rpc.get(node).await {
                Ok(client) => {
                    let call = client.execute(crate::peers::within(patience), command.clone(), patience);
                    match call.await {
                        Ok(answer) => answer,
                        Err(error) => {
                            member.rpc.forget(node).await;
                            Err(PeerFailure::Unknown(error.to_string()))
                        }
                    }
                }
                Err(_) => Err(PeerFailure::NotReady),
            },
            None => Err(PeerFailure::NotLeader(None)),
        };
        match answer {
            Ok(done) => return Ok(done),
            Err(PeerFailure::Unknown(why)) => return Err(ExecuteError::Unknown(why)),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
