//! CAL-GRD-005: something else keeps calico-node as it is.

use super::{Safeguard, Situation, Verdict, judged, told};
use crate::findings::{Code, Evidence};
use crate::slim::Metadata;
use crate::snapshot::Gap;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-005"),
    title: "calico-node is kept by a deployment tool",
    explain: "Argo CD, Flux, Helm, the add-on managers of distributions and the chart controller of RKE2 and k3s put DaemonSet \
calico-node back as they know it: then calico-node returns to the node and reinstalls everything. Make the change there \
(a node affinity that keeps off label kubectl-calico/excluded, update strategy OnDelete), or suspend its synchronisation, \
then override this guard.",
    run,
};

/// Labels and annotations that such tools put on what they own; a value, when only that one tells it.
const MARKS: [(&str, &str, &str); 9] = [
    ("argocd.argoproj.io/instance", "", "Argo CD"),
    ("argocd.argoproj.io/tracking-id", "", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "", "Flux"),
    ("meta.helm.sh/release-name", "", "Helm"),
    ("app.kubernetes.io/managed-by", "Helm", "Helm"),
    ("addonmanager.kubernetes.io/mode", "Reconcile", "the add-on manager"),
    ("addon.kops.k8s.io/name", "", "kOps"),
    ("objectset.rio.cattle.io/owner-name", "", "Rancher"),
];

/// Charts of Calico that RKE2 keeps installed.
const CHARTS: [&str; 4] = ["rke2-calico", "rke2-calico-crd", "rke2-canal", "calico"];

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let mut found = Vec::new();
    // Nothing of the DaemonSet is changed when there is none, or when it keeps off already.
    let agent = match &situation.circumstances.node_agent {
        crate::snapshot::Known::Known(agent) => agent,
        crate::snapshot::Known::Absent => return Ok(found),
        crate::snapshot::Known::Unknown(gap) => return Err(gap.clone()),
    };
    let source = format!("DaemonSet {}/{}", agent.metadata.namespace, agent.metadata.name);
    found.extend(marks(&agent.metadata).map(|mark| Evidence::new(&source, mark)));
    let charts = told(&situation.circumstances.helm_charts);
    if let Ok(charts) = &charts {
        let ours = charts.iter().filter(|it| CHARTS.contains(&it.metadata.name.as_str()));
        found.extend(ours.map(|it| {
            let source = format!("HelmChart {}/{}", it.metadata.namespace, it.metadata.name);
            Evidence::new(source, "is kept installed by the chart controller")
        }));
    }
    match charts {
        Err(gap) if found.is_empty() => Err(gap),
        _ => Ok(found),
    }
}

fn marks(metadata: &Metadata) -> impl Iterator<Item = String> {
    MARKS.iter().filter_map(|(key, only, tool)| {
        let value = metadata.labels.get(*key).or_else(|| metadata.annotations.get(*key))?;
        let is_meant = only.is_empty() || value == only;
        is_meant.then(|| format!("{key}={value}: kept by {tool}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::HelmChart;
    use super::super::fixtures::{Scene, forbidden, named};
    use crate::snapshot::Known;

    fn marked(label: bool, key: &str, value: &str) -> Option<String> {
        let mut scene = Scene::new();
        let Known::Known(agent) = &mut scene.circumstances.node_agent else { unreachable!() };
        let map = if label { &mut agent.metadata.labels } else { &mut agent.metadata.annotations };
        map.insert(key.into(), value.into());
        scene.says("CAL-GRD-005")
    }

    #[test]
    fn marks_of_deployment_tools_block() {
        assert_eq!(
            marked(true, "argocd.argoproj.io/instance", "net").unwrap(),
            "DaemonSet kube-system/calico-node: argocd.argoproj.io/instance=net: kept by Argo CD"
        );
        assert!(marked(false, "meta.helm.sh/release-name", "calico").is_some());
        assert!(marked(true, "addonmanager.kubernetes.io/mode", "Reconcile").is_some());
        let mut rke2 = Scene::new();
        let chart = HelmChart { metadata: named("kube-system", "rke2-calico") };
        rke2.circumstances.helm_charts = Known::Known(vec![chart]);
        assert!(rke2.says("CAL-GRD-005").unwrap().contains("HelmChart kube-system/rke2-calico"));
    }

    #[test]
    fn other_labels_and_charts_do_not() {
        assert_eq!(marked(true, "k8s-app", "calico-node"), None);
        assert_eq!(marked(true, "app.kubernetes.io/managed-by", "platform-team"), None);
        assert_eq!(marked(true, "addonmanager.kubernetes.io/mode", "EnsureExists"), None);
        let mut traefik = Scene::new();
        let chart = HelmChart { metadata: named("kube-system", "rke2-ingress-nginx") };
        traefik.circumstances.helm_charts = Known::Known(vec![chart]);
        assert_eq!(traefik.says("CAL-GRD-005"), None);
        let mut gone = Scene::new();
        gone.circumstances.node_agent = Known::Absent;
        gone.circumstances.helm_charts = forbidden();
        assert_eq!(gone.says("CAL-GRD-005"), None, "Calico is being left: nothing to change");
        let mut unseen = Scene::new();
        unseen.circumstances.helm_charts = forbidden();
        assert_eq!(unseen.says("CAL-GRD-005").unwrap(), "unknown: forbidden");
    }
}
