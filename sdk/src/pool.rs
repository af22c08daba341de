//! One connection per node address, made on demand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use quorate_cluster_config::Address;

use crate::{
    backoff::Backoff,
    connection::{CallFailure, Connection},
};

/// Connections by address. An address that refused is left alone for a while: callers get its last error at once and
/// can try another node.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    slots: Mutex<HashMap<Address, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    backoff: Backoff,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    reason: String,
    until: Instant,
}

impl Pool {
    /// The connection to `address`. Callers that need the same new connection wait for one attempt to make it.
    pub(crate) async fn get(&self, address: &Address, deadline: Instant) -> Result<Connection, CallFailure> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(address.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        slot.connection = None;
        if let Some(refusal) = slot.refusal.as_ref().filter(|refusal| refusal.until > Instant::now()) {
            return Err(CallFailure::Unreachable(refusal.reason.clone()));
        }
        match Connection::open(address, deadline).await {
            Ok(connection) => {
                slot.backoff.reset();
                slot.refusal = None;
                slot.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(reason) => {
                let pause = slot.backoff.next();
                slot.refusal = Some(Refusal { reason: reason.clone(), until: Instant::now() + pause });
                Err(CallFailure::Unreachable(reason))
            }
        }
    }
}
