//! CAL-CNI-011.

use crate::checks::Context;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{quote, said};
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject};
use crate::snapshot::{Flavour, Gap, GapReason, Known};

const CODE: Code = Code("CAL-CNI-011");

check! {
    /// # Calico's datastore is locked
    ///
    /// ## What it detects
    /// ClusterInformation `default` says `datastoreReady: false`. The CNI plugin asks for it before everything it does, and
    /// gives up: no pod can start or stop on any node. It is set on purpose while data are being moved: by
    /// `calicoctl datastore migrate lock`, and by the migration from one API group to the other.
    ///
    /// ## How sure
    /// Certain: the object says so. Whether the migration still runs, only whoever began it knows; that objects are in both
    /// API groups is said when it is seen.
    ///
    /// ## What it looks like
    /// `plugin type="calico" failed (add): Calico is currently not ready to process requests`
    ///
    /// ## What to do
    /// Finish the migration, or go back as its documentation says; then `calicoctl datastore migrate unlock`. Pods that hang
    /// heal by themselves.
    ///
    /// ## What not to do
    /// Setting the flag to true because pods hang: with data in two places, both are then written to, and the same addresses
    /// are given out twice.
    DATASTORE_LOCKED: "CAL-CNI-011", "Calico's datastore is locked", "cni", Critical,
    needs [Nodes, Install], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    match context.datastore_is_ready() {
        Some(false) => out.report(finding(context)),
        Some(true) => {}
        None if context.snapshot.cluster_information.is_whole() => {}
        None => out.not_judged(CODE, "", gap(context)),
    }
}

fn gap(context: &Context<'_>) -> Gap {
    context.snapshot.cluster_information.gap.clone().unwrap_or_else(|| {
        let what = "cluster/clusterinformations.crd.projectcalico.org.json";
        Gap::new(what, GapReason::NotAsked, "ClusterInformation default was not read")
    })
}

fn finding(context: &Context<'_>) -> Finding {
    let (key, text) = match &context.snapshot.flavour {
        Known::Known(Flavour::Migrating) => (
            "migration",
            "Calico's objects are being moved to another API group: both hold objects",
        ),
        _ => (
            "locked",
            "somebody locked it for a migration, which has not ended or was not unlocked",
        ),
    };
    let nodes = context.linux_nodes();
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::cluster(),
        "Calico's datastore is locked: no pod can start or stop",
        Cause { key, text: text.to_owned() },
    );
    finding.nodes = nodes.iter().map(|node| node.metadata.name.clone()).collect();
    finding.evidence.push(Evidence::new("ClusterInformation default", "datastoreReady: false"));
    let texts = said(context, |cause| *cause == TextCause::DatastoreLocked);
    finding.evidence.extend(quote(texts.values().flatten()));
    finding
}
