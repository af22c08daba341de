//! Settings of a group consumer.

use std::{fmt, time::Duration};

use quorate_cluster_config::{
    Name, TopicName,
    limits::{
        CLIENT_NAME_BYTES_MAX, REBALANCE_TIMEOUT_BOUNDS, REBALANCE_TIMEOUT_DEFAULT, SESSION_TIMEOUT_BOUNDS,
        SESSION_TIMEOUT_DEFAULT, SUBSCRIPTIONS_MAX,
    },
};
use quorate_protocol::{MemberSettings, ServeFrom};

use super::{CommitMode, GroupConsumer, RebalanceEvent, handle::Settings, membership::Membership};
use crate::{
    client::Client,
    consumer::{Engine, FetchSettings, OnTruncated, Position},
    error::Error,
};

/// Called with each change of what a member reads.
pub(super) type OnRebalance = Box<dyn FnMut(&RebalanceEvent) + Send + Sync>;

/// Settings of a [`GroupConsumer`].
#[must_use = "a builder does nothing before it is built"]
pub struct GroupConsumerBuilder {
    client: Client,
    group: Name,
    member: MemberSettings,
    fetch: FetchSettings,
    settings: Settings,
}

impl fmt::Debug for GroupConsumerBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GroupConsumerBuilder")
            .field("group", &self.group)
            .field("member", &self.member)
            .finish()
    }
}

impl GroupConsumerBuilder {
    pub(crate) fn new(client: Client, group: Name, topics: Vec<TopicName>) -> Self {
        let program = std::env::args_os().next().map(std::path::PathBuf::from);
        let name = program.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
        let member = MemberSettings {
            instance: None,
            client: name.chars().take(CLIENT_NAME_BYTES_MAX / 4).collect(),
            topics,
            session_timeout: SESSION_TIMEOUT_DEFAULT,
            rebalance_timeout: REBALANCE_TIMEOUT_DEFAULT,
        };
        Self { client, group, member, fetch: FetchSettings::default(), settings: Settings::default() }
    }

    /// What `quorate group describe` calls this member, at most 249 bytes. Default: the program's file name.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.member.client = name.into();
        self
    }

    /// Makes it a static member: whoever joins under this name takes over from who had it, with the partitions it had, and
    /// nobody else is disturbed. It does not leave when it is closed; its partitions wait for it until the session timeout.
    pub fn instance(mut self, name: Name) -> Self {
        self.member.instance = Some(name);
        self
    }

    /// After so long without a sign of life the member is given up, 1 s to 30 min; default 10 s. Where its connection is
    /// broken, as when its process is killed, that takes a second only, unless it is a static member.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.member.session_timeout = timeout;
        self
    }

    /// How long it may take from when partitions are to be given up to the next poll, 1 s to 1 h; default 5 min. A member that
    /// takes longer is given up.
    pub fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.member.rebalance_timeout = timeout;
        self
    }

    /// Where to begin in partitions of which the group has committed nothing. Default: the first record.
    pub fn from(mut self, position: Position) -> Self {
        self.settings.from = position;
        self
    }

    /// What to do if records are deleted before they are read, those from the committed offset on among them. Default: report
    /// it.
    pub fn on_truncated(mut self, policy: OnTruncated) -> Self {
        self.fetch.on_truncated = policy;
        self
    }

    /// When what was processed is committed. Default: within polls, every second.
    pub fn commit_mode(mut self, mode: CommitMode) -> Self {
        self.settings.commit_mode = mode;
        self
    }

    /// Is told of each change of what this member reads, within a poll.
    pub fn on_rebalance(mut self, listener: impl FnMut(&RebalanceEvent) + Send + Sync + 'static) -> Self {
        self.settings.on_rebalance = Some(Box::new(listener));
        self
    }

    /// As [`ConsumerBuilder::fetch_bytes`](crate::ConsumerBuilder::fetch_bytes).
    pub fn fetch_bytes(mut self, bytes: usize) -> Self {
        self.fetch.bytes = bytes;
        self
    }

    /// As [`ConsumerBuilder::max_wait`](crate::ConsumerBuilder::max_wait).
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.fetch.max_wait = max_wait;
        self
    }

    /// As [`ConsumerBuilder::serve_from`](crate::ConsumerBuilder::serve_from).
    pub fn serve_from(mut self, serve_from: ServeFrom) -> Self {
        self.fetch.serve_from = serve_from;
        self
    }

    /// Joins the group.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a setting beyond its bounds; [`Error::Refused`] with
    /// [`ErrorCode::LimitReached`](crate::ErrorCode::LimitReached); [`Error::Unreachable`] or [`Error::TimedOut`] if the
    /// group's coordinator does not answer in time.
    pub async fn build(self) -> Result<GroupConsumer, Error> {
        self.fetch.check()?;
        let MemberSettings { client, topics, session_timeout, rebalance_timeout, .. } = &self.member;
        let invalid = |message: String| Err(Error::InvalidArgument(message));
        if topics.is_empty() || topics.len() > SUBSCRIPTIONS_MAX {
            return invalid(format!("a group consumer reads 1 to {SUBSCRIPTIONS_MAX} topics, not {}", topics.len()));
        }
        if client.len() > CLIENT_NAME_BYTES_MAX {
            return invalid(format!(
                "client_name has {} bytes, at most {CLIENT_NAME_BYTES_MAX} are allowed",
                client.len()
            ));
        }
        for (name, value, bounds) in [
            ("session_timeout", session_timeout, SESSION_TIMEOUT_BOUNDS),
            ("rebalance_timeout", rebalance_timeout, REBALANCE_TIMEOUT_BOUNDS),
        ] {
            if !bounds.contains(value) {
                let (low, high) = (bounds.start(), bounds.end());
                return invalid(format!("{name} is {value:?}, but must lie within {low:?} and {high:?}"));
            }
        }
        let engine = Engine::new(self.client.clone(), self.fetch);
        let membership = Membership::join(self.client, self.group, self.member).await?;
        Ok(GroupConsumer::new(engine, membership, self.settings))
    }
}
