//! The network as byte streams: one of the seams at which tests put faults.

use std::{fmt::Debug, io, time::Duration};

use quorate_cluster_config::Address;
use quorate_raft::BoxFuture;
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Silence before the first keepalive probe, the time between probes, and how many may go unanswered.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// A connected byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A boxed [`ByteStream`].
pub type Stream = Box<dyn ByteStream>;

/// A listening address.
pub trait Listener: Send {
    /// The next incoming stream.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>>;
}

/// Listens and connects.
pub trait Net: Debug + Send + Sync + 'static {
    /// Listens on an address.
    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Connects to an address.
    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Stream>>;
}

/// TCP, without delay of small writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNet;

impl Listener for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (stream, _) = TcpListener::accept(self).await?;
            tune(&stream)?;
            Ok(Box::new(stream) as Stream)
        })
    }
}

impl Net for TcpNet {
    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind((address.host(), address.port())).await?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect((address.host(), address.port())).await?;
            tune(&stream)?;
            Ok(Box::new(stream) as Stream)
        })
    }
}

/// Small writes go out at once; a peer that vanished without a word is noticed within a minute or two.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    }
    Ok(())
}
