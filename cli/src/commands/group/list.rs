//! `quorate group list`

use clap::Args;
use quorate::GroupSummary;
use serde::Serialize;

use crate::context::Context;
use crate::error::Failure;
use crate::output::{Columns, View};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate group list --output json | jq -r '.[] | select(.state == \"empty\").name'")]
pub(crate) struct ListArgs {}

#[derive(Serialize)]
#[serde(transparent)]
struct GroupsView {
    groups: Vec<GroupView>,
}

#[derive(Serialize)]
struct GroupView {
    name: String,
    state: String,
    members: u32,
    committed_partitions: u32,
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let client = context.connect().await?;
    let groups = context.within("asking for the groups", client.groups()).await?;
    context.show(&GroupsView { groups: groups.iter().map(GroupView::new).collect() })
}

impl GroupView {
    fn new(group: &GroupSummary) -> Self {
        Self {
            name: group.name.to_string(),
            state: group.state.to_string(),
            members: group.member_count,
            committed_partitions: group.committed_partition_count,
        }
    }
}

impl View for GroupsView {
    fn text(&self) -> String {
        let mut columns = Columns::new(&["GROUP", "STATE", "MEMBERS", "COMMITTED PARTITIONS"]).right(&[2, 3]);
        for group in &self.groups {
            columns.row([
                group.name.clone(),
                group.state.clone(),
                group.members.to_string(),
                group.committed_partitions.to_string(),
            ]);
        }
        columns.text()
    }
}
