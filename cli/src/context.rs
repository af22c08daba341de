//! What every command gets: where the cluster is, how long it may take, how results are written.

use std::future::{Future, pending};
use std::time::Duration;

use quorate::Client;
use quorate_cluster_config::{Address, CLIENT_PORT_DEFAULT, Name};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::args::GlobalArgs;
use crate::contexts::Contexts;
use crate::error::Failure;
use crate::output::{self, Format, View};

const SERVER_VARIABLE: &str = "QUORATE_SERVER";
const CONTEXT_VARIABLE: &str = "QUORATE_CONTEXT";

/// How long a command waits for the cluster unless `--timeout` says otherwise.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// The SDK ends its own waits first, with a message that knows the cause; this much later ours ends any other.
const BACKSTOP_MARGIN: Duration = Duration::from_millis(500);

/// How long the SDK may try before we look ourselves whether anything listens.
const PATIENCE: Duration = Duration::from_millis(300);

/// Which cluster is meant. A flag goes before a variable, and servers before a name.
#[derive(Clone, Debug)]
struct ClusterChoice {
    servers: Vec<Address>,
    context: Option<Name>,
}

impl ClusterChoice {
    fn servers(&self) -> Result<Vec<Address>, Failure> {
        if !self.servers.is_empty() {
            return Ok(self.servers.clone());
        }
        if let Some(context) = &self.context {
            return Ok(Contexts::load()?.get(context)?.servers.clone());
        }
        if let Some(servers) = variable(SERVER_VARIABLE)? {
            return Address::parse_list(&servers)
                .map_err(|error| Failure::Usage(format!("{SERVER_VARIABLE}: {error}")));
        }
        let contexts = Contexts::load()?;
        let named = match variable(CONTEXT_VARIABLE)? {
            Some(name) => {
                let name =
                    Name::parse(&name).map_err(|error| Failure::Usage(format!("{CONTEXT_VARIABLE}: {error}")))?;
                Some(name)
            }
            None => contexts.current.clone(),
        };
        match named {
            Some(name) => Ok(contexts.get(&name)?.servers.clone()),
            None => Ok(vec![Address::loopback(CLIENT_PORT_DEFAULT)]),
        }
    }
}

/// The value of an environment variable, if it has one.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var_os(name).filter(|value| !value.is_empty()).map(std::ffi::OsString::into_string) {
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(Failure::Usage(format!("{name} is not valid UTF-8"))),
        None => Ok(None),
    }
}

/// Resolves if no server takes connections; otherwise never.
async fn nothing_listens(servers: &[Address]) -> Failure {
    sleep(PATIENCE).await;
    let mut reason = None;
    for server in servers {
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

/// The global flags, ready to use.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    cluster: ClusterChoice,
    timeout: Option<Duration>,
    began: Instant,
    pub(crate) format: Format,
}

impl Context {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let cluster = ClusterChoice { servers: global.server.clone(), context: global.context.clone() };
        Self { cluster, timeout: global.timeout, began: Instant::now(), format: global.output }
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
        let servers = self.cluster.servers()?;
        let connecting = Client::builder().servers(servers.clone()).timeout(self.timeout()).connect();
        tokio::select! {
            biased;
            connected = self.within("connecting", connecting) => connected,
            failure = nothing_listens(&servers) => Err(failure),
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
