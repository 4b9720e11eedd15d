//! CAL-POD-008.

use std::collections::BTreeMap;

use super::hanging::{Hanging, hanging};
use super::kubelet_text::{TextCause, essence};
use crate::checks::Context;
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};

const CODE: Code = Code("CAL-POD-008");

check! {
    /// # Calls of the CNI plugin hang until they are killed
    ///
    /// ## What it detects
    /// Pods that hang because the plugin neither succeeds nor fails: the container runtime gives up waiting for it.
    ///
    /// ## How sure
    /// Likely. The texts say that nothing came back in time; why it took so long they do not say. Usual reasons are a slow
    /// API server, a queue at the lock of Calico's IPAM on a node with many pods starting at once (mended in v3.30.7 and
    /// v3.31.5), and slow disks.
    ///
    /// ## What it looks like
    /// `netplugin failed with no error message: signal: killed`
    /// `rpc error: code = DeadlineExceeded desc = context deadline exceeded`
    ///
    /// ## What to do
    /// On the node, look whether plugins queue (`ps -C calico`) and what they wait for (/var/log/calico/cni/cni.log), and
    /// whether `kubectl get --raw /readyz` is quick. With many plugins waiting, starting fewer pods at once helps.
    ///
    /// ## What not to do
    /// Killing the waiting plugins: each one is called again, and the addresses that they took stay taken.
    CALLS_HANG: "CAL-POD-008", "CNI calls hang until they are killed", "pods", Error,
    needs [Nodes, Pods, Events], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let mut nodes: BTreeMap<&str, Vec<Hanging<'_>>> = BTreeMap::new();
    for one in hanging(context).into_iter().filter(|it| it.cause == TextCause::Hanging) {
        nodes.entry(one.pod.spec.node_name.as_str()).or_default().push(one);
    }
    for (node, pods) in nodes {
        let mut finding = Finding::new(
            CODE,
            Severity::Error,
            Subject::nodes([node]),
            format!("CNI calls hang on {node}"),
            Cause {
                key: "no-answer",
                text: "the container runtime gave up waiting for the CNI plugin".to_owned(),
            },
        );
        finding.confidence = Confidence::Likely;
        finding.evidence.extend(pods.first().map(|one| {
            let source = format!("event {} {}", one.event.reason, one.pod.full_name());
            Evidence::new(source, essence(&one.event.message))
        }));
        out.report(finding);
    }
}
