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
            say!("nemeses");
            nemeses.iter().for_each(|(name, definition)| say!("  {name:<20} {definition}"));
            say!("anomalies");
            anomalies.iter().for_each(|(name, definition)| say!("  {name:<20} {definition}"));
        }
        Format::Json => say!("{}", json!({ "nemeses": object(&nemeses), "anomalies": object(&anomalies) })),
    }
    ExitCode::SUCCESS
}

fn object(entries: &[(&str, &str)]) -> Map<String, Value> {
    entries.iter().map(|(name, definition)| ((*name).to_owned(), (*definition).into())).collect()
}
