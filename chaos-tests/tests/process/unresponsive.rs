//! Nodes that neither answer nor die: no command outlasts its `--timeout`.

use std::time::Duration;

use quorate_chaos_tests::harness::{Cluster, Node, NodeKind, alone, until};

const TIMEOUT: &str = "3s";
/// The timeout, the program's own margin, and a slow machine.
const ENDS_WITHIN: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn no_command_outlasts_its_timeout_while_a_majority_hangs() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let cli = cluster.cli();
    cli.ok(&["topic", "create", "orders", "--partitions", "3"], b"").await;
    cli.ok(&["produce", "orders"], b"before\n").await;
    cluster.nodes[..2].iter().for_each(Node::pause);

    let (live, hung) = (cluster.nodes[2].client_address(), cluster.nodes[0].client_address());
    let all = cluster.servers();
    let commands: [&[&str]; 8] = [
        &["cluster", "info"],
        &["cluster", "health"],
        &["topic", "list"],
        &["topic", "create", "more"],
        &["topic", "delete", "orders", "--yes"],
        &["produce", "orders", "--partition", "0"],
        &["consume", "orders"],
        &["bench", "produce", "--topic", "orders", "--messages", "10"],
    ];
    let mut running = tokio::task::JoinSet::new();
    for servers in [live.as_str(), &hung, &all] {
        for command in commands {
            let arguments = [command, &["--timeout", TIMEOUT, "--server", servers]].concat();
            let (cli, arguments) = (cli.clone(), arguments.into_iter().map(str::to_owned).collect::<Vec<_>>());
            running.spawn(async move {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                cli.run(&arguments, b"during\n").await
            });
        }
    }
    while let Some(ran) = running.join_next().await {
        let ran = ran.unwrap();
        println!("{:.2} s, exit code {:?}: {}", ran.took.as_secs_f64(), ran.code, ran.stderr.trim_end());
        assert!(ran.took <= ENDS_WITHIN, "{ran:?}");
        assert!(ran.code == Some(0) || ran.stderr.lines().count() == 1, "{ran:?}");
        let changes = ["create", "produce", "delete"].iter().any(|change| ran.command.contains(change));
        assert!(!changes || ran.code == Some(1), "no majority can have agreed: {ran:?}");
    }

    cluster.nodes[..2].iter().for_each(Node::resume);
    cluster.wait_until_up().await;
    until("the cluster takes records again", Duration::from_secs(20), async || {
        let ran = cli.run(&["topic", "create", "after"], b"").await;
        if ran.code == Some(0) { Ok(()) } else { Err(ran.stderr) }
    })
    .await;
    cli.ok(&["produce", "after"], b"after\n").await;
    assert_eq!(cli.ok(&["consume", "after"], b"").await, b"after\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hung_node_keeps_no_command_from_its_end() {
    let _alone = alone().await;
    let cluster = Cluster::start(NodeKind::Shipped, 3).await;
    let cli = cluster.cli();
    cli.ok(&["topic", "create", "orders", "--partitions", "3"], b"").await;
    for hung in 0..3 {
        cluster.nodes[hung].pause();
        // The hung node is the first to be asked.
        let mut servers: Vec<_> = cluster.nodes.iter().map(Node::client_address).collect();
        servers.rotate_left(hung);
        let servers = servers.join(",");
        let at = ["--timeout", "9s", "--server", &servers];
        // Two of three decide, but for the time it takes to elect other leaders.
        for command in [&["cluster", "info"][..], &["topic", "list"], &["produce", "orders"], &["consume", "orders"]] {
            let ran = cli.run(&[command, &at].concat(), b"during\n").await;
            println!("node {} hangs: {} took {:.2} s", hung + 1, command.join(" "), ran.took.as_secs_f64());
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        let impatient = cli.run(&["cluster", "info", "--timeout", TIMEOUT, "--server", &servers], b"").await;
        assert_eq!(impatient.code, Some(0), "two of the three nodes it was given answer: {impatient:?}");
        cluster.nodes[hung].resume();
        cluster.wait_until_up().await;
    }
}
