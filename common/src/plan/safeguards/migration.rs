//! CAL-GRD-008: Calico's datastore is locked or moves.

use super::{Safeguard, Situation, Verdict, judged};
use crate::findings::{Code, Evidence};
use crate::snapshot::{Flavour, Gap, Known};

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-008"),
    title: "Calico's datastore is locked, or is being migrated",
    explain: "While ClusterInformation says datastoreReady: false, or while Calico's objects move from one API group to the other, no \
pod's network can be taken down in order: evicted pods would hang. Finish the migration or the upgrade that locked it. \
Never flip datastoreReady by hand while one of them may be running.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    judged(evidence(situation))
}

fn evidence(situation: &Situation<'_>) -> Result<Vec<Evidence>, Gap> {
    let snapshot = situation.snapshot;
    match &snapshot.flavour {
        Known::Absent => return Ok(Vec::new()),
        Known::Unknown(gap) => return Err(gap.clone()),
        Known::Known(Flavour::Migrating) => {
            let what = "objects are in crd.projectcalico.org and in projectcalico.org";
            return Ok(vec![Evidence::new("API groups of Calico", what)]);
        }
        Known::Known(Flavour::CrdV1 | Flavour::NativeV3) => {}
    }
    let locked = |it: &&crate::calico::ClusterInformation| it.spec.datastore_ready == Some(false);
    let line = |it: &crate::calico::ClusterInformation| {
        let source = format!("ClusterInformation {}", it.metadata.name);
        Evidence::new(source, "datastoreReady: false")
    };
    let information = &snapshot.cluster_information;
    let found: Vec<Evidence> = information.items.iter().filter(locked).map(line).collect();
    match &information.gap {
        Some(gap) if found.is_empty() => Err(gap.clone()),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Scene;
    use super::*;
    use crate::snapshot::GapReason;

    #[test]
    fn a_locked_or_moving_datastore_blocks() {
        let mut locked = Scene::new();
        locked.snapshot.cluster_information.items[0].spec.datastore_ready = Some(false);
        assert!(locked.says("CAL-GRD-008").unwrap().contains("datastoreReady: false"));
        let mut moving = Scene::new();
        moving.snapshot.flavour = Known::Known(Flavour::Migrating);
        assert!(moving.says("CAL-GRD-008").is_some());
        let mut unseen = Scene::new();
        let gap = Gap::new("x", GapReason::Forbidden, "forbidden");
        unseen.snapshot.cluster_information.gap = Some(gap);
        assert_eq!(unseen.says("CAL-GRD-008").unwrap(), "unknown: forbidden");
    }

    #[test]
    fn an_open_one_does_not() {
        assert_eq!(Scene::new().says("CAL-GRD-008"), None);
        let mut silent = Scene::new();
        silent.snapshot.cluster_information.items[0].spec.datastore_ready = None;
        assert_eq!(silent.says("CAL-GRD-008"), None);
        let mut gone = Scene::new();
        gone.snapshot.flavour = Known::Absent;
        assert_eq!(gone.says("CAL-GRD-008"), None);
    }
}
