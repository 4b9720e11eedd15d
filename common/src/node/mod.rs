//! Reaching a node: the probe, run through its calico-node pod, which creates nothing, or through a node pod.

pub mod backup;
#[cfg(test)]
mod bpf_tests;
pub mod endpoint;
#[cfg(test)]
mod endpoint_tests;
pub mod host;
pub mod pod;
#[cfg(test)]
mod probe_tests;
mod removal_script;

use std::time::Duration;

pub use removal_script::removal_script;

use crate::cluster::{ApiError, Cluster, ExecRequest};
use crate::slim::Pod;
use pod::{HostRun, NodePod, NodePodError, Repeat};

/// The probe, as an administrator may read and run it (`--print-script`).
pub const PROBE_SCRIPT: &str = include_str!("probe.sh");

/// The scan for residues, as an administrator may read and run it (`leftovers --print-script`). See [`crate::residue`].
pub const RESIDUES_SCRIPT: &str = include_str!("residues.sh");

/// Time that the scan of one node may take: some thirty commands, of which each that hangs takes 10 s.
pub const RESIDUES_TIMEOUT: Duration = Duration::from_secs(60);

/// The look at a node's data plane, as an administrator may read and run it. See [`crate::bpf::BpfFacts`].
pub const BPF_SCRIPT: &str = include_str!("bpf.sh");

/// Time that the look at one node's data plane may take: nodes of large clusters have tens of thousands of rules.
pub const BPF_TIMEOUT: Duration = Duration::from_secs(60);

/// The container of a calico-node pod that the probe runs in; canal's pods call it so as well.
pub const PROBE_CONTAINER: &str = "calico-node";

/// Time that the probe of one node may take; it usually takes a fraction of a second. Four questions about health may take 5 s
/// each, and what was found besides must not be lost by that.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(25);

/// The same on the host, where there is more to look at.
pub const HOST_PROBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest output of a probe in bytes: some forty full sections.
const PROBE_LIMIT: usize = 10 * 1024 * 1024;

/// Largest output of a scan in bytes: a few full sections.
const RESIDUES_LIMIT: usize = 32 * 1024 * 1024;

/// Runs the probe in a running calico-node pod and gives its text (see [`crate::snapshot::parse_probe`]).
///
/// The script goes in by standard input and ends itself with `exit`, because the end of input cannot be signalled to
/// servers before 1.30.
///
/// # Errors
/// When the command cannot be run, does not end in time, or prints something that is no probe.
pub async fn probe(cluster: &Cluster, pod: &Pod) -> Result<Vec<u8>, ApiError> {
    let request = ExecRequest {
        namespace: &pod.metadata.namespace,
        pod: &pod.metadata.name,
        container: PROBE_CONTAINER,
        command: &["/bin/sh", "-s"],
        stdin: Some(PROBE_SCRIPT.as_bytes()),
        limit_bytes: PROBE_LIMIT,
        timeout: PROBE_TIMEOUT,
    };
    let output = cluster.exec(&request).await?;
    if output.exit_code == 0 && is_probe(&output.stdout) {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next_back().unwrap_or_default();
    Err(ApiError::Other {
        attempted: format!("probe node {} through {}", pod.spec.node_name, pod.full_name()),
        message: format!("the probe ended with exit code {}: {said}", output.exit_code),
    })
}

/// Looks at a node's data plane through its running calico-node pod and gives the look's text (see [`crate::bpf::BpfFacts`]).
///
/// # Errors
/// When the command cannot be run, does not end in time, or prints something that is no look.
pub async fn bpf(cluster: &Cluster, pod: &Pod) -> Result<Vec<u8>, ApiError> {
    let request = ExecRequest {
        namespace: &pod.metadata.namespace,
        pod: &pod.metadata.name,
        container: PROBE_CONTAINER,
        command: &["/bin/sh", "-s"],
        stdin: Some(BPF_SCRIPT.as_bytes()),
        limit_bytes: RESIDUES_LIMIT,
        timeout: BPF_TIMEOUT,
    };
    let output = cluster.exec(&request).await?;
    if output.exit_code == 0 && is_probe(&output.stdout) {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next_back().unwrap_or_default();
    Err(ApiError::Other {
        attempted: format!(
            "look at the data plane of node {} through {}",
            pod.spec.node_name,
            pod.full_name()
        ),
        message: format!("the look ended with exit code {}: {said}", output.exit_code),
    })
}

/// Looks at a node's data plane from the host itself, which sees less of calico-node and more of the host.
///
/// # Errors
/// When the script cannot be run, does not end in time, or prints something that is no look.
pub async fn bpf_host(pod: &NodePod) -> Result<Vec<u8>, NodePodError> {
    let run = HostRun {
        script: BPF_SCRIPT.as_bytes(),
        limit_bytes: RESIDUES_LIMIT,
        timeout: BPF_TIMEOUT,
        repeat: Repeat::Always,
    };
    let output = pod.run_on_host(&run).await?;
    if output.exit_code == 0 && output.stdout.starts_with(b"@@vantage ") {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next_back().unwrap_or_default();
    Err(NodePodError::Api(ApiError::Other {
        attempted: format!(
            "look at the data plane of node {} through {}",
            pod.node(),
            pod.full_name()
        ),
        message: format!("the look ended with exit code {}: {said}", output.exit_code),
    }))
}

/// Runs the probe on the host itself and gives its text. Of a node whose kubelet the API server cannot reach, only the
/// first sections may come, because a termination message is short: the last one is then cut off.
///
/// # Errors
/// When the script cannot be run, does not end in time, or prints something that is no probe.
pub async fn probe_host(pod: &NodePod) -> Result<Vec<u8>, NodePodError> {
    let run = HostRun {
        script: PROBE_SCRIPT.as_bytes(),
        limit_bytes: PROBE_LIMIT,
        timeout: HOST_PROBE_TIMEOUT,
        repeat: Repeat::Always,
    };
    let output = pod.run_on_host(&run).await?;
    if output.exit_code == 0 && output.stdout.starts_with(b"@@vantage ") {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next_back().unwrap_or_default();
    Err(NodePodError::Api(ApiError::Other {
        attempted: format!("probe node {} through {}", pod.node(), pod.full_name()),
        message: format!("the probe ended with exit code {}: {said}", output.exit_code),
    }))
}

/// Scans the host for what Calico may have left there and gives the scan's text (see [`crate::residue::ResidueFacts`]).
///
/// # Errors
/// When the script cannot be run, does not end in time, or prints something that is no scan.
pub async fn scan(pod: &NodePod) -> Result<Vec<u8>, NodePodError> {
    let run = HostRun {
        script: RESIDUES_SCRIPT.as_bytes(),
        limit_bytes: RESIDUES_LIMIT,
        timeout: RESIDUES_TIMEOUT,
        repeat: Repeat::Always,
    };
    let output = pod.run_on_host(&run).await?;
    if output.exit_code == 0 && output.stdout.starts_with(b"@@machine ") {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next_back().unwrap_or_default();
    Err(NodePodError::Api(ApiError::Other {
        attempted: format!("scan node {} through {}", pod.node(), pod.full_name()),
        message: format!("the scan ended with exit code {}: {said}", output.exit_code),
    }))
}

/// The first section is always the vantage, and every section is ended.
fn is_probe(text: &[u8]) -> bool {
    text.starts_with(b"@@vantage ") && text.ends_with(b"@@end\n")
}
