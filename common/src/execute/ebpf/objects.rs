//! Objects that are made for a while, and taken away again while they still say what was written.

use serde_json::Value;

use crate::cluster::{ApiError, Cluster, Write};
use crate::execute::cluster_operations::{deleted, unread, unsuccessful};
use crate::execute::{PerformError, Performed};
use crate::plan::{ObjectRef, describe};

/// Creates the object, unless one of its name says the same.
pub(in crate::execute) async fn create(
    cluster: &Cluster,
    object: &ObjectRef,
    manifest: &Value,
    write: Write<'_>,
) -> Result<Performed, PerformError> {
    match cluster.create(object, manifest, write).await {
        Ok(_) => Ok(Performed::Acted),
        Err(ApiError::Conflict { .. }) => {
            let it = describe::object(object);
            match found(cluster, object).await? {
                Some(found) if says(&found, manifest) => {
                    Ok(Performed::AlreadyRight(format!("{it} is there already")))
                }
                _ => Err(PerformError::Refused(format!("{it} exists, and says something else"))),
            }
        }
        Err(error) => Err(unsuccessful(&error)),
    }
}

/// Deletes the object while it says what `manifest` says.
pub(in crate::execute) async fn delete_created(
    cluster: &Cluster,
    object: &ObjectRef,
    manifest: &Value,
    dry_run: bool,
) -> Result<Performed, PerformError> {
    let it = describe::object(object);
    let Some(found) = found(cluster, object).await? else {
        return Ok(Performed::AlreadyRight(format!("{it} is gone already")));
    };
    if !says(&found, manifest) {
        return Err(PerformError::Refused(format!(
            "{it} says something else than what was written"
        )));
    }
    let uid = found.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    deleted(cluster.delete(object, uid, dry_run).await, object)
}

async fn found(cluster: &Cluster, object: &ObjectRef) -> Result<Option<Value>, PerformError> {
    let found = cluster.get_json(object).await;
    found.map_err(|error| unread(&error))
}

/// Whether everything that `wanted` says stands in `found` so, and in its `data` nothing else.
fn says(found: &Value, wanted: &Value) -> bool {
    let is_within =
        wanted.as_object().into_iter().flatten().all(|(key, value)| match key.as_str() {
            "metadata" => contains(&found["metadata"], value),
            "data" => found["data"] == *value,
            _ => contains(&found[key], value),
        });
    wanted.is_object() && is_within
}

fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|found| contains(found, value))),
        (found, wanted) => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_still_says_what_was_written_is_ours() {
        let wanted = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "a", "labels": { "run": "1" } }, "data": { "k": "v" } });
        let mut found = wanted.clone();
        found["metadata"]["uid"] = json!("u");
        found["metadata"]["labels"]["other"] = json!("x");
        assert!(says(&found, &wanted));
        found["data"]["k2"] = json!("somebody's");
        assert!(!says(&found, &wanted));
        let other = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {} });
        assert!(!says(&other, &wanted) && !says(&Value::Null, &wanted) && !says(&other, &json!(7)));
    }
}
