//! CAL-GRD-011: the Tigera operator would put calico-node back as it knows it.

use super::{Safeguard, Situation, Verdict};
use crate::findings::{Code, Evidence};
use crate::snapshot::{InstallMethod, Known};

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-011"),
    title: "the Tigera operator reverts what is changed on calico-node",
    explain: "What keeps calico-node off a node is a node affinity of its DaemonSet, and that DaemonSet is rendered by the Tigera \
operator from the Installation: a change of ours would be gone within seconds. Patch the Installation as the evidence says, \
wait until calico-node has been rolled out with it, and run this again: the DaemonSet then is left alone.",
    run,
};

/// What has to be run instead of our own change.
const PATCH: &str = "kubectl patch installation default --type=merge -p '{\"spec\":{\"calicoNodeDaemonSet\":{\"spec\":{\"template\":\
{\"spec\":{\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":\
[{\"matchExpressions\":[{\"key\":\"kubectl-calico/excluded\",\"operator\":\"DoesNotExist\"}]}]}}}}}}}}}'";

fn run(situation: &Situation<'_>) -> Verdict {
    let install = match &situation.snapshot.install {
        Known::Known(install) => install,
        Known::Absent => return Verdict::Pass,
        Known::Unknown(gap) => return Verdict::Unknown(gap.clone()),
    };
    let keeps_off = match &situation.circumstances.node_agent {
        Known::Known(agent) => agent.keeps_off_excluded(),
        Known::Absent => true,
        Known::Unknown(_) => false,
    };
    if install.method != InstallMethod::Operator || keeps_off {
        return Verdict::Pass;
    }
    let source = format!("DaemonSet {}/{}", install.namespace, install.daemon_set);
    Verdict::Block(vec![
        Evidence::new(source, "is rendered by the Tigera operator"),
        Evidence::new("instead", PATCH),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::excluded_affinity;
    use super::super::fixtures::Scene;
    use super::*;

    fn scene() -> Scene {
        let mut scene = Scene::new();
        let Known::Known(install) = &mut scene.snapshot.install else { unreachable!() };
        install.method = InstallMethod::Operator;
        scene
    }

    #[test]
    fn what_the_operator_would_revert_is_not_begun() {
        let why = scene().says("CAL-GRD-011").unwrap();
        assert!(why.contains("kubectl patch installation default"), "{why}");
        // What a person is told to run must be what we look for afterwards.
        let (_, patch) = PATCH.split_once("-p '").unwrap();
        let patch: serde_json::Value = serde_json::from_str(patch.trim_end_matches('\'')).unwrap();
        let affinity = patch.pointer("/spec/calicoNodeDaemonSet/spec/template/spec/affinity");
        assert_eq!(affinity, Some(&excluded_affinity(None)));
    }

    #[test]
    fn a_manifest_and_a_patched_installation_may_go_on() {
        assert_eq!(Scene::new().says("CAL-GRD-011"), None);
        let mut patched = scene();
        let Known::Known(agent) = &mut patched.circumstances.node_agent else { unreachable!() };
        agent.affinity = Some(excluded_affinity(None));
        assert_eq!(patched.says("CAL-GRD-011"), None);
        let mut gone = scene();
        gone.circumstances.node_agent = Known::Absent;
        assert_eq!(gone.says("CAL-GRD-011"), None, "nothing would be put back");
    }
}
