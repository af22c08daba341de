//! One connection: who dials, whether the network lets it come about, and when it is reset.

use std::{io, net::SocketAddr, sync::atomic::AtomicBool, sync::atomic::Ordering, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, time::timeout};

use super::{
    Dialers, Links, Rule,
    links::{CLIENTS, LinkState},
    pump::{self, Pump},
};

/// What opens each connection between nodes.
const HELLO_BYTES: usize = 64;
const HELLO_MAGIC: &[u8; 4] = b"QRTP";
/// The dialer's id in it, big-endian; 0 while it has none.
const HELLO_FROM: usize = 32;
/// Longer than nodes wait for each other's handshake.
const HELLO_MAX: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Carries a connection to its end.
pub(super) async fn serve(
    mut dialer: TcpStream,
    dialers: Dialers,
    to: u64,
    target: SocketAddr,
    links: &Links,
) -> io::Result<()> {
    dialer.set_nodelay(true)?;
    let (from, hello) = timeout(HELLO_MAX, hear(&mut dialer, dialers)).await??;
    let (mut there, mut back) = (links.watch(from, to), links.watch(to, from));
    if !comes_about(&mut dialer, &mut there, &mut back).await? {
        return dialer.set_zero_linger();
    }
    let listener = timeout(CONNECT_MAX, TcpStream::connect(target)).await.map_err(io::Error::from).flatten();
    let mut listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            dialer.set_zero_linger()?;
            return Err(error);
        }
    };
    listener.set_nodelay(true)?;
    let ended = carry(&mut dialer, &mut listener, hello, &there, &back).await;
    if ended.is_err() {
        dialer.set_zero_linger()?;
        listener.set_zero_linger()?;
    }
    ended
}

/// Who dials, and what it has said first. Whoever dials waits for an answer to that before it says more.
async fn hear(dialer: &mut TcpStream, dialers: Dialers) -> io::Result<(u64, Bytes)> {
    let mut hello = BytesMut::with_capacity(HELLO_BYTES);
    if dialers == Dialers::Clients {
        dialer.read_buf(&mut hello).await?;
        return Ok((CLIENTS, hello.freeze()));
    }
    hello.resize(HELLO_BYTES, 0);
    dialer.read_exact(&mut hello).await?;
    if !hello.starts_with(HELLO_MAGIC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin with a peer handshake"));
    }
    let from = hello[HELLO_FROM..HELLO_FROM + 8].iter().fold(0, |id, byte| id << 8 | u64::from(*byte));
    Ok((from, hello.freeze()))
}

/// Waits while a link holds connection attempts up. False if one drops them; then no answer comes until that ends or the
/// dialer gives up.
async fn comes_about(
    dialer: &mut TcpStream,
    there: &mut watch::Receiver<LinkState>,
    back: &mut watch::Receiver<LinkState>,
) -> io::Result<bool> {
    let dropped = there.borrow().rule == Rule::Drop || back.borrow().rule == Rule::Drop;
    let passing = async {
        let (blocked_there, blocked_back) = match dropped {
            true => (Rule::Drop, Rule::Drop),
            false => (Rule::Hold, Rule::Hold),
        };
        // The links outlive their connections: an error is the end of all.
        let _ = there.wait_for(|state| state.rule != blocked_there).await;
        let _ = back.wait_for(|state| state.rule != blocked_back).await;
    };
    tokio::select! {
        () = passing => Ok(!dropped),
        // A dialer says nothing before it has an answer: this is its end.
        read = dialer.read_u8() => read.map(|_| false),
    }
}

async fn carry(
    dialer: &mut TcpStream,
    listener: &mut TcpStream,
    hello: Bytes,
    there: &watch::Receiver<LinkState>,
    back: &watch::Receiver<LinkState>,
) -> io::Result<()> {
    let (lost_there, lost_back) = (AtomicBool::new(false), AtomicBool::new(false));
    let (dialer_read, dialer_write) = dialer.split();
    let (listener_read, listener_write) = listener.split();
    let there_pump = Pump { link: there.clone(), lost: &lost_there };
    let back_pump = Pump { link: back.clone(), lost: &lost_back };
    let both = async {
        tokio::try_join!(
            pump::run(&there_pump, dialer_read, listener_write, hello),
            pump::run(&back_pump, listener_read, dialer_write, Bytes::new()),
        )
    };
    tokio::select! {
        ended = both => ended.map(|_| ()),
        () = doomed(there.clone(), &lost_there) => Err(io::ErrorKind::ConnectionReset.into()),
        () = doomed(back.clone(), &lost_back) => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

/// Returns when the connection must end: the link was reset, or passes bytes again of which it has lost some.
async fn doomed(mut link: watch::Receiver<LinkState>, lost: &AtomicBool) {
    let resets = link.borrow().resets;
    let ends = |state: &LinkState| state.resets != resets || (state.rule != Rule::Drop && lost.load(Ordering::Acquire));
    if link.wait_for(ends).await.is_err() {
        std::future::pending::<()>().await;
    }
}
