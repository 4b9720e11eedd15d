//! CAL-INS-004.

use crate::calico::names::CRD_GROUP;
use crate::checks::Context;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{quote, said};
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject};
use crate::slim::DaemonSet;
use crate::snapshot::{Flavour, Gap, GapReason, Install, Known, Listing};

const CODE: Code = Code("CAL-INS-004");

/// Environment of calico-node that names its datastore; in etcd it needs no definitions.
const DATASTORE: &str = "DATASTORE_TYPE";
/// Manifests for etcd do not name the datastore, but its servers.
const ETCD: &str = "ETCD_ENDPOINTS";

check! {
    /// # Calico's CRDs are gone
    ///
    /// ## What it detects
    /// calico-node is installed, and the API server does not serve the kinds that it keeps its data in: all of them are gone, or
    /// ClusterInformation or IPPool is. Calico's objects went with their definitions: pools, address blocks, policies, BGP
    /// peers. Pods that run go on, because Felix keeps what it programmed last. No pod can start or stop.
    ///
    /// ## How sure
    /// Certain: the API server answers that it does not serve them. That they may not be listed is something else, and not
    /// judged. An install that keeps its data in etcd, and one whose kinds are those of `projectcalico.org`, need none of
    /// `crd.projectcalico.org`.
    ///
    /// ## What it looks like
    /// `error getting ClusterInformation: resource does not exist: ClusterInformation(default) with error: the server could not find the requested resource`
    ///
    /// ## What to do
    /// Apply the manifest of the release that runs (`kubectl apply --server-side -f calico.yaml`, or the operator's CRDs), not
    /// an older or newer one. Then restore from a backup, with `kubectl create --validate=false`, in this order: IPPool,
    /// IPAMConfig and IPReservation; BlockAffinity, IPAMBlock and IPAMHandle, which say who has which address;
    /// FelixConfiguration, BGPConfiguration, BGPFilter, BGPPeer, KubeControllersConfiguration; Tier, then all policies and
    /// network sets; HostEndpoint. ClusterInformation comes by itself.
    ///
    /// Without a backup, make the pools as they were (addresses of pods and routes of nodes show the ranges). Blocks are then
    /// born empty, and addresses in use can be given out again: replace all pods. Pods that hang in Terminating are freed by
    /// `kubectl calico-purge node NODE`, before or after.
    ///
    /// ## What not to do
    /// Restarting calico-node before the objects are back: Felix keeps what it programmed last only while it runs.
    /// `kubectl delete -f calico.yaml`: it deletes the CRDs first, and may be what happened.
    DEFINITIONS_GONE: "CAL-INS-004", "Calico's CRDs are gone", "install", Error,
    needs [Nodes, Install], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let snapshot = context.snapshot;
    let Known::Known(install) = &snapshot.install else { return };
    if keeps_data_in_etcd(context, install) {
        return;
    }
    match &snapshot.flavour {
        Known::Absent => out.report(finding(context, install, "all", &[])),
        Known::Known(flavour) => {
            let group = if *flavour == Flavour::NativeV3 { "projectcalico.org" } else { CRD_GROUP };
            let asked = [
                ("clusterinformations", reason(&snapshot.cluster_information)),
                ("ippools", reason(&snapshot.ip_pools)),
            ];
            let is_gone = |it: &&(&str, Option<&Gap>)| {
                it.1.is_some_and(|gap| gap.why == GapReason::NotServed)
            };
            let gone: Vec<String> = asked
                .iter()
                .filter(is_gone)
                .map(|(plural, _)| format!("{plural}.{group}"))
                .collect();
            if !gone.is_empty() {
                out.report(finding(context, install, "some", &gone));
            } else if let Some(gap) = asked.iter().find_map(|(_, gap)| *gap) {
                out.not_judged(CODE, "", gap.clone());
            }
        }
        Known::Unknown(gap) => out.not_judged(CODE, "", gap.clone()),
    }
}

/// Why nothing of a kind was read.
fn reason<T>(listing: &Listing<T>) -> Option<&Gap> {
    listing.gap.as_ref()
}

fn keeps_data_in_etcd(context: &Context<'_>, install: &Install) -> bool {
    let is_it = |set: &&DaemonSet| {
        set.metadata.namespace == install.namespace && set.metadata.name == install.daemon_set
    };
    let set = context.snapshot.daemon_sets.items.iter().find(is_it);
    set.is_some_and(|set| {
        let spec = &set.spec.template.spec;
        match spec.env(DATASTORE) {
            Some(datastore) => datastore != "kubernetes",
            None => spec.has_env(DATASTORE) || spec.has_env(ETCD),
        }
    })
}

