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
    let agent = node_agent(situation);
    if let Some(set) = agent {
        let is_canal = |it: &str| it == "canal";
        if is_canal(&set.metadata.name)
            || set.metadata.labels.get("k8s-app").is_some_and(|it| is_canal(it))
        {
            found.push(Evidence::new(named(set), "is Canal: the network is flannel's"));
        }
    }
    let prefixes = prefixes(situation, agent);
    if let Ok(prefixes) = &prefixes {
        found.extend(prefixes.iter().cloned());
    }
    match installations.err().or(prefixes.err()) {
        Some(gap) if found.is_empty() => Err(gap),
        _ => Ok(found),
    }
}

/// Where Calico is told to look at another plugin's interfaces only: in the environment, which wins over what is stored; else
/// for one of the nodes; else for all.
fn prefixes(situation: &Situation<'_>, agent: Option<&DaemonSet>) -> Result<Vec<Evidence>, Gap> {
    let is_anothers = |prefixes: &str| !prefixes.split(',').any(|it| it.trim() == OWN_PREFIX);
    if let Some(set) = agent
        && let Some(prefixes) = set.spec.template.spec.env("FELIX_INTERFACEPREFIX")
    {
        let line = Evidence::new(named(set), format!("FELIX_INTERFACEPREFIX={prefixes}"));
        return Ok(if is_anothers(prefixes) { vec![line] } else { Vec::new() });
    }
    let all = told(&situation.circumstances.felix)?;
    let of = |name: &str| {
        let one = all.iter().find(|it| it.metadata.name == name)?;
        one.spec.interface_prefix.as_deref().filter(|it| !it.is_empty())
    };
    let mut found = Vec::new();
    for node in &situation.intent.nodes {
        let own = format!("node.{node}");
        let said = of(&own).map(|it| (own.as_str(), it));
        let Some((name, prefixes)) = said.or_else(|| Some(("default", of("default")?))) else {
            continue;
        };
        if is_anothers(prefixes) {
            let source = format!("FelixConfiguration {name}");
            found.push(Evidence::new(source, format!("interfacePrefix: {prefixes}")));
        }
    }
    found.dedup();
    Ok(found)
}

fn named(set: &DaemonSet) -> String {
    format!("DaemonSet {}/{}", set.metadata.namespace, set.metadata.name)
}

fn node_agent<'a>(situation: &Situation<'a>) -> Option<&'a DaemonSet> {
    let install = situation.snapshot.install.known()?;
    situation.snapshot.daemon_sets.items.iter().find(|it| {
        it.metadata.namespace == install.namespace && it.metadata.name == install.daemon_set
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Scene, forbidden, named};
    use super::super::{FelixConfiguration, Installation};
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

    /// What is said when these FelixConfigurations have these prefixes.
    fn stored(all: &[(&str, &str)]) -> Option<String> {
        let mut scene = Scene::new();
        let one = |(name, prefix): &(&str, &str)| {
            let mut it = FelixConfiguration { metadata: named("", name), ..Default::default() };
            it.spec.interface_prefix = Some((*prefix).to_owned());
            it
        };
        scene.circumstances.felix = Known::Known(all.iter().map(one).collect());
        scene.says("CAL-GRD-007")
    }

    #[test]
    fn what_is_stored_for_the_node_wins_over_what_is_for_all() {
        let why = stored(&[("default", "eni")]).unwrap();
        assert_eq!(why, "FelixConfiguration default: interfacePrefix: eni");
        assert_eq!(stored(&[("default", "eni"), ("node.node2", "cali")]), None);
        assert!(stored(&[("node.node2", "azv")]).unwrap().contains("node.node2"));
        assert_eq!(stored(&[("node.node1", "eni"), ("default", "cali,tap"), ("x", "eni")]), None);
        assert_eq!(stored(&[("default", "")]), None, "as if it were not said");
        let mut unseen = Scene::new();
        unseen.circumstances.felix = forbidden();
        assert_eq!(unseen.says("CAL-GRD-007").unwrap(), "unknown: forbidden");
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
