//! Comma-separated values (RFC 4180) of rows that serialise to flat objects.

use core::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::report::escape;

/// Rows with a header, columns in the order of the type's fields; nothing of no rows.
pub fn csv<T: Serialize>(rows: &[T]) -> String {
    let read = |it: &T| {
        let text = serde_json::to_string(it).unwrap_or_default();
        serde_json::from_str::<Fields>(&text).map(|it| it.0).unwrap_or_default()
    };
    let rows: Vec<_> = rows.iter().map(read).collect();
    let Some(first) = rows.first() else { return String::new() };
    let mut out = line(first.iter().map(|it| it.0.clone()));
    for row in &rows {
        out.push_str(&line(row.iter().map(|it| cell(&it.1))));
    }
    out
}

/// The fields of an object in their order, which a map would sort.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields::default())
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(field) = map.next_entry()? {
            self.0.push(field);
        }
        Ok(self)
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escape(text),
        Value::Array(all) => all.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|it| match it.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", it.replace('"', "\"\"")),
        // A spreadsheet would take it for a formula.
        false if it.starts_with(['=', '+', '-', '@']) => format!("\"'{it}\""),
        false => it,
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        a: &'static str,
        b: Option<u32>,
    }

    #[test]
    fn foreign_text_stays_in_its_cell() {
        let rows = [Row { a: "x", b: Some(1) }, Row { a: "y,\"z\"", b: None }];
        assert_eq!(csv(&rows), "a,b\nx,1\n\"y,\"\"z\"\"\",\n");
        assert_eq!(csv(&[Row { a: "=1+1", b: None }]), "a,b\n\"'=1+1\",\n");
        assert_eq!(csv::<Row>(&[]), "");
    }
}
