//! The network as byte streams: one of the seams at which tests put faults.

use std::{fmt::Debug, io};

use quorate_cluster_config::Address;
use quorate_raft::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

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
            stream.set_nodelay(true)?;
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
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Stream)
        })
    }
}
