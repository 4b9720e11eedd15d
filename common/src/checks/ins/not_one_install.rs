//! CAL-INS-001.

use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject};
use crate::snapshot::{Gap, GapReason, Known};

/// Label that the Tigera operator puts on nodes while it moves calico-node from kube-system to calico-system. Both
/// DaemonSets exist for minutes then, on purpose.
const MIGRATION_LABEL: &str = "projectcalico.org/operator-node-migration";

check! {
    /// # Calico is not installed, or installed more than once
    ///
    /// ## What it detects
    /// No DaemonSet calico-node in any namespace; or one in several namespaces, as a half-finished move from manifest
    /// to operator leaves them. Two node agents on one node overwrite each other's rules and files.
    ///
    /// ## How sure
    /// Certain, when all DaemonSets of that label could be listed. While the operator itself moves nodes (they carry
    /// the label projectcalico.org/operator-node-migration) two DaemonSets are right.
    ///
    /// ## What it looks like
    /// `kubectl get daemonsets -A -l k8s-app=calico-node` prints no line, or two.
    ///
    /// ## What to do
    /// None: if this cluster should run Calico, install it; if it no longer should, leftovers on the nodes remain.
    /// Several: decide which one stays, and finish the move as Calico's documentation of the migration to the operator says.
    ///
    /// ## What not to do
    /// `kubectl delete -f calico.yaml`: it deletes the CRDs, and with them every pool, address block and policy of both.
    NOT_ONE_INSTALL: "CAL-INS-001", "Calico is not installed exactly once", "install", Error,
    needs [Install], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    match &context.snapshot.install {
        Known::Absent => out.report(Finding::new(
            Code("CAL-INS-001"),
            Severity::Error,
            Subject::cluster(),
            "Calico is not installed in this cluster",
            Cause {
                key: "not-found",
                text: "no DaemonSet calico-node in any namespace".to_owned(),
            },
        )),
        // Whether the operator is at work is written on the nodes.
        Known::Known(install)
            if install.namespaces.len() > 1 && !context.snapshot.nodes.is_whole() =>
        {
            let gap = context.snapshot.nodes.gap.clone().unwrap_or_else(|| {
                Gap::new("cluster/nodes.json", GapReason::NotAsked, "not all nodes were read")
            });
            out.not_judged(Code("CAL-INS-001"), "", gap);
        }
        Known::Known(install) if install.namespaces.len() > 1 && !is_migrating(context) => {
            let list = install.namespaces.join(", ");
            let mut finding = Finding::new(
                Code("CAL-INS-001"),
                Severity::Error,
                Subject::cluster(),
                "Calico is installed more than once",
                Cause {
                    key: "several",
                    text: format!(
                        "DaemonSets calico-node exist in {list}; no node carries the operator's migration label"
                    ),
                },
            );
            finding.evidence.push(Evidence::new("daemonsets labelled k8s-app=calico-node", list));
            out.report(finding);
        }
        Known::Known(_) | Known::Unknown(_) => {}
    }
}

fn is_migrating(context: &Context<'_>) -> bool {
    let nodes = &context.snapshot.nodes.items;
    nodes.iter().any(|node| node.metadata.labels.contains_key(MIGRATION_LABEL))
}
