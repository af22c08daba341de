//! The page around the drawings.

use super::{Chart, Verdict};
use crate::{chaos::verdict::Outcome, checker::Counts};

const STYLE: &str = "\
:root{--fg:#1b1f24;--bg:#fff;--dim:#6b7280;--grid:#e5e7eb;--a:#2563eb;--b:#d97706;--bad:#dc2626;--ok:#16a34a;--card:#f6f7f9}\
@media(prefers-color-scheme:dark){:root{--fg:#e6e8eb;--bg:#14171a;--dim:#9aa3ad;--grid:#2a2f35;--a:#60a5fa;--b:#fbbf24;\
--bad:#f87171;--ok:#4ade80;--card:#1d2126}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:1140px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0 0 .5rem}h2{font-size:1rem;margin:1.6rem 0 .3rem}\
.badge{display:inline-block;padding:.15em .7em;border-radius:1em;color:#fff;font-weight:600}\
.passed{background:var(--ok)}.violated{background:var(--bad)}.inconclusive{background:var(--b)}\
.cards{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}.card{background:var(--card);border-radius:.5rem;padding:.5rem .8rem}\
.card b{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}.card span,.none,footer{color:var(--dim)}\
svg{width:100%;height:auto;display:block}.grid{stroke:var(--grid)}.tick,.label{fill:var(--dim);font-size:11px}\
.label,.name{text-anchor:end}.name{font-size:12px}.tick{text-anchor:middle}.line{fill:none;stroke-width:1.5}.line.a{stroke:var(--a)}.line.b{stroke:var(--b)}\
text.a{fill:var(--a)}text.b{fill:var(--b)}.area.a{fill:var(--a);opacity:.55}.fault{fill:var(--b)}.bad{fill:var(--bad)}.ok{fill:var(--a)}\
.node{stroke:var(--bg);stroke-width:1}.n0{fill:#64748b}.n1{fill:#2563eb}.n2{fill:#16a34a}.n3{fill:#d97706}.n4{fill:#9333ea}\
.n5{fill:#0891b2}.n6{fill:#db2777}.n7{fill:#65a30d}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;vertical-align:top;\
border-bottom:1px solid var(--grid)}code{background:var(--card);padding:.15em .4em;border-radius:.3em;overflow-wrap:anywhere}";

/// Text as HTML has it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn render(verdict: &Verdict, charts: &[Chart]) -> String {
    let drawn: String = charts.iter().map(Chart::render).collect();
    let outcome = verdict.outcome.to_string();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Quorate chaos, seed {seed}: {outcome}</title><style>{STYLE}</style>\
         <h1><span class=\"badge {outcome}\">{outcome}</span> seed {seed}</h1><p>{sentence}</p>\
         <div class=cards>{cards}</div>{wrong}{drawn}<footer><p>again: <code>{command}</code></p></footer></html>\n",
        seed = verdict.seed,
        sentence = sentence(verdict),
        cards = cards(verdict),
        wrong = wrong(verdict),
        command = escape(&verdict.command),
    )
}

fn sentence(verdict: &Verdict) -> &'static str {
    match verdict.outcome {
        Outcome::Passed => {
            "Every acknowledged record is there once and in order, on all replicas, and nobody read anything else."
        }
        Outcome::Inconclusive => "Nothing is wrong with what happened, but it is not enough to prove anything.",
        Outcome::Violated => "Something is wrong.",
    }
}

fn cards(verdict: &Verdict) -> String {
    let Counts { acknowledged, unknown, failed, records_polled, end_offsets, conditional, .. } = verdict.counts;
    let Counts { committed_offsets, assignments, replicas, .. } = verdict.counts;
    let anomalies: u64 = verdict.anomalies.iter().map(|(_, found)| found.count).sum();
    let faults: usize = verdict.faults.iter().map(|(_, count)| count).sum();
    let cards = [
        (anomalies.to_string(), "anomalies"),
        (verdict.defects.len().to_string(), "defects"),
        (faults.to_string(), "faults"),
        (acknowledged.to_string(), "writes acknowledged"),
        (unknown.to_string(), "writes unknown"),
        (failed.to_string(), "writes failed"),
        (conditional.to_string(), "under a condition"),
        (records_polled.to_string(), "records polled"),
        (end_offsets.to_string(), "end offsets"),
        (committed_offsets.to_string(), "committed offsets of a group"),
        (assignments.to_string(), "partitions given to members"),
        (replicas.to_string(), "logs compared"),
        (format!("{:.2} s", verdict.longest_gap_of_a_partition.as_secs_f64()), "longest gap of a partition"),
        (format!("{:.2} s", verdict.writable_after.as_secs_f64()), "until writable after the faults"),
        (format!("{:.2} s", verdict.converged_after.as_secs_f64()), "until replicas were alike"),
    ];
    let card = |(value, name): (String, &str)| format!("<div class=card><b>{value}</b><span>{name}</span></div>");
    cards.map(card).concat()
}

fn wrong(verdict: &Verdict) -> String {
    let mut rows = String::new();
    for (kind, found) in verdict.anomalies.iter() {
        for example in &found.examples {
            let (partition, detail) = (example.partition, escape(&example.detail));
            rows.push_str(&format!("<tr><td>{kind} ({})<td>{partition}<td>{detail}", found.count));
        }
    }
    rows.extend(verdict.defects.iter().map(|defect| format!("<tr><td>defect<td><td>{}", escape(defect))));
    rows.extend(verdict.inconclusive.iter().map(|why| format!("<tr><td>inconclusive<td><td>{}", escape(why))));
    if rows.is_empty() { String::new() } else { format!("<h2>What is wrong</h2><table>{rows}</table>") }
}
