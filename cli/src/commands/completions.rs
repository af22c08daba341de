//! `quorate completions`

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Failure;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(quorate completions bash)
  quorate completions zsh > ~/.zfunc/_quorate
  quorate completions fish > ~/.config/fish/completions/quorate.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "bash|zsh|fish|elvish|powershell", hide_possible_values = true)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    // What it writes to must not fail: a reader that closes the pipe is met when all of it is written.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quorate", &mut script);
    io::stdout().lock().write_all(&script).map_err(Failure::Output)
}
