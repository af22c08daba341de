//! The network between the nodes, which can be cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use quorate_cluster_config::Address;
use quorate_node::{BoxFuture, Listener, Net, Stream, TcpNet};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Tasks that wait for a link to be mended.
const WAITING_MAX: usize = 4_096;

/// Which pairs of nodes are cut off from each other. Bytes between them wait, as they do behind a network that drops
/// packets; whoever has enough of waiting gives the connection up.
#[derive(Debug, Default)]
pub(crate) struct Links {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The smaller number first.
    cut: BTreeSet<(u16, u16)>,
    /// Whose peer port it is.
    nodes: BTreeMap<u16, u16>,
    waiting: Vec<Waker>,
}

impl Links {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, node: u16, peer_port: u16) {
        self.state().nodes.insert(peer_port, node);
    }

    pub(crate) fn cut(&self, one: u16, other: u16) {
        self.state().cut.insert((one.min(other), one.max(other)));
    }

    pub(crate) fn is_cut(&self) -> bool {
        !self.state().cut.is_empty()
    }

    pub(crate) fn mend(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// Ready while the two can reach each other.
    fn poll_open(&self, one: u16, other: u16, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.cut.contains(&(one.min(other), one.max(other))) {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            // Those of tasks that are gone by now; the others look again and come back.
            if state.waiting.len() >= WAITING_MAX {
                state.waiting.drain(..).for_each(Waker::wake);
            }
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The network as one node sees it.
#[derive(Debug)]
pub(crate) struct TestNet {
    pub(crate) node: u16,
    pub(crate) links: Arc<Links>,
}

impl Net for TestNet {
    fn listen<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        TcpNet.listen(address)
    }

    fn connect<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let to = self.links.state().nodes.get(&address.port()).copied();
            let Some(to) = to else { return TcpNet.connect(address).await };
            std::future::poll_fn(|context| self.links.poll_open(self.node, to, context)).await;
            let stream = TcpNet.connect(address).await?;
            Ok(Box::new(Cuttable { stream, from: self.node, to, links: Arc::clone(&self.links) }) as Stream)
        })
    }
}

/// A connection, as its dialer has it: both directions pass here.
struct Cuttable {
    stream: Stream,
    from: u16,
    to: u16,
    links: Arc<Links>,
}

impl Cuttable {
    fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        self.links.poll_open(self.from, self.to, context)
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_open(context));
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_open(context));
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_open(context));
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
