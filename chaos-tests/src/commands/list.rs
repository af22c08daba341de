//! `quorate-chaos list`.

use std::process::ExitCode;

use quorate_chaos_tests::{chaos::nemesis::NemesisKind, checker::AnomalyKind};
use serde_json::{Map, Value, json};

use crate::Format;

pub(crate) fn run(output: Format) -> ExitCode {
    let nemeses = NemesisKind::ALL.map(|kind| (kind.name(), kind.definition()));
    let anomalies = AnomalyKind::ALL.map(|kind| (kind.name(), kind.definition()));
    match output {
        Format::Table => {
            println!("nemeses");
            nemeses.iter().for_each(|(name, definition)| println!("  {name:<20} {definition}"));
            println!("anomalies");
            anomalies.iter().for_each(|(name, definition)| println!("  {name:<20} {definition}"));
        }
        Format::Json => println!("{}", json!({ "nemeses": object(&nemeses), "anomalies": object(&anomalies) })),
    }
    ExitCode::SUCCESS
}

fn object(entries: &[(&str, &str)]) -> Map<String, Value> {
    entries.iter().map(|(name, definition)| ((*name).to_owned(), (*definition).into())).collect()
}
