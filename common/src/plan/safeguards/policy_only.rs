//! CAL-GRD-007: Calico only does policy; the network is another's.

use super::{Safeguard, Situation, Verdict, judged, told};
use crate::findings::{Code, Evidence};
use crate::slim::DaemonSet;
use crate::snapshot::Gap;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-007"),
    title: "Calico only enforces policy here",
    explain: "The pod network is another plugin's (a cloud's, or flannel's with Canal); Calico adds network policy. Taking Calico off \
the node opens everything that policies close there, while pods go on running, and nothing of the pod network is Calico's \
to remove. List the policies first (kubectl get networkpolicies -A) and decide whether they may stop to work.",
    run,
};

/// Prefix of the interfaces that Calico makes itself. A policy-only install is told to look at another's.
const OWN_PREFIX: &str = "cali";

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let mut found = Vec::new();
    let installations = told(&situation.circumstances.installations);
    if let Ok(installations) = &installations {
        let others = installations
            .iter()
            .filter(|it| !matches!(it.spec.cni.kind.as_str(), "" | "Calico"))
            .map(|it| {
                let source = format!("Installation {}", it.metadata.name);
                Evidence::new(source, format!("spec.cni.type: {}", it.spec.cni.kind))
            });
        found.extend(others);
    }
    if let Some(set) = node_agent(situation) {
        let source = format!("DaemonSet {}/{}", set.metadata.namespace, set.metadata.name);
        let is_canal = |it: &str| it == "canal";
        if is_canal(&set.metadata.name)
            || set.metadata.labels.get("k8s-app").is_some_and(|it| is_canal(it))
        {
            found.push(Evidence::new(&source, "is Canal: the network is flannel's"));
        }
        let prefix = set.spec.template.spec.env("FELIX_INTERFACEPREFIX");
        if let Some(prefix) = prefix.filter(|it| !it.split(',').any(|one| one == OWN_PREFIX)) {
            found.push(Evidence::new(&source, format!("FELIX_INTERFACEPREFIX={prefix}")));
        }
    }
    match installations {
        Err(gap) if found.is_empty() => Err(gap),
        _ => Ok(found),
    }
}

fn node_agent<'a>(situation: &Situation<'a>) -> Option<&'a DaemonSet> {
    let install = situation.snapshot.install.known()?;
    situation.snapshot.daemon_sets.items.iter().find(|it| {
        it.metadata.namespace == install.namespace && it.metadata.name == install.daemon_set
    })
}

#[cfg(test)]
mod tests {
    use super::super::Installation;
    use super::super::fixtures::{Scene, forbidden, named};
    use crate::slim::{EnvironmentVariable, TemplateContainer};
    use crate::snapshot::Known;

    fn installed(kind: &str) -> Option<String> {
        let mut scene = Scene::new();
        let mut it = Installation { metadata: named("", "default"), ..Default::default() };
        it.spec.cni.kind = kind.into();
        scene.circumstances.installations = Known::Known(vec![it]);
        scene.says("CAL-GRD-007")
    }

    fn prefix(value: &str) -> Option<String> {
        let mut scene = Scene::new();
        let variable = EnvironmentVariable {
            name: "FELIX_INTERFACEPREFIX".into(),
            value: value.into(),
            ..EnvironmentVariable::default()
        };
        let container = TemplateContainer { env: vec![variable], ..TemplateContainer::default() };
        scene.snapshot.daemon_sets.items[0].spec.template.spec.containers = vec![container];
        scene.says("CAL-GRD-007")
    }

    #[test]
    fn a_network_that_is_anothers_blocks() {
        assert_eq!(
            installed("AmazonVPC").unwrap(),
            "Installation default: spec.cni.type: AmazonVPC"
        );
        assert!(prefix("eni").unwrap().contains("FELIX_INTERFACEPREFIX=eni"));
        let mut canal = Scene::new();
        canal.snapshot.daemon_sets.items[0]
            .metadata
            .labels
            .insert("k8s-app".into(), "canal".into());
        assert!(canal.says("CAL-GRD-007").unwrap().contains("flannel's"));
    }

    #[test]
    fn calicos_own_network_does_not() {
        assert_eq!(installed("Calico"), None);
        assert_eq!(installed(""), None);
        assert_eq!(prefix("cali"), None);
        assert_eq!(prefix("cali,tap"), None);
        let mut unseen = Scene::new();
        unseen.circumstances.installations = forbidden();
        assert_eq!(unseen.says("CAL-GRD-007").unwrap(), "unknown: forbidden");
    }
}
