//! Wishing a pod away, and what the server makes of it. Each wish names the pod's uid, so that sending it twice is as good
//! as once.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::object::{name_of, path_of};
use super::request::{Answer, Ask, JSON};
use super::{ApiError, Cluster, classify};
use crate::plan::{ObjectRef, PodRef};

/// What the server makes of the wish that a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodAnswer {
    /// It stops, or is gone at once because nothing runs in it.
    Accepted,
    /// No pod has the name.
    Gone,
    /// Another pod has the name.
    Replaced,
    /// A disruption budget does not let it go yet; why, for a person.
    Budget(String),
    /// The server cannot do it now.
    Busy {
        /// Why, for a person.
        why: String,
        /// When it wants to be asked again, if it says so. With code 429 it does.
        after: Option<Duration>,
    },
}

/// The part of `metav1.Status` that tells one refusal from another.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    name: String,
    causes: Option<Vec<Cause>>,
    retry_after_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

impl Cluster {
    /// Deletes a pod. `grace_seconds` is the time it may take to stop; none for what its spec says. With `dry_run` the
    /// server only says whether it would. Sent once.
    pub async fn delete_pod(
        &self,
        pod: &PodRef,
        grace_seconds: Option<u32>,
        dry_run: bool,
    ) -> Result<PodAnswer, ApiError> {
        let mut options = options(pod, grace_seconds);
        options["apiVersion"] = json!("v1");
        options["kind"] = json!("DeleteOptions");
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        let object = object(pod);
        let attempted = format!("delete {}", name_of(&object));
        let ask = Ask { attempted: &attempted, path: &path_of(&object), accept: JSON };
        self.ask_away(Method::DELETE, &ask, &options).await
    }

    /// Asks for a pod to be evicted: deleted, if its disruption budgets allow it now. With `dry_run` the server only says
    /// whether it would. Sent once.
    pub async fn evict_pod(
        &self,
        pod: &PodRef,
        grace_seconds: Option<u32>,
        dry_run: bool,
    ) -> Result<PodAnswer, ApiError> {
        let mut options = options(pod, grace_seconds);
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        let body = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": { "name": pod.name, "namespace": pod.namespace },
            "deleteOptions": options,
        });
        let object = object(pod);
        let attempted = format!("evict {}", name_of(&object));
        // Admission of the eviction looks at the query, the deletion behind it at its options; both must say the same.
        let query = if dry_run { "?dryRun=All" } else { "" };
        let path = format!("{}/eviction{query}", path_of(&object));
        let ask = Ask { attempted: &attempted, path: &path, accept: JSON };
        self.ask_away(Method::POST, &ask, &body).await
    }

    async fn ask_away(
        &self,
        method: Method,
        ask: &Ask<'_>,
        body: &Value,
    ) -> Result<PodAnswer, ApiError> {
        let body = Some(body.to_string().into_bytes());
        let answer = self.send_for_answer(method, ask, JSON, body).await?;
        understood(ask.attempted, &answer)
    }
}

fn options(pod: &PodRef, grace_seconds: Option<u32>) -> Value {
    let mut options = json!({ "preconditions": { "uid": pod.uid } });
    if let Some(seconds) = grace_seconds {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    options
}

fn object(pod: &PodRef) -> ObjectRef {
    ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "pods".to_owned(),
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
    }
}

/// True when the precondition failed. The check on the stored object and the one before it word it differently.
fn is_about_uid(message: &str) -> bool {
    message.contains("UID in precondition") || message.contains("UID in the precondition")
}

fn understood(attempted: &str, answer: &Answer) -> Result<PodAnswer, ApiError> {
    if answer.code.is_success() {
        return Ok(PodAnswer::Accepted);
    }
    let status: Status = serde_json::from_slice(&answer.body).unwrap_or_default();
    let details = status.details.unwrap_or_default();
    let causes = details.causes.unwrap_or_default();
    let cause = |reason: &str| causes.iter().find(|it| it.reason == reason);
    let error = classify::answer(attempted, answer.code, &answer.body);
    let after = answer.retry_after.or(details.retry_after_seconds.map(Duration::from_secs));
    match answer.code.as_u16() {
        // A kind that is not served has no name.
        404 if !details.name.is_empty() => Ok(PodAnswer::Gone),
        409 if is_about_uid(&status.message) => Ok(PodAnswer::Replaced),
        // The disruption controller writes to the budget at the same moment.
        409 => Ok(PodAnswer::Busy { why: error.to_string(), after }),
        // Its namespace is being deleted: it goes with it.
        403 if cause("NamespaceTerminating").is_some() => Ok(PodAnswer::Accepted),
        429 => match cause("DisruptionBudget") {
            Some(cause) => Ok(PodAnswer::Budget(cause.message.clone())),
            None => Ok(PodAnswer::Busy { why: error.to_string(), after }),
        },
        // No waiting helps against two budgets for one pod.
        500 if status.message.contains("more than one PodDisruptionBudget") => Err(error),
        500..=599 => Ok(PodAnswer::Busy { why: error.to_string(), after }),
        _ => Err(error),
    }
}
