//! What users and programs read: stable wire types and one pure printer per format.

mod catalogue;
mod escape;
mod layout;
mod plan_text;
mod text;
pub mod v1;

pub use catalogue::{CatalogueEntry, catalogue, table};
pub use escape::escape;
pub use layout::{TextOptions, number};
pub use plan_text::{outcome, plan};
pub use text::text;

use serde::Serialize;

/// One JSON document, indented, with a final newline. Serialising our own types cannot fail; if it did, the document
/// would be an error that still parses.
pub fn json<T: Serialize>(document: &T) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_else(|error| {
        serde_json::json!({ "apiVersion": v1::API_VERSION, "kind": "Error", "errors": [error.to_string()] })
            .to_string()
    });
    text.push('\n');
    text
}

/// One YAML document.
pub fn yaml<T: Serialize>(document: &T) -> String {
    let value = serde_json::to_value(document).unwrap_or_else(|error| {
        serde_json::json!({ "apiVersion": v1::API_VERSION, "kind": "Error", "errors": [error.to_string()] })
    });
    match serde_yaml::to_string(&value) {
        Ok(text) => text,
        // JSON is YAML: this still parses.
        Err(_) => json(&value),
    }
}
