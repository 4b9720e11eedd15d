//! Takes out of records what a bundle must not hold, by structure where there is one.

use serde_json::Value;

use crate::snapshot::{Record, RecordKey, parse_document, redact_object, without_secrets};

/// The body of `record` as a bundle may hold it; none for kinds that a bundle never holds.
pub fn redact(record: &Record) -> Option<Vec<u8>> {
    match &record.key {
        RecordKey::List(resource) if resource.plural == "secrets" => None,
        RecordKey::List(_) | RecordKey::Api(_) => Some(document(&record.body, &record.key)),
        RecordKey::Probe(_) | RecordKey::Log { .. } => Some(text(&record.body)),
    }
}

fn text(body: &[u8]) -> Vec<u8> {
    without_secrets(&String::from_utf8_lossy(body)).into_owned().into_bytes()
}

/// JSON of a JSON or YAML document; a text that is neither is kept as text, so that a reader meets the same fault.
fn document(body: &[u8], key: &RecordKey) -> Vec<u8> {
    let Ok(mut value) = parse_document(body) else { return text(body) };
    let config_maps = matches!(key, RecordKey::List(resource) if resource.plural == "configmaps");
    match value.get_mut("items") {
        Some(Value::Array(items)) => {
            for item in items {
                redact_object(item, config_maps);
            }
        }
        _ => redact_object(&mut value, config_maps),
    }
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Extent, Provenance, Resource};

    fn redacted(key: RecordKey, body: &str) -> Option<String> {
        let record = Record {
            key,
            body: body.as_bytes().to_vec(),
            at: jiff::Timestamp::UNIX_EPOCH,
            from: Provenance::Api("/".to_owned()),
            extent: Extent::default(),
        };
        redact(&record).map(|body| String::from_utf8(body).unwrap())
    }

    fn list(plural: &str) -> RecordKey {
        RecordKey::List(Resource::new(plural, ""))
    }

    #[test]
    fn secrets_of_lists_go_and_facts_stay() {
        let body = r#"{"kind":"List","items":[{"metadata":{"name":"a","managedFields":[{"x":1}],
            "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","b":"c"}},
            "spec":{"containers":[{"env":[{"name":"DB_PASSWORD","value":"hunter2"},{"name":"A","value":"b"},
            {"name":"TOKEN","valueFrom":{"secretKeyRef":{"key":"k"}}}],
            "args":["--token=abcdef.0123456789abcdef","-v"]}]}}]}"#;
        let after: Value = serde_json::from_str(&redacted(list("pods"), body).unwrap()).unwrap();
        let item = &after["items"][0];
        assert_eq!(item["metadata"], serde_json::json!({"name": "a", "annotations": {"b": "c"}}));
        let container = &item["spec"]["containers"][0];
        assert_eq!(container["env"][0]["value"], "REDACTED");
        assert_eq!(container["env"][1]["value"], "b");
        assert_eq!(container["env"][2]["valueFrom"]["secretKeyRef"]["key"], "k");
        assert_eq!(container["args"], serde_json::json!(["--token=REDACTED", "-v"]));
    }

    #[test]
    fn config_maps_keep_only_what_is_known_to_be_harmless() {
        let body = "kind: List\nitems:\n- metadata: {name: app}\n  data: {k: v}\n- metadata: {name: calico-config}\n  data: {k: v}\n";
        let after: Value =
            serde_json::from_str(&redacted(list("configmaps"), body).unwrap()).unwrap();
        assert_eq!(after["items"][0]["data"]["k"], "REDACTED");
        assert_eq!(after["items"][1]["data"]["k"], "v");
    }

    #[test]
    fn secrets_are_never_held_and_broken_documents_stay_broken() {
        assert_eq!(redacted(list("secrets"), "{}"), None);
        assert_eq!(redacted(list("pods"), "{items: [").as_deref(), Some("{items: ["));
        let log = RecordKey::Log {
            namespace: "a".into(),
            pod: "b".into(),
            container: "c".into(),
            previous: false,
        };
        assert_eq!(redacted(log, "x password=y z").as_deref(), Some("x password=REDACTED z"));
    }
}
