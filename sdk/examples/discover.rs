//! Finds the leader of every partition, starting from any one node.
//!
//! ```sh
//! cargo run -p quorate --example discover -- --server 127.0.0.1:7102
//! ```
//! The address may be that of any node (or set `QUORATE_SERVER`): the answer is the same.

mod common;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = common::connect().await?;
    let cluster = client.cluster_info().await?;
    println!("cluster {}, answered by node {}", cluster.cluster_id, cluster.answered_by);
    for node in &cluster.nodes {
        println!(
            "node {} at {}: {:?}, leads {} partitions",
            node.id, node.client_address, node.state, node.leader_count
        );
    }
    for topic in client.topics().await? {
        for partition in &topic.partitions {
            let address = cluster.nodes.iter().find(|node| Some(node.id) == partition.leader);
            match address {
                Some(node) => println!(
                    "{} partition {}: led by node {} at {} (epoch {})",
                    topic.name, partition.index, node.id, node.client_address, partition.leader_epoch
                ),
                None => println!("{} partition {}: no leader is known", topic.name, partition.index),
            }
        }
    }
    Ok(())
}