fn finding(
    context: &Context<'_>,
    install: &Install,
    key: &'static str,
    gone: &[String],
) -> Finding {
    let text = if gone.is_empty() {
        "the API server serves no kind of Calico any more: all its objects are gone with the CRDs"
            .to_owned()
    } else {
        format!(
            "the API server does not serve {} any more: its objects are gone with the CRD",
            gone.join(", ")
        )
    };
    let mut finding = Finding::new(
        CODE,
        Severity::Error,
        Subject::cluster(),
        "Calico's CRDs are gone: no pod can start or stop",
        Cause { key, text },
    );
    // What its symptoms are matched by, and what a run that is limited to nodes is about.
    finding.nodes = context.linux_nodes().iter().map(|node| node.metadata.name.clone()).collect();
    let snapshot = context.snapshot;
    let gaps = [reason(&snapshot.cluster_information), reason(&snapshot.ip_pools)];
    let not_served = gaps.into_iter().flatten().filter(|gap| gap.why == GapReason::NotServed);
    finding.evidence.extend(not_served.map(|gap| Evidence::new(&gap.what, &gap.detail)));
    let set = format!("DaemonSet {}/{}", install.namespace, install.daemon_set);
    let version = install.version.as_deref().unwrap_or("a version that is not known");
    finding.evidence.push(Evidence::new(set, format!("it is installed: {version}")));
    let texts = said(context, |cause| *cause == TextCause::ResourceMissing);
    finding.evidence.extend(quote(texts.values().flatten()));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::{EnvironmentVariable, TemplateContainer};
    use crate::snapshot::{Coverage, InstallMethod, Snapshot, SnapshotBuilder};

    /// calico-node is there, and Calico's kinds were read.
    fn healthy() -> Snapshot {
        let mut it = SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
        let mut node = crate::slim::Node::default();
        node.metadata.name = "n1".into();
        node.metadata.labels.insert("kubernetes.io/os".into(), "linux".into());
        it.nodes.items.push(node);
        let mut set = DaemonSet::default();
        set.metadata.name = "calico-node".into();
        set.metadata.namespace = "kube-system".into();
        it.daemon_sets.items.push(set);
        it.install = Known::Known(Install {
            method: InstallMethod::Manifest,
            namespace: "kube-system".into(),
            daemon_set: "calico-node".into(),
            version: Some("v3.28.4".into()),
            encapsulation: None,
            cni_service_account: "calico-cni-plugin".into(),
            cni_config_dir: "/etc/cni/net.d".into(),
            cni_bin_dir: "/opt/cni/bin".into(),
            namespaces: vec!["kube-system".into()],
        });
        it.flavour = Known::Known(Flavour::CrdV1);
        it.cluster_information = Listing { coverage: Coverage::All, ..Listing::default() };
        it.ip_pools = Listing { coverage: Coverage::All, ..Listing::default() };
        it
    }

    fn gap(why: GapReason) -> Gap {
        Gap::new("cluster/clusterinformations.crd.projectcalico.org.json", why, "said so")
    }

    fn judge(snapshot: &Snapshot) -> (Vec<&'static str>, usize) {
        let mut out = Findings::default();
        run(&Context { snapshot, now: snapshot.taken }, &mut out);
        (out.found.iter().map(|it| it.cause.key).collect(), out.unjudged.len())
    }

    #[test]
    fn definitions_that_are_gone_are_named() {
        let mut all = healthy();
        all.flavour = Known::Absent;
        assert_eq!(judge(&all), (vec!["all"], 0));
        let mut one = healthy();
        one.cluster_information =
            Listing { gap: Some(gap(GapReason::NotServed)), ..Listing::default() };
        assert_eq!(judge(&one), (vec!["some"], 0));
        let mut out = Findings::default();
        run(&Context { snapshot: &one, now: one.taken }, &mut out);
        assert!(out.found[0].cause.text.contains("clusterinformations.crd.projectcalico.org"));
        assert_eq!(out.found[0].nodes, ["n1"]);
    }

    #[test]
    fn what_only_looks_like_it_is_silent() {
        assert_eq!(judge(&healthy()), (vec![], 0));
        // Nobody may list them: that says nothing.
        let mut forbidden = healthy();
        forbidden.cluster_information =
            Listing { gap: Some(gap(GapReason::Forbidden)), ..Listing::default() };
        assert_eq!(judge(&forbidden), (vec![], 1));
        forbidden.flavour = Known::Unknown(gap(GapReason::Forbidden));
        assert_eq!(judge(&forbidden), (vec![], 1));
        // No Calico at all.
        let mut none = healthy();
        none.flavour = Known::Absent;
        none.install = Known::Absent;
        assert_eq!(judge(&none), (vec![], 0));
        // Kinds of projectcalico.org alone.
        let mut native = healthy();
        native.flavour = Known::Known(Flavour::NativeV3);
        assert_eq!(judge(&native), (vec![], 0));
    }

    #[test]
    fn an_install_on_etcd_needs_no_definitions() {
        let variable = |name: &str, value: &str| {
            let mut snapshot = healthy();
            snapshot.flavour = Known::Absent;
            let env = vec![EnvironmentVariable {
                name: name.into(),
                value: value.into(),
                ..EnvironmentVariable::default()
            }];
            let container = TemplateContainer { env, ..TemplateContainer::default() };
            snapshot.daemon_sets.items[0].spec.template.spec.containers.push(container);
            judge(&snapshot).0
        };
        assert_eq!(variable(ETCD, ""), Vec::<&str>::new());
        assert_eq!(variable(DATASTORE, "etcdv3"), Vec::<&str>::new());
        assert_eq!(variable(DATASTORE, "kubernetes"), ["all"]);
    }
}
