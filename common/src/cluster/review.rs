//! Who we are to the API server, and what it lets us do.

use std::fmt;

use http::Method;
use serde_json::{Value, json};

use super::request::{Ask, JSON};
use super::{ApiError, Cluster};

/// Asks whether something is allowed to us.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// `get`, `list`, `create`, `delete`, …
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Subresource, e.g. `exec`; empty for none.
    pub subresource: String,
    /// Namespace; empty for all.
    pub namespace: String,
    /// Name of one object; empty for all.
    pub name: String,
}

/// As kubectl would be told: `patch nodes/status node2`, `create pods/eviction in namespace shop`.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in namespace {}", self.namespace)?;
        }
        Ok(())
    }
}

impl Cluster {
    /// The user that the API server takes us for. It creates nothing: the review is answered, not stored.
    pub async fn who_am_i(&self) -> Result<String, ApiError> {
        let attempted = "ask who I am";
        let mut missing = None;
        for version in ["v1", "v1beta1"] {
            let path = format!("/apis/authentication.k8s.io/{version}/selfsubjectreviews");
            let review = json!({
                "apiVersion": format!("authentication.k8s.io/{version}"),
                "kind": "SelfSubjectReview",
            });
            match self.review(attempted, &path, &review).await {
                Ok(answer) => return text_at(attempted, &answer, "/status/userInfo/username"),
                // Kubernetes before 1.28 knows only v1beta1, before 1.27 none of them.
                Err(error) if error.is_not_found() => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(missing.unwrap_or_else(|| unanswered(attempted)))
    }

    /// Whether the API server would allow this to us.
    pub async fn can_i(&self, question: &Question) -> Result<bool, ApiError> {
        let attempted = format!("ask whether I can {} {}", question.verb, question.resource);
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": question.verb,
                "group": question.group,
                "resource": question.resource,
                "subresource": question.subresource,
                "namespace": question.namespace,
                "name": question.name,
            } },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = self.review(&attempted, path, &review).await?;
        answer
            .pointer("/status/allowed")
            .and_then(Value::as_bool)
            .ok_or_else(|| unanswered(&attempted))
    }

    async fn review(&self, attempted: &str, path: &str, review: &Value) -> Result<Value, ApiError> {
        let ask = Ask { attempted, path, accept: JSON };
        let body =
            self.send_once(Method::POST, &ask, Some(review.to_string().into_bytes())).await?;
        serde_json::from_slice(&body).map_err(|_| unanswered(attempted))
    }
}

fn text_at(attempted: &str, answer: &Value, pointer: &str) -> Result<String, ApiError> {
    answer
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| unanswered(attempted))
}

fn unanswered(attempted: &str) -> ApiError {
    ApiError::Other {
        attempted: attempted.to_owned(),
        message: "the server's answer does not say".to_owned(),
    }
}
