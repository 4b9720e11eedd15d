//! CAL-GRD-004: Multus hands pods on to Calico.

use super::{Safeguard, Situation, Verdict, judged};
use crate::calico::names::CALICO_CONFLIST_NAMES;
use crate::findings::{Code, Evidence};
use crate::snapshot::{Gap, Known, NetworkConfiguration};

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-004"),
    title: "Multus delegates to Calico",
    explain: "Multus is the first plugin on the node and hands every pod on to Calico: without Calico no pod starts or stops, those \
with other networks neither. Give Multus another default network first (its clusterNetwork, or the delegates in its \
configuration), or take Multus off.",
    run,
};

/// Name of Calico's network, and what delegates call the plugin.
const NAMES: [&str; 2] = ["k8s-pod-network", "calico"];

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let mut found = Vec::new();
    for node in &situation.intent.nodes {
        match situation.snapshot.host(node).and_then(|it| it.conflists.as_ref()) {
            Known::Known(files) => found.extend(files.iter().filter_map(|it| delegating(node, it))),
            Known::Absent => {}
            Known::Unknown(gap) => return Err(gap),
        }
    }
    Ok(found)
}

fn delegating(node: &str, file: &NetworkConfiguration) -> Option<Evidence> {
    let is_calico = |to: &&String| {
        let name = to.rsplit('/').next().unwrap_or(to);
        NAMES.contains(&name) || CALICO_CONFLIST_NAMES.contains(&name)
    };
    let to = file.delegates.iter().find(is_calico)?;
    Some(Evidence::new(format!("{node}: {}", file.file), format!("delegates to {to}")))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{CALICO, Scene};

    fn says(multus: &str) -> Option<String> {
        let mut scene = Scene::new();
        scene.host(&[("00-multus.conf", multus), CALICO]);
        scene.says("CAL-GRD-004")
    }

    #[test]
    fn delegation_to_calico_blocks() {
        let thick = r#"{"type":"multus-shim","name":"m","clusterNetwork":"/host/etc/cni/net.d/10-calico.conflist"}"#;
        assert_eq!(
            says(thick).unwrap(),
            "node2: 00-multus.conf: delegates to /host/etc/cni/net.d/10-calico.conflist"
        );
        let thin = r#"{"type":"multus","name":"m","delegates":[{"name":"k8s-pod-network","plugins":[{"type":"calico"}]}]}"#;
        assert!(says(thin).is_some());
        assert!(Scene::new().says("CAL-GRD-004").unwrap().starts_with("unknown: "));
    }

    #[test]
    fn delegation_to_another_network_does_not() {
        let other = r#"{"type":"multus","name":"m","delegates":[{"name":"cbr0","plugins":[{"type":"flannel"}]}]}"#;
        assert_eq!(says(other), None);
        let mut scene = Scene::new();
        scene.host(&[CALICO]);
        assert_eq!(scene.says("CAL-GRD-004"), None);
    }
}
