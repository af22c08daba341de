//! What is left when majorities are gone for good, or when a replica's files are damaged beyond doubt.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

use quorate::{Client, NodeState, PartitionInfo, TopicConfig, TopicName};
use quorate_chaos_tests::harness::{Cli, Cluster, Journal, NodeKind, Ran, WayIn, Writers, alone, binary, until};

use crate::{assert_exactly_once, show};

const PARTITIONS: u32 = 6;
const WITHIN: Duration = Duration::from_secs(40);

async fn create(client: &Client, name: &str, replication_factor: u32) -> TopicName {
    let name: TopicName = name.parse().unwrap();
    let config = TopicConfig { partitions: PARTITIONS, replication_factor, ..TopicConfig::default() };
    client.create_topic(&name, config).await.unwrap();
    name
}

/// Has producers write to all partitions; adds what became of it to the journal.
async fn write(cluster: &Cluster, topic: &TopicName, first: u32, journal: &mut Journal) {
    let writers = Writers::start(cluster, topic, first, 2, PARTITIONS).await;
    let took = writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    show(&format!("30 records acknowledged on each partition of {topic}"), took);
    journal.entries.extend(writers.stop().await.entries);
}

async fn wait_until_down(cluster: &Cluster, nodes: &[u64]) {
    let client = cluster.client().await;
    let down = async || {
        let info = client.cluster_info().await.map_err(|error| error.to_string())?;
        let is_down = |node: &u64| info.nodes.iter().any(|row| row.id.0 == *node && row.state == NodeState::Down);
        if nodes.iter().all(is_down) { Ok(()) } else { Err(format!("{:?}", info.nodes)) }
    };
    until("the nodes are down", WITHIN, down).await;
}

/// Waits until all partitions have leaders and as many replicas in sync as they are to have.
async fn wait_until_whole(cluster: &Cluster) {
    let client = cluster.client().await;
    let whole = async || {
        let info = client.cluster_info().await.map_err(|error| error.to_string())?;
        let topics = client.topics().await.map_err(|error| error.to_string())?;
        let lacking = topics.iter().flat_map(|topic| {
            let wanted = topic.config.replication_factor as usize;
            topic.partitions.iter().filter(move |partition| partition.replicas.len() != wanted)
        });
        match (info.leaderless_partition_count, info.under_replicated_partition_count, lacking.count()) {
            (0, 0, 0) => Ok(()),
            other => Err(format!("{other:?} partitions lead nothing, are behind, lack replicas")),
        }
    };
    let ((), took) = until("all is whole", WITHIN, whole).await;
    show("all replicas are there and in sync", took);
}

/// Recovers the topic once the nodes that are left have opened their replicas: before that, they say so.
async fn recover(cluster: &Cluster) -> String {
    let recovered = async || {
        let ran = cluster.cli().run(&["topic", "recover", "orders", "--accept-data-loss"], b"").await;
        if ran.stderr.contains("try again when that is over") { Err(ran.stderr) } else { Ok(ok(ran)) }
    };
    until("the topic is recovered", WITHIN, recovered).await.0
}

