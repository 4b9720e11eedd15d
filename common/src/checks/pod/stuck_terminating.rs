//! CAL-POD-002.

use super::hanging::{Phase, Wording, report};
use crate::checks::Context;
use crate::findings::{Code, Findings};

check! {
    /// # Pods hang in Terminating: their network cannot be taken down
    ///
    /// ## What it detects
    /// Pods whose deletion is due, whose containers have ended, and whose own events say that the CNI plugin failed to
    /// take their network down (FailedKillPod with KillPodSandboxError). One finding per node and cause.
    ///
    /// ## How sure
    /// Pods with finalizers, pods with a running container and pods on nodes whose kubelet is silent are left out:
    /// they wait for something else. One failed attempt counts only 30 s after the grace period; a second one at once.
    ///
    /// ## What it looks like
    /// `error killing pod: failed to "KillPodSandbox" ... with KillPodSandboxError: ... plugin type="calico" failed (delete): error getting ClusterInformation: connection is unauthorized: Unauthorized`
    ///
    /// ## What to do
    /// Repair the cause it is listed under. The kubelet retries about every 11 s, and the pods are gone 10 to 25 s later.
    /// Where CNI DEL cannot succeed any more (Calico's CRDs are gone, the API server has not answered for ten minutes),
    /// `kubectl calico-doctor fix CAL-POD-002` frees exactly these pods' sandboxes; their addresses stay allocated.
    ///
    /// ## What not to do
    /// `kubectl delete --force` only hides the pod: its sandbox, interface and address stay on the node. `crictl rmp -a`
    /// also kills healthy pods.
    STUCK_TERMINATING: "CAL-POD-002", "pods hang in Terminating", "pods", Error,
    needs [Nodes, Pods, Events], fix Safe, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let wording = Wording { code: Code("CAL-POD-002"), state: "Terminating" };
    report(context, out, Phase::Terminating, &wording);
}
