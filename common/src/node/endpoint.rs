//! Tests from nodes that are about the change to eBPF: of an endpoint, and of the kernel.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::PROBE_CONTAINER;
use super::host::quote;
use super::pod::{HostRun, NodePod, NodePodError, Repeat};
use crate::bpf::Endpoint;
use crate::bpf::load::scratch_program;
use crate::cluster::{ApiError, Cluster, ExecRequest};
use crate::slim::Pod;

/// What tests an endpoint, as an administrator may read it.
pub const ENDPOINT_SCRIPT: &str = include_str!("endpoint.sh");
/// What tests the kernel, as an administrator may read it.
pub const LOAD_SCRIPT: &str = include_str!("load.sh");

const TIMEOUT: Duration = Duration::from_secs(30);
const LIMIT: usize = 256 * 1024;

/// The script that tests an endpoint. Without the cluster's authority (PEM) it can tell that somebody answers, not who.
pub fn endpoint_script(endpoint: &Endpoint, authority: Option<&str>) -> String {
    let Endpoint { host, port } = endpoint;
    let authority = authority.unwrap_or_default().trim();
    format!("host={}\nport={port}\nauthority={}\n{ENDPOINT_SCRIPT}", quote(host), quote(authority))
}

/// The script that tests the kernel.
pub fn load_script() -> String {
    format!("object={}\n{LOAD_SCRIPT}", quote(&STANDARD.encode(scratch_program())))
}

/// Tests an endpoint from calico-node and gives the test's text (see [`crate::bpf::endpoint::NodeProof`]).
///
/// # Errors
/// When the command cannot be run, or does not end in time.
pub async fn test_endpoint(
    cluster: &Cluster,
    pod: &Pod,
    script: &str,
) -> Result<Vec<u8>, ApiError> {
    let request = ExecRequest {
        namespace: &pod.metadata.namespace,
        pod: &pod.metadata.name,
        container: PROBE_CONTAINER,
        command: &["/bin/sh", "-s"],
        stdin: Some(script.as_bytes()),
        limit_bytes: LIMIT,
        timeout: TIMEOUT,
    };
    cluster.exec(&request).await.map(|output| output.stdout)
}

/// Runs one of the two scripts on the host itself and gives its text.
///
/// # Errors
/// When the script cannot be run, or does not end in time.
pub async fn test_host(pod: &NodePod, script: &str) -> Result<Vec<u8>, NodePodError> {
    let run = HostRun {
        script: script.as_bytes(),
        limit_bytes: LIMIT,
        timeout: TIMEOUT,
        repeat: Repeat::Always,
    };
    pod.run_on_host(&run).await.map(|output| output.stdout)
}
