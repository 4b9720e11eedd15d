//! Requests that write objects. Each is sent once: only the caller can tell whether doing it again is right.

use http::Method;
use serde_json::Value;

use super::object::{name_of, path_of};
use super::request::{Ask, JSON, encode};
use super::{ApiError, Cluster};
use crate::plan::ObjectRef;

/// How something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// Who the server notes as manager of the written fields: `kubectl-calico-<plugin>`.
    pub field_manager: &'a str,
    /// The server only says whether it would.
    pub dry_run: bool,
}

/// A change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch<'a> {
    /// JSON merge patch (RFC 7386): lists are replaced as wholes, null removes.
    Merge(&'a Value),
    /// JSON patch (RFC 6902): its `test` operations are guards that travel with the write.
    Json(&'a Value),
}

impl<'a> Write<'a> {
    /// A real write by `field_manager`.
    pub fn by(field_manager: &'a str) -> Self {
        Self { field_manager, dry_run: false }
    }

    fn query(&self) -> String {
        let dry_run = if self.dry_run { "&dryRun=All" } else { "" };
        format!("fieldManager={}{dry_run}", encode(self.field_manager))
    }
}

impl Cluster {
    /// Creates an object and gives it as the server keeps it. One of the same name is [`ApiError::Conflict`].
    pub async fn create(
        &self,
        object: &ObjectRef,
        body: &Value,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        let attempted = format!("create {}", name_of(object));
        let path = path_of(object);
        let collection = path.rsplit_once('/').map_or(path.as_str(), |(collection, _)| collection);
        let path = format!("{collection}?{}", write.query());
        self.written(Method::POST, &attempted, &path, JSON, body).await
    }

    /// Changes an object and gives it as the server keeps it. A JSON patch whose `test` fails is [`ApiError::Invalid`].
    pub async fn patch(
        &self,
        object: &ObjectRef,
        patch: Patch<'_>,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        self.patch_part(object, None, patch, write).await
    }

    /// As [`Self::patch`], of a subresource: `status`.
    pub async fn patch_part(
        &self,
        object: &ObjectRef,
        subresource: Option<&str>,
        patch: Patch<'_>,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        let (of, part) = match subresource {
            Some(part) => (format!("{part} of "), format!("/{}", encode(part))),
            None => (String::new(), String::new()),
        };
        let attempted = format!("change {of}{}", name_of(object));
        let path = format!("{}{part}?{}", path_of(object), write.query());
        let (media, body) = match patch {
            Patch::Merge(body) => ("application/merge-patch+json", body),
            Patch::Json(body) => ("application/json-patch+json", body),
        };
        self.written(Method::PATCH, &attempted, &path, media, body).await
    }

    /// Replaces an object. With `metadata.resourceVersion` in `body`, an object that was changed meanwhile is
    /// [`ApiError::Conflict`]; without, the last writer wins.
    pub async fn update(
        &self,
        object: &ObjectRef,
        body: &Value,
        write: Write<'_>,
    ) -> Result<Value, ApiError> {
        let attempted = format!("replace {}", name_of(object));
        let path = format!("{}?{}", path_of(object), write.query());
        self.written(Method::PUT, &attempted, &path, JSON, body).await
    }

    async fn written(
        &self,
        method: Method,
        attempted: &str,
        path: &str,
        media: &str,
        body: &Value,
    ) -> Result<Value, ApiError> {
        let ask = Ask { attempted, path, accept: JSON };
        let bytes = body.to_string().into_bytes();
        let answer = self.send_as(method, &ask, media, Some(bytes)).await?;
        serde_json::from_slice(&answer).map_err(|error| ApiError::Other {
            attempted: attempted.to_owned(),
            message: format!("the server did it, but its answer is no JSON: {error}"),
        })
    }
}
