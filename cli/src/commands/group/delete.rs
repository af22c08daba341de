//! `quorate group delete`

use clap::Args;
use serde::Serialize;

use super::GroupArg;
use crate::confirm;
use crate::context::Context;
use crate::error::Failure;
use crate::output::View;

#[derive(Debug, Args)]
#[command(after_help = "\
What the group has committed is gone: who joins it later begins where its settings say. The records stay. A group with members \
is not deleted.

Example:
  quorate group delete billing --yes")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    group: GroupArg,
    /// Do not ask; required where nobody can be asked
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct DeletedView {
    group: String,
}

pub(crate) async fn run(context: &Context, args: DeleteArgs) -> Result<(), Failure> {
    let DeleteArgs { group: GroupArg { group }, yes } = args;
    let not_done = format!("group {group} was not deleted");
    if !yes {
        confirm::require_somebody(&not_done)?;
    }
    let client = context.connect().await?;
    let info = context.within("asking for the group", client.group(&group)).await?;
    if !yes {
        let question = format!("Forget what group {group} has committed in {} partitions?", info.committed.len());
        confirm::ask(&question, &not_done)?;
    }
    let context = context.renewed();
    context.within("deleting the group", client.delete_group(&group)).await?;
    context.show(&DeletedView { group: group.to_string() })
}

impl View for DeletedView {
    fn text(&self) -> String {
        format!("group {} is deleted", self.group)
    }
}
