//! Logs of containers.

use super::request::{Ask, encode};
use super::{ApiError, Cluster};

/// Which log, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// True for the log of its previous run.
    pub previous: bool,
    /// Last lines that are wanted.
    pub tail_lines: u32,
    /// Bytes at most.
    pub limit_bytes: u32,
}

impl Cluster {
    /// The end of a container's log.
    pub async fn logs(&self, request: &LogRequest) -> Result<Vec<u8>, ApiError> {
        let LogRequest { namespace, pod, container, previous, tail_lines, limit_bytes } = request;
        let attempted = format!("read the log of {namespace}/{pod}, container {container}");
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&previous={previous}&tailLines={tail_lines}&limitBytes={limit_bytes}",
            encode(namespace),
            encode(pod),
            encode(container),
        );
        self.read(&Ask { attempted: &attempted, path: &path, accept: "*/*" }).await
    }
}
