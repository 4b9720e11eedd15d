//! `checks`: the catalogue.

use common::cli::{Exit, Failure, OutputFormat};
use common::report::v1::API_VERSION;
use common::report::{CatalogueEntry, catalogue, json, table, yaml};

use common::verbs::Session;

pub(crate) fn run(session: &Session) -> Result<Exit, Failure> {
    let rows = catalogue();
    let document = match session.format {
        OutputFormat::Text => {
            let rows: Vec<Vec<String>> = rows
                .iter()
                .map(|it| {
                    vec![it.code.clone(), it.severity.clone(), it.repair.clone(), it.title.clone()]
                })
                .collect();
            table(&["CODE", "SEVERITY", "REPAIR", "FINDS THAT"], &rows)
        }
        OutputFormat::Json => json(&list(&rows)),
        OutputFormat::Yaml => yaml(&list(&rows)),
    };
    session.printer.data(&document)?;
    Ok(Exit::Good)
}

/// The catalogue as one document.
fn list(rows: &[CatalogueEntry]) -> serde_json::Value {
    serde_json::json!({ "apiVersion": API_VERSION, "kind": "CheckList", "checks": rows })
}
