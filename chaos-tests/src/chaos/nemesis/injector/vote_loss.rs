//! The fault that a vote must survive: whoever has voted loses power at once, and is asked again in the same term.

use std::time::Duration;

use super::{Held, Injector};
use crate::{
    chaos::nemesis::aim::links,
    harness::NodeKind,
    proxy::{Link, Rule},
};

/// How long the nodes that are left have to elect a leader.
const ELECTION: Duration = Duration::from_millis(1_500);

impl Injector<'_> {
    /// Kills `leader`, holds the disk of `voter` while leaders are elected, and cuts its power and all links of those that it may
    /// have elected. It and the leader are started at once: they are a majority that may know nothing of that vote.
    pub(super) async fn lose_vote(
        &mut self,
        fault: u64,
        leader: u64,
        voter: u64,
        elected: &[u64],
    ) -> Result<(), String> {
        let both = [leader, voter];
        if self.take(fault, Held::Killed, &both, |held| held.is_none())?.len() < both.len() {
            self.held.retain(|_, (by, _)| *by != fault);
            return Err(format!("another fault holds one of {both:?}"));
        }
        let power_loss = self.node(voter).kind == NodeKind::PowerLoss;
        if power_loss {
            self.node(voter).hold_sync(true);
        }
        self.node(leader).kill_9();
        tokio::time::sleep(ELECTION).await;
        let members: Vec<u64> = self.members.iter().copied().collect();
        let cut: Vec<(Link, Rule)> = [links(&members, elected, true), links(&members, elected, false)]
            .into_iter()
            .flatten()
            .map(|link| (link, Rule::Drop))
            .collect();
        let broken = self.cluster.break_links(fault, cut);
        self.node(voter).kill_9();
        if power_loss {
            self.node(voter).hold_sync(false);
        }
        self.release(fault);
        broken
    }
}
