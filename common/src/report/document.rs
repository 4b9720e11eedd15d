//! JSON and YAML of the wire types. A document is always valid, and harmless on a terminal, whatever the cluster wrote
//! into its names and events.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::escape::reorders;
use super::v1::API_VERSION;

/// One JSON document, indented, with a final newline. Serialising our own types cannot fail; if it did, the document
/// would be an error that still parses.
pub fn json<T: Serialize>(document: &T) -> String {
    let text =
        serde_json::to_string_pretty(document).unwrap_or_else(|error| mistake(&error).to_string());
    harmless_json(&text) + "\n"
}

/// One YAML document.
pub fn yaml<T: Serialize>(document: &T) -> String {
    // By way of a JSON value: enums then look the same in both formats.
    let value = serde_json::to_value(document).unwrap_or_else(|error| mistake(&error));
    let mark = unused_mark(&value.to_string());
    let mut spelled = value.clone();
    spell(&mut spelled, &mark);
    match serde_yaml::to_string(&spelled) {
        Ok(text) => text.replace(&format!("\\x01{mark}"), "\\U"),
        // JSON is YAML: this still parses.
        Err(_) => json(&value),
    }
}

fn mistake(error: &serde_json::Error) -> Value {
    serde_json::json!({ "apiVersion": API_VERSION, "kind": "Error", "errors": [error.to_string()] })
}

/// A terminal obeys it, or it hides what is written.
fn is_harmful(letter: char) -> bool {
    letter.is_control() || reorders(letter)
}

/// The JSON writer spells the control characters below U+0020 only. Outside of strings JSON has none of the others,
/// and inside they may be spelled `\uXXXX`: the value stays the same.
fn harmless_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_harmful(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(letter);
        }
    }
    out
}

/// A word that does not occur in `text`.
fn unused_mark(text: &str) -> String {
    let mut mark = "mark".to_owned();
    while text.contains(&mark) {
        mark.push('k');
    }
    mark
}

/// The YAML writer spells control characters, but not those that hide or reorder text. Each of these becomes U+0001
/// (which makes the writer quote and spell), the mark and its number; the caller turns that into `\UXXXXXXXX`.
fn spell(value: &mut Value, mark: &str) {
    match value {
        Value::String(text) if text.chars().any(reorders) => {
            *text = text
                .chars()
                .map(|letter| {
                    if reorders(letter) {
                        format!("\u{1}{mark}{:08x}", u32::from(letter))
                    } else {
                        letter.to_string()
                    }
                })
                .collect();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| spell(item, mark)),
        Value::Object(fields) => fields.values_mut().for_each(|field| spell(field, mark)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{9b}b\r\nc\u{202e}d\u{7f}: no";
    /// Harmful, but not by a control character; and what looks like our own spelling.
    const DISGUISED: &str = "x\u{202e}drowssap mark\\x01mark";

    fn assert_harmless(text: &str) {
        assert!(!text.chars().any(|it| it != '\n' && is_harmful(it)), "{text:?}");
    }

    #[test]
    fn hostile_strings_come_back_whole_and_print_harmless() {
        let document = serde_json::json!(
            { "name": HOSTILE, "disguised": [DISGUISED], "no": "no", "n": "1_000", "y": "on" }
        );
        let (json, yaml) = (json(&document), yaml(&document));
        assert_harmless(&json);
        assert_harmless(&yaml);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), document);
        assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), document);
    }

    proptest! {
        #[test]
        fn any_string_survives(text in any::<String>()) {
            let written = json(&text);
            assert_harmless(&written);
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
