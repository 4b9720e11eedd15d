//! The catalogue of checks, and tables.

use std::io::Write;

use serde::Serialize;
use tabwriter::TabWriter;

use crate::checks;
use crate::plan::Applicability;

/// One line of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CatalogueEntry {
    /// Code.
    pub code: String,
    /// The worst it reports.
    pub severity: String,
    /// What a repair takes: `safe`, `ask`, `manual`.
    pub repair: String,
    /// What it finds.
    pub title: String,
    /// Its group.
    pub group: String,
}

/// All checks, sorted by code.
pub fn catalogue() -> Vec<CatalogueEntry> {
    let repair = |fix| match fix {
        Applicability::Safe => "safe",
        Applicability::Ask => "ask",
        Applicability::Manual => "manual",
    };
    checks::ALL
        .iter()
        .map(|check| CatalogueEntry {
            code: check.code.to_string(),
            severity: check.severity.to_string(),
            repair: repair(check.fix).to_owned(),
            title: check.title.to_owned(),
            group: check.group.to_owned(),
        })
        .collect()
}

/// Aligned columns as kubectl prints them.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = head.join("\t") + "\n";
    for row in rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    let mut writer = TabWriter::new(Vec::new()).padding(3);
    // Writing to memory cannot fail; should it, unaligned columns still say everything.
    let aligned = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    match (aligned, writer.into_inner()) {
        (Ok(()), Ok(bytes)) => String::from_utf8(bytes).unwrap_or(text),
        _ => text,
    }
}
