//! YAML in one place: read as kubectl reads it, written so that kubectl reads it back as it was.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a text is no YAML of the wanted shape. The text of the message is the parser's.
#[derive(Debug, thiserror::Error)]
#[error("not the YAML that was expected: {0}")]
pub struct YamlError(String);

/// Nodes and events that one document may hold: a list of 30,000 pods needs some 10 million. The bundle reader's size
/// limits bound the input; these bound what aliases can make of it.
const MAX_EVENTS: usize = 50_000_000;
/// Bytes of text in one document: the bundle reader's limit for a file.
const MAX_TEXT: usize = 256 << 20;

/// Reads one document.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let budget = serde_yaml::budget! {
        max_events: MAX_EVENTS,
        max_nodes: MAX_EVENTS,
        max_total_scalar_bytes: MAX_TEXT,
    };
    // kubectl's parser reads 0644 as octal, so we do.
    let options = serde_yaml::options! { budget: budget, legacy_octal_numbers: true };
    serde_yaml::from_str_with_options(text, options).map_err(|error| YamlError(first_line(&error)))
}

/// Writes one document.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|error| YamlError(error.to_string()))
}

/// The parser adds an excerpt of the input below its message; the input may hold what nobody should print.
fn first_line(error: &serde_yaml::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn words_that_look_like_booleans_survive() {
        let before: BTreeMap<String, String> = ["no", "on", "y", "1_000", "null", "0644"]
            .iter()
            .map(|it| ((*it).to_owned(), (*it).to_owned()))
            .collect();
        let text = to_string(&before).unwrap();
        let after: BTreeMap<String, String> = from_str(&text).unwrap();
        assert_eq!(before, after, "{text}");
    }

    #[test]
    fn octal_is_read_as_kubectl_reads_it() {
        let value: serde_json::Value = from_str("mode: 0644").unwrap();
        assert_eq!(value["mode"], 420);
    }

    #[test]
    fn an_error_is_one_line_without_the_input() {
        let error =
            from_str::<BTreeMap<String, u8>>("token: very-secret\n").unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
    }
}
