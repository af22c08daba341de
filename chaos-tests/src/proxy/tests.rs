use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::harness::free_ports;

const SOON: Duration = Duration::from_secs(10);
/// Long enough for bytes that are not cut off to arrive many times over.
const SILENCE: Duration = Duration::from_millis(150);

/// Node 2 behind its proxy. The test plays both it and its peers.
struct Rig {
    links: Arc<Links>,
    port: u16,
    listener: TcpListener,
    _proxy: Proxy,
}

impl Rig {
    async fn new() -> Self {
        let links = Arc::new(Links::new(3));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free_ports(1)[0];
        let proxy =
            Proxy::start(port, Dialers::Nodes, 2, listener.local_addr().unwrap(), Arc::clone(&links)).await.unwrap();
        Self { links, port, listener, _proxy: proxy }
    }

    async fn dial(&self, from: u64) -> TcpStream {
        let mut dialer = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        dialer.write_all(&hello(from)).await.unwrap();
        dialer
    }

    /// A connection whose handshake has arrived at node 2.
    async fn connect(&self, from: u64) -> (TcpStream, TcpStream) {
        let dialer = self.dial(from).await;
        let (mut listener, _) = timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        assert_eq!(receive(&mut listener, 64).await, hello(from));
        (dialer, listener)
    }

    fn install(&self, from: u64, to: u64, rule: Rule) {
        self.links.install(1, vec![(Link { from, to }, rule)]);
    }
}

fn hello(from: u64) -> Vec<u8> {
    let mut hello = vec![7; 64];
    hello[..4].copy_from_slice(b"QRTP");
    hello[32..40].copy_from_slice(&from.to_be_bytes());
    hello
}

