//! Waiting for one object: it is read once, then watched, so that a change is known when it happens.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use http::Method;
use http_body_util::{BodyExt, Collected};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::object::{collection_path, name_of};
use super::request::{Ask, JSON, build, encode};
use super::{ApiError, Cluster, Unreachable, classify};
use crate::plan::ObjectRef;

/// Wait before a watch that broke off is begun again.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest line of a watch that is taken, in bytes; an object is at most 1.5 MiB in etcd.
const LINE_LIMIT: usize = 8 * 1024 * 1024;

/// One line of a watch.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

/// How a watch ended.
enum Ended<T> {
    Decided(T),
    /// The server closed it, or has forgotten the version it was to begin at.
    Over,
}

impl Cluster {
    /// Waits until `decide` says something about an object: it gets the object as it is now and after each change, or
    /// none when it does not exist. The answer is none when `limit` is over. Needs the verbs get and watch.
    ///
    /// # Errors
    /// When the object cannot be read. A watch that breaks off is begun again, as a read is.
    pub async fn wait_for<T>(
        &self,
        object: &ObjectRef,
        limit: Duration,
        decide: impl FnMut(Option<&Value>) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.wait_since(object, None, limit, decide).await
    }

    /// As [`Self::wait_for`], beginning at an object that was `seen` already, e.g. in the answer to its creation.
    ///
    /// # Errors
    /// As [`Self::wait_for`].
    pub async fn wait_since<T>(
        &self,
        object: &ObjectRef,
        mut seen: Option<Value>,
        limit: Duration,
        mut decide: impl FnMut(Option<&Value>) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let end = Instant::now() + limit;
        let watching = async {
            loop {
                let found = match seen.take() {
                    Some(seen) => Some(seen),
                    None => self.get_json(object).await?,
                };
                if let Some(decision) = decide(found.as_ref()) {
                    return Ok(decision);
                }
                let since = found
                    .as_ref()
                    .and_then(|found| found.pointer("/metadata/resourceVersion")?.as_str())
                    .unwrap_or_default()
                    .to_owned();
                match self.watch(object, &since, limit, &mut decide).await {
                    Ok(Ended::Decided(decision)) => return Ok(decision),
                    Ok(Ended::Over) => {}
                    Err(error @ (ApiError::Forbidden { .. } | ApiError::Unauthorized { .. })) => {
                        return Err(error);
                    }
                    Err(error) => tracing::debug!("{error}; watching anew"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout_at(end, watching).await.map_or(Ok(None), |decided| decided.map(Some))
    }

    async fn watch<T>(
        &self,
        object: &ObjectRef,
        since: &str,
        limit: Duration,
        decide: &mut impl FnMut(Option<&Value>) -> Option<T>,
    ) -> Result<Ended<T>, ApiError> {
        let attempted = format!("watch {}", name_of(object));
        let path = watch_path(object, since, limit);
        tracing::debug!("GET {path}");
        let ask = Ask { attempted: &attempted, path: &path, accept: JSON };
        let request = build(Method::GET, &ask, JSON, None)?;
        let answered = tokio::time::timeout(self.limit, self.client.send(request)).await;
        let response = answered
            .map_err(|_| self.timed_out(&attempted, self.limit))?
            .map_err(|error| self.transport(&attempted, &error))?;
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
            return Err(classify::answer(&attempted, head.status, &body));
        }
        let mut frames = body.into_data_stream().map_err(|error| ApiError::Unreachable {
            attempted: attempted.clone(),
            server: self.authority(),
            how: Unreachable::Reset,
            message: format!("the watch broke off: {error}"),
        });
        let mut held = Vec::new();
        while let Some(frame) = frames.next().await {
            held.extend_from_slice(&frame?);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                if let Some(ended) = judge(&attempted, &line, decide)? {
                    return Ok(ended);
                }
            }
            if held.len() > LINE_LIMIT {
                break;
            }
        }
        Ok(Ended::Over)
    }
}

fn judge<T>(
    attempted: &str,
    line: &[u8],
    decide: &mut impl FnMut(Option<&Value>) -> Option<T>,
) -> Result<Option<Ended<T>>, ApiError> {
    let event: Event = serde_json::from_slice(line).map_err(|error| ApiError::Other {
        attempted: attempted.to_owned(),
        message: format!("a line of the watch makes no sense: {error}"),
    })?;
    Ok(match event.kind.as_str() {
        "ADDED" | "MODIFIED" => decide(Some(&event.object)).map(Ended::Decided),
        "DELETED" => decide(None).map(Ended::Decided),
        "BOOKMARK" => None,
        // "ERROR": mostly 410, the version is too old.
        _ => Some(Ended::Over),
    })
}

fn watch_path(object: &ObjectRef, since: &str, limit: Duration) -> String {
    let ObjectRef { group, version, plural, namespace, name } = object;
    let collection = collection_path(group, version, plural, Some(namespace));
    format!(
        "{collection}?watch=1&fieldSelector={}&resourceVersion={}&timeoutSeconds={}",
        encode(&format!("metadata.name={name}")),
        encode(since),
        limit.as_secs().max(1),
    )
}