fn ok(ran: Ran) -> String {
    let said = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.code, Some(0), "{}: {said}{}", ran.command, ran.stderr);
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_without_a_majority_go_on_from_what_is_left() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let (twice, thrice) = (create(&client, "twice", 2).await, create(&client, "thrice", 3).await);
    let (mut of_twice, mut of_thrice) = (Journal::default(), Journal::default());
    write(&cluster, &twice, 0, &mut of_twice).await;
    write(&cluster, &thrice, 0, &mut of_thrice).await;
    let healthy = ok(cluster.cli().run(&["topic", "recover", "twice", "--accept-data-loss"], b"").await);
    assert!(healthy.matches("a majority of its replicas is there").count() == PARTITIONS as usize, "{healthy}");

    // One node is gone: partitions of two replicas on it have none that could be acknowledged.
    cluster.nodes[2].kill_9();
    wait_until_down(&cluster, &[3]).await;
    let placed = client.topic(&twice).await.unwrap().partitions;
    let hit = placed.iter().filter(|p| p.replicas.iter().any(|replica| replica.node.0 == 3)).count();
    assert!(hit > 0 && hit < PARTITIONS as usize, "{placed:?}");
    let told = ok(cluster.cli().run(&["topic", "recover", "twice"], b"").await);
    println!("{told}");
    assert!(told.matches("could go on from replica").count() == hit && told.contains("nothing was changed"), "{told}");
    assert!(told.contains("that only node 3 had"), "{told}");
    let unhurt = ok(cluster.cli().run(&["topic", "recover", "thrice", "--accept-data-loss"], b"").await);
    assert!(!unhurt.contains("go on"), "{unhurt}");

    let done = cluster.cli().run(&["topic", "recover", "twice", "--accept-data-loss"], b"").await;
    show("recovered", done.took);
    let done = ok(done);
    assert!(done.matches("goes on from replica").count() == hit, "{done}");
    write(&cluster, &twice, 10, &mut of_twice).await;
    write(&cluster, &thrice, 10, &mut of_thrice).await;
    let audited = ok(cluster.cli().run(&["topic", "describe", "twice"], b"").await);
    assert_eq!(audited.matches("alone, which ended at offset").count(), hit, "{audited}");

    // The node comes back with all it had: nothing of that is taken for current, and nothing of it is deleted.
    let before = cluster.nodes[2].replica_directories();
    cluster.nodes[2].start();
    cluster.wait_until_up().await;
    wait_until_whole(&cluster).await;
    assert_exactly_once("with two replicas", &cluster, &twice, &of_twice).await;
    assert_exactly_once("with three replicas", &cluster, &thrice, &of_thrice).await;
    let aside = async || match cluster.nodes[2].log().matches("was put aside").count() {
        count if count == hit => Ok(()),
        count => Err(format!("{count} of {hit} replicas")),
    };
    until("what it had is put aside", WITHIN, aside).await;
    assert!(before.iter().all(|directory| directory.exists()), "its files are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replicas_that_come_back_together_elect_nobody() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 5).await;
    let client = cluster.client().await;
    let topic = create(&client, "orders", 3).await;
    let mut journal = Journal::default();
    write(&cluster, &topic, 0, &mut journal).await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
    let placed = client.topic(&topic).await.unwrap().partitions;
    // Two nodes that are a majority of some partition.
    let pairs = (1..=5).flat_map(|one| (one + 1..=5).map(move |other| [one, other]));
    let hit = |pair: &[u64; 2]| {
        let holds = |partition: &&PartitionInfo| {
            pair.iter().all(|node| partition.replicas.iter().any(|replica| replica.node.0 == *node))
        };
        placed.iter().filter(holds).count()
    };
    let pair = pairs.max_by_key(hit).unwrap();
    for node in pair {
        cluster.nodes[node as usize - 1].kill_9();
    }
    wait_until_down(&cluster, &pair).await;
    let done = recover(&cluster).await;
    assert_eq!(done.matches("goes on from replica").count(), hit(&pair), "{done}");
    // They are a majority of what those partitions were, and are back at the same moment, with writers at work.
    let writers = Writers::start(&cluster, &topic, 10, 3, PARTITIONS).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 30).await;
    for node in pair {
        cluster.nodes[node as usize - 1].start();
    }
    cluster.wait_until_up().await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 100).await;
    journal.entries.extend(writers.stop().await.entries);
    wait_until_whole(&cluster).await;
    assert_exactly_once("afterwards", &cluster, &topic, &journal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_go_on_from_one_node_when_their_majority_is_gone() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = create(&client, "orders", 3).await;
    let mut journal = Journal::default();
    write(&cluster, &topic, 0, &mut journal).await;
    cluster.wait_until_replicas_agree(&client, &topic).await;

    let rescue = |cluster: &Cluster, arguments: &'static [&'static str]| {
        let data_dir = cluster.nodes[0].data_dir.display().to_string();
        async move {
            let command = ["recover-metadata", "--data-dir", &data_dir];
            Cli::of(&binary("quorate-node")).run(&[&command, arguments].concat(), b"").await
        }
    };
    let running = rescue(&cluster, &["--lost", "2,3", "--accept-data-loss"]).await;
    assert!(running.code == Some(1) && running.stderr.contains("in use"), "{running:?}");
    for node in [1, 2] {
        cluster.nodes[node].kill_9();
        fs::remove_dir_all(&cluster.nodes[node].data_dir).unwrap();
    }
    cluster.nodes[0].stop().await;
    let needless = rescue(&cluster, &["--lost", "3", "--accept-data-loss"]).await;
    assert!(needless.code == Some(1) && needless.stderr.contains("nodes 1, 2 are a majority"), "{needless:?}");
    let itself = rescue(&cluster, &["--lost", "1,2"]).await;
    assert!(itself.code == Some(1) && itself.stderr.contains("it cannot be lost"), "{itself:?}");
    let told = ok(rescue(&cluster, &["--lost", "2,3"]).await);
    println!("{told}");
    assert!(told.contains("nothing was changed") && told.contains("topics known: 1"), "{told}");
    let done = ok(rescue(&cluster, &["--lost", "2,3", "--accept-data-loss"]).await);
    assert!(done.contains("the metadata go on from this node"), "{done}");

    cluster.nodes[0].start();
    // The others are no part of the cluster any more: two new ones come instead.
    cluster.nodes.truncate(1);
    let seed = cluster.nodes[0].peer_address();
    for _ in 0..2 {
        cluster.start_another(WayIn::Join(seed.clone()));
    }
    let servers = cluster.servers();
    let joined = async || {
        let client = Client::builder().servers(quorate::Address::parse_list(&servers).map_err(|e| e.to_string())?);
        let client = client.timeout(Duration::from_secs(2)).connect().await.map_err(|error| error.to_string())?;
        let info = client.cluster_info().await.map_err(|error| error.to_string())?;
        let up = info.nodes.iter().filter(|node| node.state == NodeState::Up).count();
        if up == 3 { Ok(info) } else { Err(format!("{:?}", info.nodes)) }
    };
    let (info, took) = until("two new nodes are there", WITHIN, joined).await;
    show("the metadata go on, and two nodes have joined", took);
    assert!(info.metadata_recoveries.len() == 1 && info.metadata_recoveries[0].lost.len() == 2, "{info:?}");
    let done = recover(&cluster).await;
    assert_eq!(done.matches("goes on from replica").count(), PARTITIONS as usize, "{done}");
    write(&cluster, &topic, 10, &mut journal).await;
    wait_until_whole(&cluster).await;
    // All replicas had all of it when the majority went: nothing is lost.
    assert_exactly_once("afterwards", &cluster, &topic, &journal).await;
    let info = ok(cluster.cli().run(&["cluster", "info"], b"").await);
    assert!(info.contains("the metadata went on from node 1 alone; given up: nodes 2, 3"), "{info}");
}

