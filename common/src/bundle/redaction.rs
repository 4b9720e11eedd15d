//! Takes out of records what a bundle must not hold, by structure where there is one.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::snapshot::{
    LAST_APPLIED, REDACTED, Record, RecordKey, is_secret_name, keeps_config_map, without_secrets,
};

/// The body of `record` as a bundle may hold it; none for kinds that a bundle never holds.
pub fn redact(record: &Record) -> Option<Vec<u8>> {
    match &record.key {
        RecordKey::List(resource) if resource.plural == "secrets" => None,
        RecordKey::List(_) | RecordKey::Api(_) => Some(document(&record.body, &record.key)),
        RecordKey::Probe(_) | RecordKey::Log { .. } => {
            Some(without_secrets(&String::from_utf8_lossy(&record.body)).into_owned().into_bytes())
        }
    }
}

/// JSON of a JSON or YAML document; a text that is neither is kept as text, so that a reader meets the same fault.
fn document(body: &[u8], key: &RecordKey) -> Vec<u8> {
    let Ok(mut value) = crate::snapshot::parse_document(body) else {
        return without_secrets(&String::from_utf8_lossy(body)).into_owned().into_bytes();
    };
    let config_maps = matches!(key, RecordKey::List(resource) if resource.plural == "configmaps");
    match value.get_mut("items") {
        Some(Value::Array(items)) => items.iter_mut().for_each(|item| object(item, config_maps)),
        _ => object(&mut value, config_maps),
    }
    value.to_string().into_bytes()
}

fn object(object: &mut Value, is_config_map: bool) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if is_config_map && !keeps_config_map(name) {
        for field in ["data", "binaryData"] {
            if let Some(data) = object.get_mut(field).and_then(Value::as_object_mut) {
                data.values_mut().for_each(|value| *value = REDACTED.into());
            }
        }
    }
    walk(object);
}

/// Every string by its text, every environment variable by its name.
fn walk(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = without_secrets(text) {
                *text = clean;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(walk),
        Value::Object(map) => {
            variables(map);
            map.values_mut().for_each(walk);
        }
        _ => {}
    }
}

fn variables(map: &mut Map<String, Value>) {
    let Some(variables) = map.get_mut("env").and_then(Value::as_array_mut) else { return };
    for variable in variables {
        let secret = variable.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
        if secret
            && let Some(value) = variable.get_mut("value").filter(|it| it.as_str() != Some(""))
        {
            *value = REDACTED.into();
        }
    }
}
