//! Faults that change who is part of the cluster, or what a node is asked to do there. What they owe the cluster when they are
//! healed it may be unable to do at that moment: it is asked again until it does.

use std::{
    fs,
    time::{Duration, Instant},
};

use quorate::{Departure, ErrorCode, NodeId, PartitionId, ReplicaId, ReplicaRole};

use super::{Action, Injector, connect};

/// In the end, the cluster has to do all it is asked within this time.
pub(super) const PAY_MAX: Duration = Duration::from_secs(120);
/// A node that joins or is restarted answers by then, or nobody waits for it.
const BACK_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// Nodes that have been started at most: more would only take the machine's memory.
const STARTED_MAX: usize = 24;

/// What the cluster is still to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// The node may lead again.
    Undrain(u64),
    /// The node leaves, and serves until its replicas are elsewhere.
    Remove(u64),
    /// The node is given up; it is lost.
    GiveUp(u64),
    /// Another node joins in its place.
    Join,
}

impl Injector<'_> {
    pub(super) async fn drain(&mut self, node: u64) -> Result<Action, String> {
        self.admin.drain_node(NodeId(node), true).await.map_err(|error| error.to_string())?;
        Ok(Action::Drain(node))
    }

    /// A node joins, and gets its share while the fault lasts; returns its number.
    pub(super) async fn grow(&mut self) -> Result<u64, String> {
        if self.cluster.nodes.len() >= STARTED_MAX {
            return Err("enough nodes have been started".to_owned());
        }
        let (number, is_back) = self.join().await?;
        if !is_back {
            self.owed.push(Owed::Remove(number));
            return Err(format!("node {number} did not join in time"));
        }
        Ok(number)
    }

    /// The disk of a node is lost with all that was on it.
    pub(super) fn lose(&mut self, node: u64) -> Result<Action, String> {
        self.erase(node)?;
        // Fewer nodes could not hold what there is.
        self.owed.extend([Owed::Join, Owed::GiveUp(node)]);
        Ok(Action::Replace(node))
    }

    /// The disk of a node is lost, and the node is started as before. It must not be taken for what it was: it does not know how
    /// it has voted, nor what it has acknowledged.
    pub(super) async fn wipe(&mut self, node: u64) -> Result<Action, String> {
        self.erase(node)?;
        self.owed.push(Owed::GiveUp(node));
        let members: Vec<u64> = self.members.iter().copied().collect();
        match self.cluster.start_in_place_of(node, &members).await {
            Ok(number) => {
                self.members.insert(number);
                self.bad_disk = number;
                self.check_id(number, node).await;
                Ok(Action::Wipe(node))
            }
            Err(why) => {
                self.owed.insert(0, Owed::Join);
                Err(why)
            }
        }
    }

    /// Whether a node has the id of its number, and not that which it had before its disk was lost.
    async fn check_id(&mut self, number: u64, before: u64) {
        let address = self.node(number).own_client_address();
        let deadline = Instant::now() + BACK_MAX;
        while Instant::now() < deadline {
            // A client that does not reach it asks other nodes.
            if let Ok(client) = connect(&address, PAUSE).await
                && let Ok(info) = client.cluster_info().await
            {
                match info.answered_by.0 {
                    id if id == number => return,
                    id if id == before => {
                        let defect = format!("node {before} has lost its disk and came back as the same node");
                        return self.defects.add(defect);
                    }
                    _ => {}
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        tracing::warn!(number, "a node that has lost its disk does not answer yet");
    }

    /// Kills a node, and removes all it has.
    fn erase(&mut self, node: u64) -> Result<(), String> {
        if self.held.contains_key(&node) {
            return Err(format!("another fault holds node {node}"));
        }
        // One after the other: what the last one has lost is not replicated anew before that.
        if !self.owed.is_empty() {
            return Err(format!("the cluster has not done yet what it was asked before: {:?}", self.owed));
        }
        if self.cluster.nodes.len() >= STARTED_MAX {
            return Err("enough nodes have been started".to_owned());
        }
        self.node(node).kill_9();
        if let Err(error) = fs::remove_dir_all(&self.node(node).data_dir) {
            self.node(node).start();
            return Err(error.to_string());
        }
        self.members.remove(&node);
        self.node_faults.values_mut().for_each(|(nodes, _)| nodes.retain(|number| *number != node));
        Ok(())
    }

    /// Starts one more node and waits until it is part of the cluster; returns its number, and whether it is.
    async fn join(&mut self) -> Result<(u64, bool), String> {
        let members: Vec<u64> = self.members.iter().copied().collect();
        let number = self.cluster.start_another(&members).await?;
        self.members.insert(number);
        Ok((number, self.back(number).await))
    }

    /// Waits until a node answers, or for long enough; tells whether it does.
    pub(super) async fn back(&mut self, number: u64) -> bool {
        let address = self.node(number).own_client_address();
        let deadline = Instant::now() + BACK_MAX;
        while Instant::now() < deadline {
            if let Ok(client) = connect(&address, PAUSE).await
                && client.cluster_info().await.is_ok_and(|info| info.metadata_leader.is_some())
            {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        false
    }

    /// Asks for all that is owed, in order, for at least one try and at most `within`.
    ///
    /// # Errors
    /// The first that the cluster does not do.
    pub(super) async fn pay(&mut self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        while let Some(owed) = self.owed.first().copied() {
            match self.pay_one(owed).await {
                Ok(()) => drop(self.owed.remove(0)),
                Err(why) if Instant::now() >= deadline => return Err(format!("{owed:?}: {why}")),
                Err(why) => {
                    tracing::debug!(?owed, why, "the cluster does not do what it is asked");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// The replicas of partitions on a node, and what they are. That of the metadata is not among them: without it a node does not start, and has to
    /// be replaced.
    pub(super) async fn replicas_on(&self, node: u64) -> Result<Vec<(PartitionId, ReplicaId, ReplicaRole)>, String> {
        let mut found = Vec::new();
        for topic in self.admin.topics().await.map_err(|error| error.to_string())? {
            for partition in &topic.partitions {
                let id = PartitionId { topic: topic.id, index: partition.index };
                let here = partition.replicas.iter().filter(|replica| replica.node.0 == node);
                found.extend(here.map(|replica| (id, replica.id, replica.role)));
            }
        }
        Ok(found)
    }

    async fn pay_one(&mut self, owed: Owed) -> Result<(), String> {
        match owed {
            Owed::Undrain(node) if !self.members.contains(&node) => Ok(()),
            Owed::Undrain(node) => self.admin.drain_node(NodeId(node), false).await.map_err(|error| error.to_string()),
            Owed::Remove(node) => self.remove(node, Departure::Serving).await,
            Owed::GiveUp(node) => self.remove(node, Departure::Dead).await,
            Owed::Join => {
                (self.bad_disk, _) = self.join().await?;
                Ok(())
            }
        }
    }

    /// Has a node leave, and looks whether it has left: the metadata decide that, not what some node has heard of them.
    async fn remove(&mut self, node: u64, departure: Departure) -> Result<(), String> {
        match self.admin.remove_node(NodeId(node), Some(departure)).await {
            Ok(()) => {
                self.leaving.insert(node);
                Err(format!("node {node} is leaving"))
            }
            Err(error) if matches!(error.code(), Some(ErrorCode::NodeRemoved | ErrorCode::UnknownNode)) => {
                self.members.remove(&node);
                self.leaving.remove(&node);
                self.held.remove(&node);
                self.node(node).kill_9();
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}
