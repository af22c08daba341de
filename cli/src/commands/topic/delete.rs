//! `quorate topic delete`

use clap::Args;
use serde::Serialize;

use crate::args::TopicArg;
use crate::confirm;
use crate::context::Context;
use crate::error::Failure;
use crate::output::View;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate topic delete orders --yes")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    topic: TopicArg,
    /// Do not ask; required where nobody can be asked
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct DeletedView {
    deleted: String,
}

pub(crate) async fn run(context: &Context, args: DeleteArgs) -> Result<(), Failure> {
    let name = args.topic.topic;
    if !args.yes {
        let (question, not_done) =
            (format!("Delete topic {name} and all of its records?"), format!("topic {name} was not deleted"));
        confirm::ask(&question, &not_done)?;
    }
    let context = context.renewed();
    let client = context.connect().await?;
    context.within("deleting the topic", client.delete_topic(&name)).await?;
    context.show(&DeletedView { deleted: name.to_string() })
}

impl View for DeletedView {
    fn text(&self) -> String {
        format!("deleted topic {}", self.deleted)
    }
}
