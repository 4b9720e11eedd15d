//! CAL-CNI-009.

use jiff::SignedDuration;

use crate::checks::Context;
use crate::checks::pod::hanging::Hanging;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{quote, said};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::snapshot::Known;

const CODE: Code = Code("CAL-CNI-009");

/// calico-node writes the file within seconds of its start; one that runs no longer than this may be about to.
const STARTUP: SignedDuration = SignedDuration::from_secs(120);

check! {
    /// # /var/lib/calico/nodename is missing on a node
    ///
    /// ## What it detects
    /// calico-node writes its node's name there when it starts, and the CNI plugin refuses to work without it, so no pod can
    /// start or stop. Either calico-node never came to that node; or the file was removed since; or calico-node writes it
    /// to another place than the host's /var/lib/calico.
    ///
    /// ## How sure
    /// Certain when calico-node has run for two minutes and the file is not there. Likely when only the kubelet's texts say so.
    /// Where calico-node does not run, the reason for that is the root (CAL-WRK-001).
    ///
    /// ## What it looks like
    /// `stat /var/lib/calico/nodename: no such file or directory: check that the calico/node container is running and has mounted /var/lib/calico/`
    ///
    /// ## What to do
    /// Removed: `kubectl calico-doctor fix CAL-CNI-009` restarts calico-node there, which writes it anew. No calico-node on the
    /// node: see the DaemonSet's nodeSelector and tolerations. Written elsewhere: the DaemonSet's volume var-lib-calico has to
    /// be the host's /var/lib/calico.
    ///
    /// ## What not to do
    /// Writing the file by hand: pods then get a network without anybody who programs routes and policy for them.
    NODENAME_MISSING: "CAL-CNI-009", "/var/lib/calico/nodename is missing", "cni", Critical,
    needs [Nodes, Pods, Events], fix Safe, run
}

/// Why the file is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Removed,
    Elsewhere,
    NoCalicoNode,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let texts = said(context, |cause| *cause == TextCause::NodenameMissing);
    for node in context.linux_nodes() {
        let name = node.metadata.name.as_str();
        let hanging = texts.get(name).map_or(&[] as &[Hanging<'_>], Vec::as_slice);
        if let Some((why, confidence)) = judge(context, name, !hanging.is_empty()) {
            out.report(finding(name, why, confidence, hanging));
        } else if let Some(gap) =
            context.snapshot.host(name).and_then(|it| it.nodename.as_ref()).gap()
        {
            out.not_judged(CODE, name, gap.clone());
        }
    }
}

fn judge(context: &Context<'_>, node: &str, is_said: bool) -> Option<(Why, Confidence)> {
    let seen = context.snapshot.host(node).and_then(|facts| facts.nodename.as_ref());
    if context.snapshot.calico_node_on(node).is_none() {
        // Nothing is said of nodes that pods were never meant to run on.
        return is_said.then_some((Why::NoCalicoNode, Confidence::Certain));
    }
    let since = context.calico_node_runs_since(node)?;
    if context.now.duration_since(since) < STARTUP {
        return None;
    }
    match seen {
        Known::Known(name) if name.is_empty() => Some((Why::Removed, Confidence::Certain)),
        Known::Absent => Some((Why::Removed, Confidence::Certain)),
        Known::Known(_) if is_said && !context.host_has_nodename(node) => {
            Some((Why::Elsewhere, Confidence::Likely))
        }
        Known::Unknown(_) if is_said => Some((Why::Removed, Confidence::Likely)),
        Known::Known(_) | Known::Unknown(_) => None,
    }
}

fn finding(node: &str, why: Why, confidence: Confidence, hanging: &[Hanging<'_>]) -> Finding {
    let (key, text) = match why {
        Why::Removed => ("removed", "calico-node runs, and the file it wrote at its start is gone"),
        Why::Elsewhere => (
            "elsewhere",
            "calico-node has the file, and the CNI plugin does not find it: the container's /var/lib/calico is not the host's",
        ),
        Why::NoCalicoNode => ("no-calico-node", "there is no calico-node on this node"),
    };
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::nodes([node]),
        format!("/var/lib/calico/nodename is missing on {node}"),
        Cause { key, text: text.to_owned() },
    );
    finding.confidence = confidence;
    if why == Why::Removed && confidence == Confidence::Certain {
        let source = format!("{node}: /var/lib/calico/nodename");
        finding.evidence.push(Evidence::new(source, "no such file, or empty"));
    }
    finding.evidence.extend(quote(hanging));
    finding.remedy = (why == Why::Removed).then_some(RemedyName::RestartCalicoNode);
    finding
}
