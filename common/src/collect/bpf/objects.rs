//! Objects and lists as facts: one that is not there is absent, one that could not be had is unknown.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::{ApiError, Cluster, ListRequest};
use crate::plan::ObjectRef;
use crate::snapshot::{Gap, Known, RecordKey, Resource};

/// Asks one cluster.
pub(super) struct Asker<'a> {
    cluster: &'a Cluster,
}

impl<'a> Asker<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster }
    }

    /// One object, of version v1 of its group.
    pub(super) async fn object(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Known<Value> {
        let object = ObjectRef {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        match self.cluster.get_json(&object).await {
            Ok(found) => Known::from_option(found),
            Err(error) => {
                let list = RecordKey::List(Resource::new(plural, group)).path();
                let full = if namespace.is_empty() {
                    name.to_owned()
                } else {
                    format!("{namespace}/{name}")
                };
                Known::Unknown(gap(&format!("{list}#{full}"), &error))
            }
        }
    }

    /// All objects of a kind; absent when the API server does not serve it.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Known<Vec<T>> {
        self.listed(ListRequest::all(Resource::new(plural, group), version)).await
    }

    async fn listed<T: DeserializeOwned>(&self, request: ListRequest) -> Known<Vec<T>> {
        let path = RecordKey::List(request.resource.clone()).path();
        match self.cluster.list_as(&request).await {
            Ok(items) => Known::Known(items),
            Err(error) if error.is_not_found() => Known::Absent,
            Err(error) => Known::Unknown(gap(&path, &error)),
        }
    }

    pub(super) async fn api_server_slices(&self) -> Known<Vec<Value>> {
        let slices = ListRequest::all(Resource::new("endpointslices", "discovery.k8s.io"), "v1");
        self.listed(ListRequest {
            namespace: Some("default".to_owned()),
            label_selector: Some("kubernetes.io/service-name=kubernetes".to_owned()),
            ..slices
        })
        .await
    }

    /// Webhooks of both kinds. One of them alone would hide that the other may refuse a write.
    pub(super) async fn webhooks(&self) -> Known<Vec<Value>> {
        const GROUP: &str = "admissionregistration.k8s.io";
        let (validating, mutating) = tokio::join!(
            self.list::<Value>(GROUP, "v1", "validatingwebhookconfigurations"),
            self.list::<Value>(GROUP, "v1", "mutatingwebhookconfigurations"),
        );
        validating.and_then(|mut all| {
            mutating.map(|more| {
                all.extend(more);
                all
            })
        })
    }

    /// Names of the properties below `pointer` of the schema of a CustomResourceDefinition's stored version.
    pub(super) async fn fields(&self, definition: &str, pointer: &str) -> Known<BTreeSet<String>> {
        self.object("apiextensions.k8s.io", "customresourcedefinitions", "", definition)
            .await
            .and_then(|definition| Known::from_option(fields_of(&definition, pointer)))
    }
}

fn fields_of(definition: &Value, pointer: &str) -> Option<BTreeSet<String>> {
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let stored = versions.iter().find(|it| it["storage"] == true)?;
    let at = format!("/schema/openAPIV3Schema/properties{pointer}/properties");
    Some(stored.pointer(&at)?.as_object()?.keys().cloned().collect())
}

fn gap(what: &str, error: &ApiError) -> Gap {
    Gap::new(what, error.gap_reason(), error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_those_of_the_stored_version() {
        let schema = json!({"openAPIV3Schema": {"properties": {"spec": {"properties": {"bpfEnabled": {}}}}}});
        let definition = json!({"spec": {"versions": [
            {"name": "v1alpha1", "storage": false},
            {"name": "v1", "storage": true, "schema": schema},
        ]}});
        let fields = fields_of(&definition, "/spec").unwrap();
        assert_eq!(fields.into_iter().collect::<Vec<_>>(), ["bpfEnabled"]);
        assert_eq!(fields_of(&definition, "/status"), None);
        assert_eq!(fields_of(&json!({}), "/spec"), None);
    }
}
