//! `quorate topic delete`

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use quorate_cluster_config::TopicName;
use serde::Serialize;

use crate::args::TopicArg;
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
        confirm(&name)?;
    }
    let context = context.renewed();
    let client = context.connect().await?;
    context.within("deleting the topic", client.delete_topic(&name)).await?;
    context.show(&DeletedView { deleted: name.to_string() })
}

fn confirm(name: &TopicName) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::message(format!(
            "topic {name} was not deleted, nobody can be asked as stdin is no terminal, use --yes"
        )));
    }
    let mut answer = String::new();
    let mut stderr = io::stderr().lock();
    write!(stderr, "Delete topic {name} and all of its records? [y/N] ")
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::message(format!("topic {name} was not deleted, {error}, use --yes")))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::message(format!("topic {name} was not deleted, the answer was not yes")))
}

impl View for DeletedView {
    fn text(&self) -> String {
        format!("deleted topic {}", self.deleted)
    }
}
