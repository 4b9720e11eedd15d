//! CAL-GRD-012: this is not the open-source Calico.

use super::{Safeguard, Situation, Verdict, judged, told};
use crate::findings::{Code, Evidence};
use crate::slim::DaemonSet;
use crate::snapshot::Gap;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-012"),
    title: "this is Calico Enterprise or Calico Cloud",
    explain: "The commercial products keep more on nodes and in the cluster than this program knows, and their support has a say in how \
they are removed. Follow the vendor's instructions.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let mut found = Vec::new();
    let installations = told(&situation.circumstances.installations);
    if let Ok(installations) = &installations {
        let others = installations
            .iter()
            .filter(|it| !matches!(it.spec.variant.as_str(), "" | "Calico"))
            .map(|it| {
                let source = format!("Installation {}", it.metadata.name);
                Evidence::new(source, format!("spec.variant: {}", it.spec.variant))
            });
        found.extend(others);
    }
    let sets = situation.snapshot.daemon_sets.items.iter();
    found.extend(sets.filter_map(|set| {
        let source = format!("DaemonSet {}/{}", set.metadata.namespace, set.metadata.name);
        Some(Evidence::new(source, format!("runs image {}", image(set)?)))
    }));
    match installations {
        Err(gap) if found.is_empty() => Err(gap),
        _ => Ok(found),
    }
}

/// The node agent's image of the commercial products, when the DaemonSet runs it.
fn image(set: &DaemonSet) -> Option<&str> {
    let mut images = set.spec.template.spec.containers.iter().map(|it| it.image.as_str());
    images.find(|image| {
        let name = image.rsplit('/').next().unwrap_or(image);
        name.split([':', '@']).next() == Some("cnx-node")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Installation;
    use super::super::fixtures::{Scene, forbidden, named};
    use crate::slim::TemplateContainer;
    use crate::snapshot::Known;

    fn variant(name: &str) -> Option<String> {
        let mut scene = Scene::new();
        let mut it = Installation { metadata: named("", "default"), ..Default::default() };
        it.spec.variant = name.into();
        scene.circumstances.installations = Known::Known(vec![it]);
        scene.says("CAL-GRD-012")
    }

    fn image(name: &str) -> Option<String> {
        let mut scene = Scene::new();
        let container = TemplateContainer { image: name.into(), ..TemplateContainer::default() };
        scene.snapshot.daemon_sets.items[0].spec.template.spec.containers = vec![container];
        scene.says("CAL-GRD-012")
    }

    #[test]
    fn commercial_variants_block() {
        assert!(variant("TigeraSecureEnterprise").unwrap().contains("TigeraSecureEnterprise"));
        assert!(variant("CalicoEnterprise").is_some());
        assert!(image("quay.io/tigera/cnx-node:v3.20.0").is_some());
    }

    #[test]
    fn open_source_calico_does_not() {
        assert_eq!(variant("Calico"), None);
        assert_eq!(variant(""), None);
        assert_eq!(image("docker.io/calico/node:v3.28.5"), None);
        let mut unseen = Scene::new();
        unseen.circumstances.installations = forbidden();
        assert_eq!(unseen.says("CAL-GRD-012").unwrap(), "unknown: forbidden");
    }
}
