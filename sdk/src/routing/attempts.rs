//! The tries of one call: their pauses, their deadline, and what is known of their effects.

use std::time::{Duration, Instant};

use quorate_cluster_config::NodeId;
use quorate_protocol::ApiError;

use super::Call;
use crate::{backoff::Backoff, connection::CallFailure, error::Error, place::Place};

/// How long one try may take, within a call that may take `timeout`: short enough to leave time for other nodes.
pub(crate) fn attempt_timeout(timeout: Duration) -> Duration {
    (timeout / 3).clamp(Duration::from_millis(250), Duration::from_secs(4))
}

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    action: String,
    place: Box<Place>,
    started: Instant,
    timeout: Duration,
    backoff: Backoff,
    outcome_unknown: bool,
}

impl Attempts {
    pub(crate) fn new(call: Call) -> Self {
        let Call { action, place, timeout, .. } = call;
        let place = place.unwrap_or_default();
        Self { action, place, started: Instant::now(), timeout, backoff: Backoff::default(), outcome_unknown: false }
    }

    /// Remembers which node the next try is sent to.
    pub(crate) fn ask(&mut self, node: Option<NodeId>) {
        self.place.node = node.or(self.place.node);
    }

    /// When the whole call is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + self.timeout
    }

    /// When a try that starts now, and by its nature may wait for `wait`, is over.
    pub(crate) fn attempt_deadline(&self, wait: Duration) -> Instant {
        (Instant::now() + wait + attempt_timeout(self.timeout)).min(self.deadline())
    }

    /// Whether an earlier try may have taken effect.
    pub(crate) fn outcome_unknown(&self) -> bool {
        self.outcome_unknown
    }

    /// The error of a call that was refused for good.
    pub(crate) fn refused(&self, refusal: ApiError) -> Error {
        Error::Refused {
            action: self.action.clone(),
            place: self.place.clone(),
            outcome_unknown: self.outcome_unknown || !refusal.has_no_side_effects(),
            code: refusal.code,
            message: refusal.message,
        }
    }

    /// Judges a failed try: pauses if another one makes sense, else returns the call's error.
    pub(crate) async fn pause(&mut self, failure: &CallFailure, servers: impl FnOnce() -> String) -> Result<(), Error> {
        match failure {
            CallFailure::Refused(refusal) if !refusal.is_retryable() => return Err(self.refused(refusal.clone())),
            CallFailure::Refused(refusal) => self.outcome_unknown |= !refusal.has_no_side_effects(),
            CallFailure::Unknown(_) => self.outcome_unknown = true,
            CallFailure::Unreachable(_) => {}
        }
        let pause = self.backoff.next();
        if Instant::now() + pause < self.deadline() {
            tracing::debug!(action = self.action, ?failure, ?pause, "trying again");
            tokio::time::sleep(pause).await;
            return Ok(());
        }
        let (action, waited) = (self.action.clone(), self.timeout);
        let (reason, code) = match failure {
            CallFailure::Unreachable(reason) if !self.outcome_unknown => {
                let place = self.place.clone();
                return Err(Error::Unreachable { action, place, waited, servers: servers(), reason: reason.clone() });
            }
            CallFailure::Unreachable(reason) | CallFailure::Unknown(reason) => (reason.clone(), None),
            CallFailure::Refused(refusal) => (refusal.message.clone(), Some(refusal.code)),
        };
        let place = self.place.clone();
        Err(Error::TimedOut { action, place, waited, reason, code, outcome_unknown: self.outcome_unknown })
    }
}

#[cfg(test)]
mod tests {
    use quorate_protocol::ErrorCode;

    use super::*;

    async fn fail(timeout_ms: u64, failures: &[CallFailure]) -> Result<(), Error> {
        let mut attempts = Attempts::new(Call::new("do it", Duration::from_millis(timeout_ms)));
        for failure in failures {
            attempts.pause(failure, || "a:1, b:2".into()).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_call_that_never_reached_a_node_names_the_addresses_tried() {
        let error = fail(0, &[CallFailure::Unreachable("connection refused".into())]).await;
        assert!(matches!(&error, Err(Error::Unreachable { servers, .. }) if servers == "a:1, b:2"), "{error:?}");
    }

    #[tokio::test]
    async fn silence_makes_the_outcome_unknown_whatever_follows() {
        let no = ApiError::new(ErrorCode::TopicExists, "it exists");
        let error = fail(1000, &[CallFailure::Unknown("silence".into()), CallFailure::Refused(no)]).await;
        assert!(matches!(&error, Err(error) if !error.has_no_side_effects()), "{error:?}");
    }

    #[tokio::test]
    async fn a_plain_refusal_ends_the_call_at_once() {
        let error = fail(1000, &[CallFailure::Refused(ApiError::new(ErrorCode::UnknownTopic, "no such topic"))]).await;
        assert!(matches!(&error, Err(error) if error.has_no_side_effects() && !error.is_retryable()), "{error:?}");
    }

    #[test]
    fn one_try_leaves_time_for_others() {
        assert_eq!(attempt_timeout(Duration::from_secs(9)), Duration::from_secs(3));
        assert_eq!(attempt_timeout(Duration::from_secs(60)), Duration::from_secs(4));
        assert_eq!(attempt_timeout(Duration::ZERO), Duration::from_millis(250));
    }
}