/// Flips a byte in the first header of the newest log file: its log is in doubt then.
fn damage(directory: &Path) {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    let mut file = OpenOptions::new().read(true).write(true).open(files.last().unwrap()).unwrap();
    let (at, mut byte) = (SeekFrom::Start(20), [0]);
    file.seek(at).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(at).unwrap();
    file.write_all(&[byte[0] ^ 0x40]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_log_is_in_doubt_is_replaced_and_its_files_are_kept() {
    let _alone = alone().await;
    let mut cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let client = cluster.client().await;
    let topic = create(&client, "orders", 3).await;
    let mut journal = Journal::default();
    write(&cluster, &topic, 0, &mut journal).await;
    cluster.nodes[1].stop().await;
    let partitions = client.topic(&topic).await.unwrap().partitions;
    let replica = partitions[0].replicas.iter().find(|replica| replica.node.0 == 2).unwrap().id;
    let directory = cluster.nodes[1].data_dir.join(format!("replicas/replica-{replica}"));
    damage(&directory);
    cluster.nodes[1].start();
    cluster.wait_until_up().await;
    let refused = async || match client.topic(&topic).await {
        Ok(info) => {
            let replicas = info.partitions.iter().flat_map(|partition| &partition.replicas);
            let detail = replicas.filter(|known| known.id == replica).find_map(|known| known.detail.clone());
            detail.ok_or_else(|| "the replica has not failed".to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    println!("{}", until("the replica is refused", WITHIN, refused).await.0);
    write(&cluster, &topic, 10, &mut journal).await;
    let replaced = async || match client.topic(&topic).await {
        Ok(info) if info.partitions[0].replicas.iter().any(|known| known.id == replica) => {
            Err(format!("{:?}", info.partitions[0].replicas))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let ((), took) = until("the replica is replaced", WITHIN, replaced).await;
    show("the replica is replaced on its own node", took);
    wait_until_whole(&cluster).await;
    assert_exactly_once("afterwards", &cluster, &topic, &journal).await;
    let aside = async || match cluster.nodes[1].log() {
        log if log.contains("was put aside") => Ok(()),
        log => Err(log),
    };
    until("the old one is put aside", WITHIN, aside).await;
    assert!(directory.exists(), "its files are kept");
    // And it is not asked for again after a restart.
    cluster.nodes[1].stop().await;
    cluster.nodes[1].start();
    cluster.wait_until_up().await;
    wait_until_whole(&cluster).await;
}
