//! The command line as a whole: the global flags and the tree of commands. Each command declares its own arguments.

use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::styling::{Style, Styles};
use clap::{Args, Parser};
use quorate_cluster_config::{Address, TopicName};

use crate::commands::Command;
use crate::output::Format;

/// Plain but for bold headings, which clap drops where stdout is no terminal.
const STYLES: Styles = Styles::plain().header(Style::new().bold()).usage(Style::new().bold());

const EXAMPLES: &str = "\
Examples:
  quorate local start --detach
  quorate topic create orders --partitions 4
  echo hello | quorate produce orders
  quorate consume orders

Exit codes:
  0  done
  1  failed; stderr has one line: what, why, what to do
     (with --output json one object: {\"error\":{\"message\",\"code\",\"retryable\"}})
  2  the command line is wrong (always told as plain text)";

/// The command line of Quorate, a replicated, clustered log
#[derive(Debug, Parser)]
#[command(name = "quorate", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 100)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes, before or after its name.
#[derive(Clone, Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Client addresses of one or more nodes; any of them will do
    #[arg(long, global = true, env = "QUORATE_SERVER", value_name = "HOST:PORT[,…]", value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:7101", hide_env_values = true, help_heading = "Global options")]
    pub(crate) server: Vec<Address>,

    /// How results are written to stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, help_heading = "Global options")]
    #[arg(hide_possible_values = true, value_name = "table|json")]
    pub(crate) output: Format,

    /// The longest wait for the cluster [default: 10s; local start and restart, bench: 60s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout, help_heading = "Global options")]
    pub(crate) timeout: Option<Duration>,
}

/// The topic a command is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct TopicArg {
    /// The topic: NAME, or STREAM/NAME
    #[arg(value_name = "TOPIC")]
    pub(crate) topic: TopicName,
}

fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be above zero".to_owned()),
        duration if duration > TIMEOUT_MAX => Err("it must be at most 1day".to_owned()),
        duration => Ok(duration),
    }
}

/// Beyond it, deadlines could overflow.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// `10s`, `500ms`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}: write it like 10s, 500ms or 1m"))
}

/// `256KiB`, `1MB`, `4096`.
pub(crate) fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "write it like 4096, 256KiB or 1MB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_and_every_leaf_an_example() {
        fn check(command: &clap::Command) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no help");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} {} has no help", argument.get_id());
            }
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{name} has no example");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn a_timeout_is_neither_zero_nor_endless() {
        assert_eq!(timeout("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["0s", "", "10", "-1s", "2days", "forever"] {
            assert!(timeout(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(size("256KiB"), Ok(ByteSize(256 << 10)));
        assert_eq!(size("4096"), Ok(ByteSize(4096)));
        assert!(size("many").is_err());
    }
}
