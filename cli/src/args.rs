//! The command line as a whole: the global flags and the tree of commands. Each command declares its own arguments.

use std::time::Duration;

use bytesize::ByteSize;
use clap::builder::styling::{Style, Styles};
use clap::{Args, Parser};
use quorate_cluster_config::{Address, Name, TopicName};

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
    /// Client addresses of one or more nodes; any of them will do [env: QUORATE_SERVER] [default: those of the current
    /// context, else 127.0.0.1:7101]
    #[arg(long, global = true, value_name = "HOST:PORT[,…]", value_delimiter = ',', help_heading = "Global options")]
    pub(crate) server: Vec<Address>,

    /// The cluster of this name, see `quorate context` [env: QUORATE_CONTEXT]
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "server", help_heading = "Global options")]
    pub(crate) context: Option<Name>,

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

/// How a bound that is missing is written.
pub(crate) const UNLIMITED: &str = "unlimited";

/// A bound, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit<T>(pub(crate) Option<T>);

/// `7d`, `36h`, `unlimited`.
pub(crate) fn duration_limit(text: &str) -> Result<Limit<Duration>, String> {
    match text {
        UNLIMITED => Ok(Limit(None)),
        _ => humantime::parse_duration(text)
            .map(|duration| Limit(Some(duration)))
            .map_err(|error| format!("{error}: write it like 7d, 36h or {UNLIMITED}")),
    }
}

/// `10GiB`, `1048576`, `unlimited`.
pub(crate) fn size_limit(text: &str) -> Result<Limit<ByteSize>, String> {
    match text {
        UNLIMITED => Ok(Limit(None)),
        _ => {
            text.parse().map(|size| Limit(Some(size))).map_err(|_| format!("write it like 10GiB, 500MB or {UNLIMITED}"))
        }
    }
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
    fn a_limit_may_be_missing() {
        assert_eq!(duration_limit("7d"), Ok(Limit(Some(Duration::from_secs(7 * 86_400)))));
        assert_eq!(duration_limit("unlimited"), Ok(Limit(None)));
        assert_eq!(size_limit("10GiB"), Ok(Limit(Some(ByteSize(10 << 30)))));
        assert_eq!(size_limit("unlimited"), Ok(Limit(None)));
        for text in ["", "7", "forever", "-1d", "Unlimited"] {
            assert!(duration_limit(text).is_err_and(|error| error.contains("or unlimited")), "{text:?}");
        }
        for text in ["", "much", "-1", "Unlimited"] {
            assert!(size_limit(text).is_err_and(|error| error.contains("or unlimited")), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_units() {
        assert_eq!(size("256KiB"), Ok(ByteSize(256 << 10)));
        assert_eq!(size("4096"), Ok(ByteSize(4096)));
        assert!(size("many").is_err());
    }
}
