//! `docs/cli.md` is what the commands say of themselves. With `QUORATE_WRITE_DOCS` set it is written anew.

use std::fmt::Write;
use std::path::Path;

use clap::{Command, CommandFactory};

use crate::args::Cli;

/// Each command with its help, and then the commands below it.
fn write(text: &mut String, command: &mut Command, name: &str) {
    let help = command.clone().bin_name(name).disable_help_subcommand(true).render_long_help().to_string();
    let mut is_global = false;
    let lines: Vec<&str> = help
        .lines()
        .map(str::trim_end)
        .filter(|line| {
            // Told once, above all commands.
            if !line.is_empty() && !line.starts_with(' ') {
                is_global = *line == "Global options:" && name.contains(' ');
            }
            !is_global
        })
        .collect();
    let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
        let name = format!("{name} {}", below.get_name());
        write(text, below, &name);
    }
}

#[test]
fn the_reference_says_what_the_commands_say() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut text = "# The command line\n\nMade from the commands; do not edit. The global options of `quorate` go with all of them.\n".to_owned();
    write(&mut text, &mut command, "quorate");
    assert!(text.matches("\n## ").count() > 40, "{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    if std::env::var_os("QUORATE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("docs/ can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/cli.md is out of date: run `make fix`, which writes it anew");
}
