//! CAL-GRD-006: Calico does kube-proxy's work.

use super::{Safeguard, Situation, Verdict, judged, told};
use crate::findings::{Code, Evidence};
use crate::slim::DaemonSet;
use crate::snapshot::Gap;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-006"),
    title: "Calico's eBPF data plane stands in for kube-proxy",
    explain: "With the eBPF data plane and no kube-proxy, Services work on a node because calico-node is there. Without it nothing \
on the node reaches a Service any more, the API server's among them. Bring kube-proxy back and switch the data plane off first.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let on = bpf(situation)?;
    let sets = told(&situation.circumstances.daemon_sets)?;
    let proxy = sets.iter().find(|it| it.metadata.name == "kube-proxy");
    let runs = |set: &DaemonSet| set.status.desired_number_scheduled > 0;
    if on.is_empty() || proxy.is_some_and(runs) {
        return Ok(Vec::new());
    }
    let proxy = match proxy {
        Some(_) => "is scheduled to no node",
        None => "does not exist",
    };
    Ok(on.into_iter().chain([Evidence::new("DaemonSet kube-proxy", proxy)]).collect())
}

/// What switches the data plane on for one of the nodes: what is said for the node, else for all, else in the environment.
fn bpf(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let all = told(&situation.circumstances.felix)?;
    let of = |name: &str| {
        all.iter().find(|it| it.metadata.name == name).and_then(|it| it.spec.bpf_enabled)
    };
    let variable = || {
        let install = situation.snapshot.install.known()?;
        let sets = &situation.snapshot.daemon_sets.items;
        let set = sets.iter().find(|it| {
            it.metadata.namespace == install.namespace && it.metadata.name == install.daemon_set
        })?;
        set.spec.template.spec.env("FELIX_BPFENABLED").map(|it| it.eq_ignore_ascii_case("true"))
    };
    let mut found = Vec::new();
    // The environment wins over what is stored.
    match variable() {
        Some(true) => found.push(Evidence::new("calico-node", "FELIX_BPFENABLED=true")),
        Some(false) => {}
        None => {
            for node in &situation.intent.nodes {
                let own = format!("node.{node}");
                let (name, on) = match of(&own) {
                    Some(on) => (own.as_str(), on),
                    None => ("default", of("default").unwrap_or_default()),
                };
                if on {
                    let source = format!("FelixConfiguration {name}");
                    found.push(Evidence::new(source, "bpfEnabled: true"));
                }
            }
            found.dedup();
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::FelixConfiguration;
    use super::super::fixtures::{Scene, daemon_set, forbidden, named};
    use crate::snapshot::Known;

    fn scene(felix: &[(&str, bool)], proxy: bool) -> Scene {
        let mut scene = Scene::new();
        let configuration = |(name, on): &(&str, bool)| {
            let mut it = FelixConfiguration { metadata: named("", name), ..Default::default() };
            it.spec.bpf_enabled = Some(*on);
            it
        };
        scene.circumstances.felix = Known::Known(felix.iter().map(configuration).collect());
        if !proxy {
            let sets = vec![daemon_set("kube-system", "calico-node")];
            scene.circumstances.daemon_sets = Known::Known(sets);
        }
        scene
    }

    #[test]
    fn without_kube_proxy_the_data_plane_stays() {
        let why = scene(&[("default", true)], false).says("CAL-GRD-006").unwrap();
        assert_eq!(
            why,
            "FelixConfiguration default: bpfEnabled: true\nDaemonSet kube-proxy: does not exist"
        );
        let own = [("default", false), ("node.node2", true)];
        assert!(scene(&own, false).says("CAL-GRD-006").unwrap().contains("node.node2"));
        let mut parked = scene(&[("default", true)], true);
        let mut set = daemon_set("kube-system", "kube-proxy");
        set.status.desired_number_scheduled = 0;
        parked.circumstances.daemon_sets = Known::Known(vec![set]);
        assert!(parked.says("CAL-GRD-006").unwrap().contains("is scheduled to no node"));
    }

    #[test]
    fn with_kube_proxy_or_without_ebpf_it_may_go() {
        assert_eq!(scene(&[("default", true)], true).says("CAL-GRD-006"), None);
        assert_eq!(scene(&[("default", false)], false).says("CAL-GRD-006"), None);
        let elsewhere = [("default", false), ("node.node1", true)];
        assert_eq!(scene(&elsewhere, false).says("CAL-GRD-006"), None, "another node's");
        let off = [("default", true), ("node.node2", false)];
        assert_eq!(scene(&off, false).says("CAL-GRD-006"), None, "this one is an exception");
        let mut unseen = scene(&[], true);
        unseen.circumstances.felix = forbidden();
        assert_eq!(unseen.says("CAL-GRD-006").unwrap(), "unknown: forbidden");
    }
}
