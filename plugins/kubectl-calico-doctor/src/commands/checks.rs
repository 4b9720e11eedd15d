//! `checks`: the catalogue.

use common::cli::{Exit, Failure, OutputFormat};
use common::report::{catalogue, json, table, yaml};

use crate::Session;

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
        OutputFormat::Json => json(&rows),
        OutputFormat::Yaml => yaml(&rows),
    };
    session.printer.data(&document)?;
    Ok(Exit::Good)
}
