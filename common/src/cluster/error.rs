//! What can go wrong between us and an API server.

use crate::snapshot::GapReason;

/// A request that did not succeed. Texts name what was attempted, and hold no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// 403.
    #[error("{attempted}: forbidden: {message}")]
    Forbidden {
        /// What was attempted.
        attempted: String,
        /// What the server said.
        message: String,
    },
    /// 404: no such object, or the server does not know the kind.
    #[error("{attempted}: not found: {message}")]
    NotFound {
        /// What was attempted.
        attempted: String,
        /// What the server said.
        message: String,
    },
    /// 401: the server does not accept the user's credentials.
    #[error("{attempted}: the server does not accept your credentials: {message}")]
    Unauthorized {
        /// What was attempted.
        attempted: String,
        /// What the server said.
        message: String,
    },
    /// 409: the object is not the one that was meant, or it changed.
    #[error("{attempted}: conflict: {message}")]
    Conflict {
        /// What was attempted.
        attempted: String,
        /// What the server said.
        message: String,
    },
    /// 410: a continue token has expired.
    #[error("{attempted}: the list changed too much while it was read: {message}")]
    Gone {
        /// What was attempted.
        attempted: String,
        /// What the server said.
        message: String,
    },
    /// 400, 415, 422 and their like.
    #[error("{attempted}: the server calls the request invalid: {message}")]
    Invalid {
        /// What was attempted.
        attempted: String,
        /// What the server said.
        message: String,
    },
    /// 429, 503 or 504.
    #[error("{attempted}: the server is busy: {message}")]
    Busy {
        /// What was attempted.
        attempted: String,
        /// What the server said.
        message: String,
    },
    /// Nothing answered.
    #[error("{attempted}: cannot reach {server}: {message}")]
    Unreachable {
        /// What was attempted.
        attempted: String,
        /// Host and port.
        server: String,
        /// In which way.
        how: Unreachable,
        /// What the network said.
        message: String,
    },
    /// The server's certificate is not of the authority that the kubeconfig trusts.
    #[error(
        "{attempted}: {server} shows a certificate that your kubeconfig does not trust: {message}"
    )]
    CertificateNotTrusted {
        /// What was attempted.
        attempted: String,
        /// Host and port.
        server: String,
        /// What is wrong with it.
        message: String,
    },
    /// No answer within the limit.
    #[error("{attempted}: {server} gave no answer within {seconds} s")]
    TimedOut {
        /// What was attempted.
        attempted: String,
        /// Host and port.
        server: String,
        /// The limit in seconds.
        seconds: u64,
    },
    /// Anything else: other status codes, broken answers, a failing credential plugin.
    #[error("{attempted}: {message}")]
    Other {
        /// What was attempted.
        attempted: String,
        /// What happened.
        message: String,
    },
}

/// In which way nothing answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// Nothing listens there.
    Refused,
    /// The name has no address.
    Dns,
    /// There is no way to the address.
    NoRoute,
    /// The connection broke.
    Reset,
    /// No connection came about in time.
    ConnectTimeout,
    /// The proxy did not let us through.
    Proxy,
    /// Something else.
    Other,
}

impl ApiError {
    /// The class of gap that this leaves in a snapshot.
    pub fn gap_reason(&self) -> GapReason {
        match self {
            Self::Forbidden { .. } => GapReason::Forbidden,
            Self::NotFound { .. } => GapReason::NotServed,
            Self::Unreachable { .. } | Self::CertificateNotTrusted { .. } => GapReason::Unreachable,
            Self::TimedOut { .. } => GapReason::TimedOut,
            Self::Unauthorized { .. } => GapReason::Other("Unauthorized".to_owned()),
            Self::Busy { .. } => GapReason::Other("Busy".to_owned()),
            Self::Gone { .. } => GapReason::Other("Gone".to_owned()),
            Self::Conflict { .. } | Self::Invalid { .. } => GapReason::Other("Invalid".to_owned()),
            Self::Other { .. } => GapReason::Undecodable,
        }
    }

    /// True when no other request to the same server can be expected to fare better.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::CertificateNotTrusted { .. }
                | Self::TimedOut { .. }
                | Self::Unauthorized { .. }
        )
    }

    /// The line in the shape that kubectl gives it, so that habits and log searches go on working.
    pub fn kubectl_sentence(&self) -> String {
        match self {
            Self::Unreachable { server, how: Unreachable::Refused, .. } => format!(
                "The connection to the server {server} was refused - did you specify the right host or port?"
            ),
            Self::Unreachable { message, .. } | Self::CertificateNotTrusted { message, .. } => {
                format!("Unable to connect to the server: {message}")
            }
            Self::TimedOut { server, seconds, .. } => {
                format!(
                    "Unable to connect to the server: no answer from {server} within {seconds} s"
                )
            }
            Self::Unauthorized { message, .. } => {
                format!("error: You must be logged in to the server ({message})")
            }
            Self::Forbidden { message, .. } => server_error("Forbidden", message),
            Self::NotFound { message, .. } => server_error("NotFound", message),
            Self::Conflict { message, .. } => server_error("Conflict", message),
            Self::Gone { message, .. } => server_error("Expired", message),
            Self::Invalid { message, .. } => server_error("Invalid", message),
            Self::Busy { message, .. } => server_error("ServiceUnavailable", message),
            Self::Other { .. } => format!("error: {self}"),
        }
    }

    /// What a person can do about it, when there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::CertificateNotTrusted { message, .. } if message.contains("expired") => Some(
                "the API server's certificate has expired, or this machine's clock is wrong; check `date` first",
            ),
            Self::CertificateNotTrusted { .. } => Some(
                "your kubeconfig belongs to another cluster (its CA differs), or the control plane was re-initialised: fetch a fresh kubeconfig, or choose another --context",
            ),
            Self::Unauthorized { .. } => Some(
                "your credentials have expired or belong to another cluster: log in again, or choose another --context",
            ),
            Self::Unreachable { how: Unreachable::Refused, .. } => {
                Some("check --server and --context, and that the API server runs")
            }
            Self::Unreachable { how: Unreachable::Dns, .. } => Some(
                "the server's name has no address here: check VPN and DNS, or choose another --context",
            ),
            Self::Unreachable { how: Unreachable::Proxy, .. } => {
                Some("check HTTPS_PROXY, NO_PROXY and the kubeconfig's proxy-url")
            }
            Self::Unreachable { .. } | Self::TimedOut { .. } => Some(
                "check VPN, firewall and proxy (HTTPS_PROXY, NO_PROXY), or raise --request-timeout",
            ),
            Self::Busy { .. } => {
                Some("the API server is overloaded or restarting: try again in a minute")
            }
            _ => None,
        }
    }

    /// True when the object, or the kind, does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

fn server_error(reason: &str, message: &str) -> String {
    format!("Error from server ({reason}): {message}")
}
