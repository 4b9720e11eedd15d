//! One request: its limit of time, its answer, and the visible second try of reads.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use kube::client::Body;

use super::{ApiError, Cluster, Unreachable, classify};

/// How often a read is sent at most.
const READ_TRIES: u32 = 3;
/// Wait before the second try; the third waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest answer that is taken, in bytes. One page of 500 large objects stays far below.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

/// A request before it is sent.
pub(super) struct Ask<'a> {
    /// For error texts: `list pods`.
    pub(super) attempted: &'a str,
    /// Path with query.
    pub(super) path: &'a str,
    /// `Accept`.
    pub(super) accept: &'a str,
}

/// What came back.
pub(super) struct Answer {
    pub(super) code: StatusCode,
    pub(super) body: Vec<u8>,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
}

/// The usual `Accept`.
pub(super) const JSON: &str = "application/json";

impl Cluster {
    /// A GET, tried again when the server is busy or the connection breaks.
    pub(super) async fn read(&self, ask: &Ask<'_>) -> Result<Vec<u8>, ApiError> {
        let mut tried = 1;
        loop {
            match self.send_once(Method::GET, ask, None).await {
                Err(error) if tried < READ_TRIES && is_worth_another_try(&error) => {
                    let pause = FIRST_PAUSE * tried;
                    tried += 1;
                    (self.notice)(&format!(
                        "{error}; trying again ({tried}/{READ_TRIES}) in {} s",
                        pause.as_secs()
                    ));
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
    }

    /// Any request with a JSON body or none, sent once.
    pub(super) async fn send_once(
        &self,
        method: Method,
        ask: &Ask<'_>,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, ApiError> {
        self.send_as(method, ask, JSON, body).await
    }

    /// Any request, sent once, its body being of type `media`.
    pub(super) async fn send_as(
        &self,
        method: Method,
        ask: &Ask<'_>,
        media: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, ApiError> {
        let Answer { code, body, .. } = self.send_for_answer(method, ask, media, body).await?;
        if code.is_success() {
            return Ok(body);
        }
        Err(classify::answer(ask.attempted, code, &body))
    }

    /// Any request, sent once, and its answer whatever it is.
    pub(super) async fn send_for_answer(
        &self,
        method: Method,
        ask: &Ask<'_>,
        media: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, ApiError> {
        let line = format!("{method} {}", ask.path);
        let began = Instant::now();
        let request = build(method, ask, media, body)?;
        let answered =
            tokio::time::timeout(self.limit, self.exchange(ask.attempted, request)).await;
        let answer = answered.map_err(|_| self.timed_out(ask.attempted, self.limit))??;
        let (milliseconds, length) = (began.elapsed().as_millis(), answer.body.len());
        tracing::debug!("{line}: {} in {milliseconds} ms, {length} bytes", answer.code.as_u16());
        Ok(answer)
    }

    async fn exchange(&self, attempted: &str, request: Request<Body>) -> Result<Answer, ApiError> {
        let response =
            self.client.send(request).await.map_err(|error| self.transport(attempted, &error))?;
        let (head, body) = response.into_parts();
        self.clock.learn(&head.headers, Timestamp::now());
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|error| {
            ApiError::Unreachable {
                attempted: attempted.to_owned(),
                server: self.authority(),
                how: Unreachable::Reset,
                message: format!("the answer broke off: {error}"),
            }
        })?;
        Ok(Answer {
            code: head.status,
            body: body.to_bytes().to_vec(),
            retry_after: retry_after(&head.headers),
        })
    }

    pub(super) fn transport(&self, attempted: &str, error: &kube::Error) -> ApiError {
        classify::transport(attempted, &self.authority(), error)
    }

    pub(super) fn timed_out(&self, attempted: &str, limit: Duration) -> ApiError {
        ApiError::TimedOut {
            attempted: attempted.to_owned(),
            server: self.authority(),
            seconds: limit.as_secs().max(1),
        }
    }

    /// `host:port` of the server, as kubectl names it.
    pub(super) fn authority(&self) -> String {
        let server = &self.target.server;
        let rest = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest).to_owned()
    }
}

pub(super) fn build(
    method: Method,
    ask: &Ask<'_>,
    media: &str,
    body: Option<Vec<u8>>,
) -> Result<Request<Body>, ApiError> {
    let mut request =
        Request::builder().method(method).uri(ask.path).header(header::ACCEPT, ask.accept);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, media);
    }
    request.body(Body::from(body.unwrap_or_default())).map_err(|error| ApiError::Other {
        attempted: ask.attempted.to_owned(),
        message: format!("no request can be made of path {}: {error}", ask.path),
    })
}

/// API servers give whole seconds, never a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn is_worth_another_try(error: &ApiError) -> bool {
    matches!(error, ApiError::Busy { .. } | ApiError::Unreachable { how: Unreachable::Reset, .. })
}

/// Percent-encodes one segment or value of a URL: everything but unreserved characters (RFC 3986 §2.3).
pub(super) fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}
