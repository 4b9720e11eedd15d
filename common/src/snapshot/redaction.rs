//! Takes out of an API object what neither a bundle nor an excerpt should hold.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::scrub::{LAST_APPLIED, is_secret_name, keeps_config_map};
use super::secret::{REDACTED, without_secrets};

/// Drops managedFields and kubectl's copy of the object, replaces values of environment variables whose names promise a
/// secret, the data of ConfigMaps that are not known to be harmless, and secrets in any text (see [`without_secrets`]).
pub fn redact_object(object: &mut Value, is_config_map: bool) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if is_config_map && !keeps_config_map(name) {
        for field in ["data", "binaryData"] {
            match object.get_mut(field) {
                Some(Value::Object(data)) => {
                    data.values_mut().for_each(|value| *value = REDACTED.into());
                }
                Some(other) if !other.is_null() => *other = REDACTED.into(),
                _ => {}
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
