//! Turns answers and transport failures into [`ApiError`]s.

use std::error::Error as StdError;
use std::io;

use http::StatusCode;
use serde::Deserialize;

use super::{ApiError, Unreachable};

/// Longest text of the other side that is kept, in bytes.
const MESSAGE_LIMIT: usize = 1024;

/// The part of `metav1.Status` that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: Option<String>,
    reason: Option<String>,
}

/// The error that an answer with a status code of failure stands for.
pub(super) fn answer(attempted: &str, code: StatusCode, body: &[u8]) -> ApiError {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = status
        .message
        .filter(|message| !message.is_empty())
        .or(status.reason.filter(|reason| !reason.is_empty()))
        .unwrap_or_else(|| plain_text(code, body));
    of_code(attempted, code.as_u16(), shorten(&message))
}

/// The error of a status code and a message.
pub(super) fn of_code(attempted: &str, code: u16, message: String) -> ApiError {
    let attempted = attempted.to_owned();
    match code {
        401 => ApiError::Unauthorized { attempted, message },
        403 => ApiError::Forbidden { attempted, message },
        404 => ApiError::NotFound { attempted, message },
        409 => ApiError::Conflict { attempted, message },
        410 => ApiError::Gone { attempted, message },
        400 | 405 | 406 | 413 | 415 | 422 => ApiError::Invalid { attempted, message },
        429 | 503 | 504 => ApiError::Busy { attempted, message },
        _ => ApiError::Other { attempted, message: format!("HTTP {code}: {message}") },
    }
}

/// An answer that is no `Status`: a proxy's page, a plain line.
fn plain_text(code: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.lines().find(|line| !line.trim().is_empty()) {
        Some(line) => line.trim().to_owned(),
        None => code.canonical_reason().unwrap_or("no reason given").to_owned(),
    }
}

fn shorten(message: &str) -> String {
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let end = (0..=MESSAGE_LIMIT).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &message[..end])
}

/// The error of a request that got no answer.
pub(super) fn transport(attempted: &str, server: &str, error: &kube::Error) -> ApiError {
    if let kube::Error::Api(status) = error {
        return of_code(attempted, status.code, shorten(&status.message));
    }
    let causes = causes(error);
    let attempted = attempted.to_owned();
    let server = server.to_owned();
    if let Some(message) = causes.iter().find_map(|cause| certificate_fault(*cause)) {
        return ApiError::CertificateNotTrusted { attempted, server, message };
    }
    if matches!(error, kube::Error::Auth(_))
        || causes.iter().any(|cause| cause.downcast_ref::<kube::client::AuthError>().is_some())
    {
        return ApiError::Other { attempted, message: auth_fault(error, &causes) };
    }
    let deepest = causes.last().map_or_else(|| error.to_string(), ToString::to_string);
    match causes.iter().rev().find_map(|cause| way(*cause)).or_else(|| way_by_text(&causes)) {
        Some(how) => ApiError::Unreachable { attempted, server, how, message: shorten(&deepest) },
        None => ApiError::Other { attempted, message: shorten(&deepest) },
    }
}

/// The error and everything below it. An `io::Error` hides its inner error from `source`, so that one is looked into.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        all.push(cause);
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn StdError + 'static));
        next = inner.or_else(|| cause.source());
    }
    all
}

/// What rustls holds against the server's certificate.
fn certificate_fault(cause: &(dyn StdError + 'static)) -> Option<String> {
    use rustls::CertificateError as Fault;
    let rustls::Error::InvalidCertificate(fault) = cause.downcast_ref::<rustls::Error>()? else {
        return None;
    };
    let text = match fault {
        Fault::UnknownIssuer | Fault::BadSignature => {
            "x509: certificate signed by unknown authority".to_owned()
        }
        Fault::Expired | Fault::ExpiredContext { .. } => {
            "x509: certificate has expired or is not yet valid".to_owned()
        }
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            format!("x509: certificate is not valid for this server name: {fault}")
        }
        other => format!("x509: {other}"),
    };
    Some(text)
}

/// A credential plugin's failure without its output: that may hold a token.
fn auth_fault(error: &kube::Error, causes: &[&(dyn StdError + 'static)]) -> String {
    use kube::client::AuthError;
    let direct = match error {
        kube::Error::Auth(fault) => Some(fault),
        _ => causes.iter().find_map(|cause| cause.downcast_ref::<AuthError>()),
    };
    match direct {
        Some(AuthError::AuthExecRun { cmd, out }) => {
            format!("the kubeconfig's credential plugin `{cmd}` failed ({})", out.status)
        }
        Some(AuthError::AuthExecStart(source)) => {
            format!("the kubeconfig's credential plugin cannot be started: {source}")
        }
        Some(AuthError::AuthExecParse(_)) => {
            "the kubeconfig's credential plugin printed something that is no ExecCredential"
                .to_owned()
        }
        Some(other) => shorten(&other.to_string()),
        None => "the credentials of the kubeconfig cannot be used".to_owned(),
    }
}

fn way(cause: &(dyn StdError + 'static)) -> Option<Unreachable> {
    use io::ErrorKind;
    match cause.downcast_ref::<io::Error>()?.kind() {
        ErrorKind::ConnectionRefused => Some(Unreachable::Refused),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::NotConnected => Some(Unreachable::Reset),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Some(Unreachable::NoRoute)
        }
        ErrorKind::TimedOut => Some(Unreachable::ConnectTimeout),
        _ => None,
    }
}

/// Faults that have no type of their own: name resolution, proxies, connections closed early.
fn way_by_text(causes: &[&(dyn StdError + 'static)]) -> Option<Unreachable> {
    let text = causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let has = |needle: &str| text.contains(needle);
    if has("dns error") || has("failed to lookup address") {
        Some(Unreachable::Dns)
    } else if has("tunnel error") || has("proxy") || has("SOCKS") {
        Some(Unreachable::Proxy)
    } else if has("connection closed before message completed") || has("connection reset") {
        Some(Unreachable::Reset)
    } else if has("client error (Connect)") {
        Some(Unreachable::Other)
    } else {
        None
    }
}
