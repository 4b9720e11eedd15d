//! Single objects and raw paths.

use http::Method;
use serde_json::{Value, json};

use super::request::{Ask, JSON, encode};
use super::{ApiError, Cluster};
use crate::plan::ObjectRef;
use crate::snapshot::Resource;

impl Cluster {
    /// A raw GET of `path` (`/version`, `/openid/v1/jwks`).
    pub async fn get_raw(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        let attempted = format!("GET {path}");
        self.read(&Ask { attempted: &attempted, path, accept: JSON_OR_KEYS }).await
    }

    /// One object; none when it, or its kind, does not exist.
    pub async fn get_json(&self, object: &ObjectRef) -> Result<Option<Value>, ApiError> {
        let attempted = format!("get {}", name_of(object));
        let ask = Ask { attempted: &attempted, path: &path_of(object), accept: JSON };
        match self.read(&ask).await {
            Ok(body) => serde_json::from_slice(&body).map(Some).map_err(|error| ApiError::Other {
                attempted,
                message: format!("the answer is no JSON: {error}"),
            }),
            Err(ApiError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object if it still has this uid. Another object of the same name is [`ApiError::Conflict`], none at
    /// all is [`ApiError::NotFound`]. With `dry_run` the server only says whether it would. Sent once.
    pub async fn delete(
        &self,
        object: &ObjectRef,
        uid: &str,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        self.delete_if(object, &json!({ "uid": uid }), dry_run).await
    }

    /// Deletes an object if nobody has changed it since it had this resource version; otherwise [`ApiError::Conflict`].
    pub async fn delete_version(
        &self,
        object: &ObjectRef,
        uid: &str,
        resource_version: &str,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let preconditions = json!({ "uid": uid, "resourceVersion": resource_version });
        self.delete_if(object, &preconditions, dry_run).await
    }

    async fn delete_if(
        &self,
        object: &ObjectRef,
        preconditions: &Value,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let attempted = format!("delete {}", name_of(object));
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
        });
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        let ask = Ask { attempted: &attempted, path: &path_of(object), accept: JSON };
        self.send_once(Method::DELETE, &ask, Some(options.to_string().into_bytes())).await?;
        Ok(())
    }
}

/// The key set has a media type of its own, and the server answers 406 to those who do not take it.
const JSON_OR_KEYS: &str = "application/json, application/jwk-set+json, */*;q=0.1";

/// `pods kube-system/calico-node-x`
pub(super) fn name_of(object: &ObjectRef) -> String {
    let kind = Resource::new(&object.plural, &object.group);
    if object.namespace.is_empty() {
        format!("{kind} {}", object.name)
    } else {
        format!("{kind} {}/{}", object.namespace, object.name)
    }
}

pub(super) fn path_of(object: &ObjectRef) -> String {
    let collection =
        collection_path(&object.group, &object.version, &object.plural, Some(&object.namespace));
    format!("{collection}/{}", encode(&object.name))
}

/// Path of all objects of a kind; an empty namespace means all namespaces.
pub(super) fn collection_path(
    group: &str,
    version: &str,
    plural: &str,
    namespace: Option<&str>,
) -> String {
    let root = if group.is_empty() {
        format!("/api/{}", encode(version))
    } else {
        format!("/apis/{}/{}", encode(group), encode(version))
    };
    match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{root}/namespaces/{}/{}", encode(namespace), encode(plural)),
        None => format!("{root}/{}", encode(plural)),
    }
}
