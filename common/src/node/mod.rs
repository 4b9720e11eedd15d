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
    in_calico_node(cluster, pod, &PROBE, PROBE_TIMEOUT).await
}

/// Looks at a node's data plane through its running calico-node pod and gives the look's text (see [`crate::bpf::BpfFacts`]).
///
/// # Errors
/// When the command cannot be run, does not end in time, or prints something that is no look.
pub async fn bpf(cluster: &Cluster, pod: &Pod) -> Result<Vec<u8>, ApiError> {
    in_calico_node(cluster, pod, &LOOK, BPF_TIMEOUT).await
}

/// Looks at a node's data plane from the host itself, which sees less of calico-node and more of the host.
///
/// # Errors
/// When the script cannot be run, does not end in time, or prints something that is no look.
pub async fn bpf_host(pod: &NodePod) -> Result<Vec<u8>, NodePodError> {
    on_host(pod, &LOOK, BPF_TIMEOUT).await
}

/// Runs the probe on the host itself and gives its text. Of a node whose kubelet the API server cannot reach, only the
/// first sections may come, because a termination message is short: the last one is then cut off.
///
/// # Errors
/// When the script cannot be run, does not end in time, or prints something that is no probe.
pub async fn probe_host(pod: &NodePod) -> Result<Vec<u8>, NodePodError> {
    on_host(pod, &PROBE, HOST_PROBE_TIMEOUT).await
}

/// Scans the host for what Calico may have left there and gives the scan's text (see [`crate::residue::ResidueFacts`]).
///
/// # Errors
/// When the script cannot be run, does not end in time, or prints something that is no scan.
pub async fn scan(pod: &NodePod) -> Result<Vec<u8>, NodePodError> {
    on_host(pod, &SCAN, RESIDUES_TIMEOUT).await
}

/// A script that looks, and how its run is told of.
struct Script {
    text: &'static str,
    /// What it prints first, if it is what it should be.
    begins: &'static [u8],
    limit_bytes: usize,
    /// What is attempted: `probe`, before "node NAME".
    attempt: &'static str,
    /// What ended with an exit code: `the probe`.
    name: &'static str,
}

const PROBE: Script = Script {
    text: PROBE_SCRIPT,
    begins: b"@@vantage ",
    limit_bytes: PROBE_LIMIT,
    attempt: "probe",
    name: "the probe",
};

const LOOK: Script = Script {
    text: BPF_SCRIPT,
    begins: b"@@vantage ",
    limit_bytes: RESIDUES_LIMIT,
    attempt: "look at the data plane of",
    name: "the look",
};

const SCAN: Script = Script {
    text: RESIDUES_SCRIPT,
    begins: b"@@machine ",
    limit_bytes: RESIDUES_LIMIT,
    attempt: "scan",
    name: "the scan",
};

impl Script {
    fn failed(&self, node: &str, pod: &str, exit_code: i32, stderr: &[u8]) -> ApiError {
        let said = String::from_utf8_lossy(stderr);
        let said = said.lines().next_back().unwrap_or_default();
        ApiError::Other {
            attempted: format!("{} node {node} through {pod}", self.attempt),
            message: format!("{} ended with exit code {exit_code}: {said}", self.name),
        }
    }
}

/// Runs a script in a running calico-node pod. It goes in by standard input and ends itself with `exit`, because the end of
/// input cannot be signalled to servers before 1.30.
async fn in_calico_node(
    cluster: &Cluster,
    pod: &Pod,
    script: &Script,
    timeout: Duration,
) -> Result<Vec<u8>, ApiError> {
    let request = ExecRequest {
        namespace: &pod.metadata.namespace,
        pod: &pod.metadata.name,
        container: PROBE_CONTAINER,
        command: &["/bin/sh", "-s"],
        stdin: Some(script.text.as_bytes()),
        limit_bytes: script.limit_bytes,
        timeout,
    };
    let output = cluster.exec(&request).await?;
    if output.exit_code == 0 && is_probe(&output.stdout) {
        return Ok(output.stdout);
    }
    let (node, pod) = (&pod.spec.node_name, pod.full_name());
    Err(script.failed(node, &pod, output.exit_code, &output.stderr))
}

/// Runs a script on a host.
async fn on_host(
    pod: &NodePod,
    script: &Script,
    timeout: Duration,
) -> Result<Vec<u8>, NodePodError> {
    let run = HostRun {
        script: script.text.as_bytes(),
        limit_bytes: script.limit_bytes,
        timeout,
        repeat: Repeat::Always,
    };
    let output = pod.run_on_host(&run).await?;
    if output.exit_code == 0 && output.stdout.starts_with(script.begins) {
        return Ok(output.stdout);
    }
    let error = script.failed(pod.node(), &pod.full_name(), output.exit_code, &output.stderr);
    Err(NodePodError::Api(error))
}

/// The first section is always the vantage, and every section is ended.
fn is_probe(text: &[u8]) -> bool {
    text.starts_with(b"@@vantage ") && text.ends_with(b"@@end\n")
}
