//! What every command gets: where the cluster is, how long it may take, how results are written.

use std::future::{Future, pending};
use std::time::Duration;

use quorate::Client;
use quorate_cluster_config::Address;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::GlobalArgs;
use crate::error::Failure;
use crate::output::{self, Format, View};

/// How long a command waits for the cluster unless `--timeout` says otherwise.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The SDK ends its own waits first, with a message that knows the cause; this much later ours ends any other.
const BACKSTOP_MARGIN: Duration = Duration::from_millis(500);

/// How long the SDK may try before we look ourselves whether anything listens.
const PATIENCE: Duration = Duration::from_millis(300);

/// The global flags, ready to use.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    servers: Vec<Address>,
    timeout: Option<Duration>,
    began: Instant,
    pub(crate) format: Format,
}

impl Context {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        Self { servers: global.server.clone(), timeout: global.timeout, began: Instant::now(), format: global.output }
    }

    /// `--timeout`, or its default.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT_DEFAULT)
    }

    /// When `--timeout` is over for what is under way.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + self.timeout()
    }

    /// The same, with another default for `--timeout`.
    pub(crate) fn with_timeout_default(&self, default: Duration) -> Self {
        Self { timeout: Some(self.timeout.unwrap_or(default)), ..self.clone() }
    }

    /// The same, with the time starting over: for what follows a long run or a question to the user.
    pub(crate) fn renewed(&self) -> Self {
        Self { began: Instant::now(), ..self.clone() }
    }

    /// Connects to the first of the servers that answers. The SDK keeps trying until the time is up, as a program
    /// wants it; a person wants to know at once that nothing listens.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let connecting = Client::builder().servers(self.servers.clone()).timeout(self.timeout()).connect();
        tokio::select! {
            biased;
            connected = self.within("connecting", connecting) => connected,
            failure = self.nothing_listens() => Err(failure),
        }
    }

    /// Resolves if no server takes connections; otherwise never.
    async fn nothing_listens(&self) -> Failure {
        sleep(PATIENCE).await;
        let mut reason = None;
        for server in &self.servers {
            match TcpStream::connect((server.host(), server.port())).await {
                Ok(_) => return pending().await,
                Err(error) => reason = Some(format!("{server}: {error}")),
            }
        }
        match reason {
            Some(reason) => Failure::Unreachable(reason),
            None => pending().await,
        }
    }

    /// Awaits an answer of the cluster, but not beyond the deadline.
    pub(crate) async fn within<T, E>(
        &self,
        what: &str,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        match timeout_at(self.deadline() + BACKSTOP_MARGIN, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Timeout { what: what.to_owned(), timeout: self.timeout() }),
        }
    }

    /// Writes a result to stdout.
    pub(crate) fn show(&self, view: &impl View) -> Result<(), Failure> {
        output::show(self.format, view)
    }
}
