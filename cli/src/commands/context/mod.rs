//! `quorate context …`

use clap::{Args, Subcommand};
use quorate_cluster_config::{Address, Name};
use serde::Serialize;

use crate::context::Context;
use crate::contexts::{Cluster, Contexts};
use crate::error::Failure;
use crate::output::{Columns, View};

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Give a cluster a name, or another address
    Add(AddArgs),
    /// Use a cluster from now on, where no other one is named
    Use(UseArgs),
    /// List the clusters that have names
    List(ListArgs),
    /// Forget a cluster's name
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The first context that is added is used from then on.

Example:
  quorate context add staging 10.0.0.1:7101,10.0.0.2:7101")]
pub(crate) struct AddArgs {
    /// The name
    #[arg(value_name = "NAME")]
    name: Name,
    /// Client addresses of one or more nodes
    #[arg(value_name = "HOST:PORT[,…]", value_delimiter = ',', required = true)]
    servers: Vec<Address>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
--server, --context and the variables QUORATE_SERVER and QUORATE_CONTEXT go before it.

Example:
  quorate context use staging")]
pub(crate) struct UseArgs {
    /// The name
    #[arg(value_name = "NAME")]
    name: Name,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate context list")]
pub(crate) struct ListArgs {}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  quorate context remove staging")]
pub(crate) struct RemoveArgs {
    /// The name
    #[arg(value_name = "NAME")]
    name: Name,
}

#[derive(Serialize)]
#[serde(transparent)]
struct ContextsView {
    contexts: Vec<ContextView>,
}

#[derive(Serialize)]
struct ContextView {
    name: String,
    servers: Vec<String>,
    current: bool,
}

pub(crate) fn run(context: &Context, command: ContextCommand) -> Result<(), Failure> {
    let contexts = match command {
        ContextCommand::Add(AddArgs { name, servers }) => Contexts::change(|contexts| {
            contexts.current.get_or_insert_with(|| name.clone());
            contexts.contexts.insert(name, Cluster { servers });
            Ok(())
        }),
        ContextCommand::Use(UseArgs { name }) => Contexts::change(|contexts| {
            contexts.get(&name)?;
            contexts.current = Some(name);
            Ok(())
        }),
        ContextCommand::Remove(RemoveArgs { name }) => Contexts::change(|contexts| {
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            contexts.current.take_if(|current| *current == name);
            Ok(())
        }),
        ContextCommand::List(ListArgs {}) => Contexts::load(),
    };
    context.show(&ContextsView::new(&contexts?))
}

impl ContextsView {
    fn new(contexts: &Contexts) -> Self {
        let view = |(name, cluster): (&Name, &Cluster)| ContextView {
            name: name.to_string(),
            servers: cluster.servers.iter().map(ToString::to_string).collect(),
            current: contexts.current.as_ref() == Some(name),
        };
        Self { contexts: contexts.contexts.iter().map(view).collect() }
    }
}

impl View for ContextsView {
    fn text(&self) -> String {
        let mut columns = Columns::new(&["CURRENT", "CONTEXT", "SERVERS"]);
        for context in &self.contexts {
            let mark = if context.current { "*" } else { "" };
            columns.row([mark.to_owned(), context.name.clone(), context.servers.join(",")]);
        }
        columns.text()
    }
}
