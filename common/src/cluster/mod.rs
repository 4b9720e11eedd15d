//! Talking to a cluster: the only place that names `kube::`.
//!
//! A [`Cluster`] is made from a kubeconfig by [`Cluster::connect`] and does single requests: raw GETs, paged lists,
//! writes, deletions with a uid as precondition, commands in containers, logs, access reviews, tokens. Every request has
//! a limit of time. Reads are tried again, visibly, when the server is busy; nothing that writes ever is.
//!
//! All futures here may be dropped at any point: an abandoned request closes its connection, an abandoned exec its
//! stream, and nothing goes on in the background.

mod classify;
mod clock;
mod configuration;
mod connect;
mod connect_error;
mod error;
mod exec;
mod kubeconfig;
mod list;
mod logs;
mod object;
mod options;
mod pods;
mod proxy;
mod request;
mod review;
mod token;
mod wait;
mod write;

#[cfg(test)]
mod connect_tests;
#[cfg(test)]
mod pods_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod write_tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use connect_error::ConnectError;
pub use error::{ApiError, Unreachable};
pub use exec::{ExecOutput, ExecRequest};
pub use list::{ListRequest, Page};
pub use logs::LogRequest;
pub use options::ConnectOptions;
pub use pods::PodAnswer;
pub use review::Question;
pub use token::SecretText;
pub use write::{Patch, Write};

/// Time that a request may take when the user gave none.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Receives one line when a read is tried again, for a person who waits.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// A connection to the API server of one cluster.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    target: TargetInfo,
    limit: Duration,
    notice: Notice,
    clock: clock::ServerClock,
}

/// Which cluster a kubeconfig points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetInfo {
    /// kubeconfig context; empty without one (in-cluster, or flags only).
    pub context: String,
    /// kubeconfig cluster name; empty without one.
    pub cluster_name: String,
    /// URL of the API server.
    pub server: String,
    /// Namespace of the context, or the one given by flag; `default` when neither says.
    pub namespace: String,
}

impl Cluster {
    /// Which cluster this is.
    pub fn target_info(&self) -> &TargetInfo {
        &self.target
    }

    /// Time that one request may take.
    pub fn request_timeout(&self) -> Duration {
        self.limit
    }

    /// Sends the lines about repeated reads to `notice` instead of the diagnostic log.
    #[must_use]
    pub fn with_notice(mut self, notice: Notice) -> Self {
        self.notice = notice;
        self
    }
}

/// The target only: the client holds credentials.
impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("target", &self.target).finish_non_exhaustive()
    }
}
