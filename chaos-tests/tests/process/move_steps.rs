//! The node that leads the metadata is killed in each phase of moves, and the moves go on.
//!
//! There is one test for each step that is persisted: with a step that has none this does not compile.

use std::time::{Duration, Instant};

use quorate::{Client, MoveState, TopicConfig, TopicName};
use quorate_chaos_tests::harness::{Cluster, NodeKind, Reader, Writers, alone, connect, until};
use quorate_raft::MoveStep;

use crate::{assert_exactly_once, show};

const PARTITIONS: u32 = 24;
/// How often a leader may die too late for the step.
const ATTEMPTS: u32 = 5;
const LOOK_INTERVAL: Duration = Duration::from_millis(3);
const WITHIN: Duration = Duration::from_secs(60);

macro_rules! killed_while {
    ($($step:ident: $name:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                the_metadata_leader_is_killed_during(MoveStep::$step).await;
            }
        )*

        /// What clients are told of a step; also the proof that each has a test.
        fn state_of(step: MoveStep) -> MoveState {
            match step {
                $(MoveStep::$step => MoveState::$step,)*
            }
        }
    };
}

killed_while! {
    Adding: replicas_are_added,
    CatchingUp: replicas_catch_up,
    Switching: replicas_are_switched,
    TakingBack: replicas_are_taken_back,
}

/// How many moves are at a step.
async fn at_step(client: &Client, step: MoveStep) -> usize {
    let Ok(tasks) = client.tasks().await else { return 0 };
    tasks.moves.iter().filter(|info| info.state == state_of(step)).count()
}

async fn metadata_leader(client: &Client) -> Option<usize> {
    let info = client.cluster_info().await.ok()?;
    info.metadata_leader.map(|node| node.0 as usize - 1)
}

/// Kills the metadata leader as soon as a move is at that step, and looks at the others whether one still is: then no
/// other leader has gone on yet. Returns whether that was so, and the victim.
async fn kill_at(cluster: &mut Cluster, step: MoveStep) -> Option<(bool, usize)> {
    let client = cluster.client().await;
    let victim = metadata_leader(&client).await?;
    let others: Vec<String> = cluster
        .nodes
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != victim)
        .map(|(_, node)| node.client_address())
        .collect();
    let others = connect(&others.join(","), Duration::from_secs(15)).await;
    let deadline = Instant::now() + WITHIN;
    while at_step(&others, step).await == 0 {
        assert!(Instant::now() < deadline, "no move came to the step {step:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    cluster.nodes[victim].kill_9();
    let left = at_step(&others, step).await;
    println!("killed node {} with {left} moves {step:?}", victim + 1);
    Some((left > 0, victim))
}

async fn the_metadata_leader_is_killed_during(step: MoveStep) {
    let _alone = alone().await;
    // Slowly, so that moves stay at their steps for a moment.
    let settings = [("QUORATE_RAFT__CATCH_UP_BYTES_PER_SECOND", "1MiB")];
    let mut cluster = Cluster::start_with(NodeKind::Shipped, 4, &settings).await;
    let client = cluster.client().await;
    let topic: TopicName = "orders".parse().unwrap();
    let config = TopicConfig { partitions: PARTITIONS, replication_factor: 3, ..TopicConfig::default() };
    client.create_topic(&topic, config).await.unwrap();
    // Three of the four vote, and not the one that leaves.
    until("nodes 1 to 3 vote", WITHIN, async || {
        let info = client.cluster_info().await.map_err(|error| error.to_string())?;
        let voters: Vec<u64> = info.nodes.iter().filter(|node| node.metadata_voter).map(|node| node.id.0).collect();
        let led = info.metadata_leader.is_some_and(|leader| voters.contains(&leader.0));
        if voters == [1, 2, 3] && led { Ok(()) } else { Err(format!("{voters:?}, led by {:?}", info.metadata_leader)) }
    })
    .await;
    let writers = Writers::start(&cluster, &topic, 0, 3, PARTITIONS).await;
    let reader = Reader::start(&cluster, &topic).await;
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 10).await;

    let mut stays = false;
    for attempt in 1.. {
        assert!(attempt <= ATTEMPTS, "each time the move had gone on before the leader was dead");
        cluster.cli().ok(&["node", "remove", "4", "--wait", "0s"], b"").await;
        if step == MoveStep::TakingBack {
            until("some moves are under way", WITHIN, async || match client.tasks().await {
                Ok(tasks) if !tasks.moves.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
            let cli = cluster.cli();
            let cancel = tokio::spawn(async move { cli.run(&["node", "remove", "4", "--cancel"], b"").await });
            stays = true;
            let killed = kill_at(&mut cluster, step).await;
            drop(cancel.await);
            if settle(&mut cluster, killed).await {
                break;
            }
            continue;
        }
        let killed = kill_at(&mut cluster, step).await;
        if settle(&mut cluster, killed).await {
            break;
        }
    }
    // The answer of the cancelled command may have been lost with its node.
    if stays {
        cluster.cli().ok(&["node", "remove", "4", "--cancel"], b"").await;
    }
    let ((), took) = until("nothing is left to do", WITHIN, async || match client.tasks().await {
        Ok(tasks) if tasks.moves.is_empty() && tasks.leaving.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    show("nothing is left to do", took);
    writers.wait_for_acknowledged(Instant::now(), PARTITIONS, 10).await;
    let nodes: Vec<u64> = client.cluster_info().await.unwrap().nodes.iter().map(|node| node.id.0).collect();
    assert_eq!(nodes, if stays { vec![1, 2, 3, 4] } else { vec![1, 2, 3] });
    let partitions = client.topic(&topic).await.unwrap().partitions;
    assert!(partitions.iter().all(|partition| partition.replicas.len() == 3), "{partitions:?}");
    let journal = writers.stop().await;
    reader.finish("the whole time", &journal).await;
    assert_exactly_once("afterwards", &cluster, &topic, &journal).await;
    cluster.wait_until_replicas_agree(&client, &topic).await;
}

/// Starts the killed node again; tells whether it died in time.
async fn settle(cluster: &mut Cluster, killed: Option<(bool, usize)>) -> bool {
    let Some((in_time, victim)) = killed else { return false };
    cluster.nodes[victim].start();
    in_time
}