async fn receive(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(SOON, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

async fn assert_passes(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"passes").await.unwrap();
    assert_eq!(receive(to, 6).await, b"passes");
}

async fn assert_silent(stream: &mut TcpStream) {
    let mut byte = [0];
    assert!(timeout(SILENCE, stream.read(&mut byte)).await.is_err(), "something arrived");
}

/// It has ended, by a reset or at least without a byte more.
async fn assert_over(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // An error is a reset.
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn bytes_and_the_end_of_the_stream_pass_both_ways() {
    let rig = Rig::new().await;
    let (mut one, mut two) = rig.connect(1).await;
    assert_passes(&mut one, &mut two).await;
    assert_passes(&mut two, &mut one).await;
    one.shutdown().await.unwrap();
    assert_over(&mut two).await;
    assert_passes(&mut two, &mut one).await;
    drop(two);
    assert_over(&mut one).await;
}

#[tokio::test]
async fn what_vanishes_one_way_does_not_keep_the_other_way_and_other_nodes_from_flowing() {
    let rig = Rig::new().await;
    let (mut one, mut two) = rig.connect(1).await;
    let (mut three, mut two_to_three) = rig.connect(3).await;
    rig.install(1, 2, Rule::Drop);
    one.write_all(b"vanishes").await.unwrap();
    assert_silent(&mut two).await;
    assert_passes(&mut two, &mut one).await;
    assert_passes(&mut three, &mut two_to_three).await;

    rig.links.heal(1);
    assert_over(&mut one).await;
    assert_over(&mut two).await;
    let (mut one, mut two) = rig.connect(1).await;
    assert_passes(&mut one, &mut two).await;
}

#[tokio::test]
async fn the_answers_of_the_listening_node_belong_to_its_own_link() {
    let rig = Rig::new().await;
    let (mut one, mut two) = rig.connect(1).await;
    rig.install(2, 1, Rule::Drop);
    assert_passes(&mut one, &mut two).await;
    two.write_all(b"vanishes").await.unwrap();
    assert_silent(&mut one).await;
}

#[tokio::test]
async fn a_cut_that_lost_nothing_leaves_the_connection_whole() {
    let rig = Rig::new().await;
    let (mut one, mut two) = rig.connect(1).await;
    rig.install(1, 2, Rule::Drop);
    rig.links.heal(1);
    assert_passes(&mut one, &mut two).await;
}

#[tokio::test]
async fn no_connection_comes_about_over_a_link_that_is_cut_in_either_direction() {
    let rig = Rig::new().await;
    for (from, to) in [(1, 2), (2, 1)] {
        rig.install(from, to, Rule::Drop);
        let mut dialer = rig.dial(1).await;
        assert!(timeout(SILENCE, rig.listener.accept()).await.is_err(), "a connection passed the cut");
        // Nodes that have no id yet, and the third node, are not concerned.
        rig.connect(0).await;
        rig.connect(3).await;
        rig.links.heal(1);
        assert_over(&mut dialer).await;
    }
    rig.connect(1).await;
}

#[tokio::test]
async fn the_death_of_a_node_is_not_heard_over_a_cut_link() {
    let rig = Rig::new().await;
    let (one, mut two) = rig.connect(1).await;
    rig.install(1, 2, Rule::Drop);
    drop(one);
    assert_silent(&mut two).await;
    rig.links.heal(1);
    assert_over(&mut two).await;
}

#[tokio::test]
async fn what_is_held_arrives_in_order_when_the_link_is_healed() {
    let rig = Rig::new().await;
    let (mut one, mut two) = rig.connect(1).await;
    rig.install(1, 2, Rule::Hold);
    one.write_all(b"first ").await.unwrap();
    assert_silent(&mut two).await;
    assert_passes(&mut two, &mut one).await;
    one.write_all(b"second").await.unwrap();
    rig.links.heal(1);
    assert_eq!(receive(&mut two, 12).await, b"first second");
}

#[tokio::test]
async fn a_reset_ends_the_connections_of_its_link_alone() {
    let rig = Rig::new().await;
    let (mut one, mut two) = rig.connect(1).await;
    let (mut three, mut two_to_three) = rig.connect(3).await;
    rig.links.reset(&[Link { from: 2, to: 1 }]);
    assert_over(&mut one).await;
    assert_over(&mut two).await;
    assert_passes(&mut three, &mut two_to_three).await;
    let (mut one, mut two) = rig.connect(1).await;
    assert_passes(&mut one, &mut two).await;
}

#[tokio::test]
async fn of_two_faults_on_a_link_the_more_severe_holds_until_it_is_healed() {
    let links = Links::new(2);
    let link = Link { from: 1, to: 2 };
    links.install(1, vec![(link, Rule::Drop)]);
    links.install(2, vec![(link, Rule::Delay(SILENCE))]);
    assert_eq!(links.rule(link), Rule::Drop);
    links.heal(1);
    assert_eq!(links.rule(link), Rule::Delay(SILENCE));
    links.heal(2);
    assert_eq!(links.rule(link), Rule::Pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delay_adds_to_each_way_and_does_not_limit_the_throughput() {
    const DELAY: Duration = Duration::from_millis(100);
    const BYTES: usize = 32 << 20;
    let rig = Rig::new().await;
    let both = [(1, 2), (2, 1)].map(|(from, to)| (Link { from, to }, Rule::Delay(DELAY)));
    rig.links.install(1, both.to_vec());
    let (mut one, mut two) = rig.connect(1).await;
    let began = Instant::now();
    assert_passes(&mut one, &mut two).await;
    assert_passes(&mut two, &mut one).await;
    assert!(began.elapsed() >= 2 * DELAY, "{:?}", began.elapsed());

    let began = Instant::now();
    let writing = tokio::spawn(async move { one.write_all(&vec![1; BYTES]).await.map(|()| one) });
    let received = receive(&mut two, BYTES).await;
    let took = began.elapsed();
    assert!(received.iter().all(|byte| *byte == 1));
    writing.await.unwrap().unwrap();
    // One chunk a round trip would take half a minute.
    assert!(took >= DELAY && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_node_that_does_not_run_refuses() {
    let Rig { links, port, listener, _proxy } = Rig::new().await;
    drop(listener);
    let mut dialer = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    dialer.write_all(&hello(1)).await.unwrap();
    assert_over(&mut dialer).await;
    drop(links);
}

#[tokio::test]
async fn a_link_that_corrupts_flips_bits_one_way_until_it_is_healed() {
    let rig = Rig::new().await;
    let (mut one, mut two) = rig.connect(1).await;
    rig.install(1, 2, Rule::Corrupt(100));
    one.write_all(&[0; 10_000]).await.unwrap();
    let arrived = receive(&mut two, 10_000).await;
    let wrong = arrived.iter().filter(|byte| **byte != 0).count();
    assert!((20..500).contains(&wrong), "{wrong} of 10,000 bytes");
    assert!(arrived.iter().all(|byte| byte.count_ones() <= 1));
    assert_passes(&mut two, &mut one).await;
    rig.links.heal(1);
    assert_passes(&mut one, &mut two).await;
}
