//! CAL-POD-001.

use super::hanging::{Phase, Wording, report};
use crate::checks::Context;
use crate::findings::{Code, Findings};

check! {
    /// # Pods hang in ContainerCreating: their sandbox cannot be created
    ///
    /// ## What it detects
    /// Pods that are bound to a node, have started no container, and whose own events say that the kubelet could not
    /// create their sandbox. One finding per node and cause.
    ///
    /// ## How sure
    /// The state of the pod decides, never the age or count of an event: the kubelet emits FailedCreatePodSandBox once
    /// and then retries in silence. Events of pods that run or are gone are ignored. A text that this tool does not
    /// know is shown word for word, as a finding of unknown cause. It is a warning only when the node shows that the
    /// cause is gone by now, and when the pods are younger than 20 s and nothing but this text speaks for the cause.
    ///
    /// ## What it looks like
    /// `Failed to create pod sandbox: ... plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized`
    /// `network is not ready: container runtime network not ready: NetworkReady=false ... cni plugin not initialized`
    ///
    /// ## What to do
    /// Repair the cause it is listed under. The kubelet retries by itself: the same pods run 10 to 25 s later.
    ///
    /// ## What not to do
    /// Deleting the pods repairs nothing: their successors hang for the same reason, and now the deleted ones hang in
    /// Terminating as well. Never empty /etc/cni/net.d: other plugins' files are there, and containerd stops watching
    /// a directory that was removed.
    STUCK_CREATING: "CAL-POD-001", "pods hang in ContainerCreating", "pods", Error,
    needs [Nodes, Pods, Events], fix Safe, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let wording = Wording { code: Code("CAL-POD-001"), state: "ContainerCreating" };
    report(context, out, Phase::Creating, &wording);
}
