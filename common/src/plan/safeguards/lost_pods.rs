//! CAL-GRD-009: pods, or what they keep, would be lost for good.

use super::{Safeguard, Situation, Verdict, blocked_by, daemon_pods, movable_pods};
use crate::findings::{Code, Evidence};
use crate::slim::Pod;

pub(super) const GUARD: Safeguard = Safeguard {
    code: Code("CAL-GRD-009"),
    title: "pods on the node, or their data, would be lost",
    explain: "A pod without a controller is not made anew elsewhere when it is evicted, and what a pod keeps in an emptyDir volume goes \
with it. Where emptyDir volumes hold nothing of worth, as most do, --delete-emptydir-data says so. Pods without a controller: \
save their manifests, or delete them yourself.",
    run,
};

fn run(situation: &Situation<'_>) -> Verdict {
    let (snapshot, intent) = (situation.snapshot, situation.intent);
    let mut evidence = Vec::new();
    for node in &intent.nodes {
        for pod in movable_pods(snapshot, node) {
            // One that is being deleted is lost already.
            if pod.metadata.controller().is_none() && !pod.is_terminating() {
                evidence.push(line(node, pod, "has no controller: nothing makes it anew"));
            }
        }
        if intent.delete_empty_dirs {
            continue;
        }
        for pod in movable_pods(snapshot, node).into_iter().chain(daemon_pods(snapshot, node)) {
            if !pod.is_terminating() && pod.spec.volumes.iter().any(|it| it.empty_dir.is_some()) {
                evidence.push(line(node, pod, "keeps data in an emptyDir volume"));
            }
        }
    }
    if let Some(gap) = snapshot.pods.gap.as_ref().filter(|_| evidence.is_empty()) {
        return Verdict::Unknown(gap.clone());
    }
    blocked_by(evidence)
}

fn line(node: &str, pod: &Pod, what: &str) -> Evidence {
    Evidence::new(format!("{node}: pod {}", pod.full_name()), what)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Scene, pod};
    use super::*;
    use crate::slim::{EmptyDir, PodVolume};

    fn scene(change: impl Fn(&mut Pod)) -> Scene {
        let mut scene = Scene::new();
        let mut more = pod("shop", "more", "node2", "ReplicaSet");
        change(&mut more);
        scene.snapshot.pods.items.push(more);
        scene
    }

    fn keeps_data(pod: &mut Pod) {
        pod.spec.volumes = vec![PodVolume { empty_dir: Some(EmptyDir::default()) }];
    }

    #[test]
    fn bare_pods_and_their_data_block() {
        let bare = |it: &mut Pod| it.metadata.owner_references.clear();
        let mut scene_of_bare = scene(bare);
        let why = scene_of_bare.says("CAL-GRD-009").unwrap();
        assert_eq!(why, "node2: pod shop/more: has no controller: nothing makes it anew");
        scene_of_bare.intent.delete_empty_dirs = true;
        assert!(scene_of_bare.says("CAL-GRD-009").is_some(), "that flag is about data");
        assert!(scene(keeps_data).says("CAL-GRD-009").unwrap().contains("emptyDir"));
    }

    #[test]
    fn pods_that_come_back_whole_do_not() {
        assert_eq!(scene(|_| {}).says("CAL-GRD-009"), None);
        let mut agreed = scene(keeps_data);
        agreed.intent.delete_empty_dirs = true;
        assert_eq!(agreed.says("CAL-GRD-009"), None);
        let bare_on_host = |it: &mut Pod| {
            it.metadata.owner_references.clear();
            it.spec.host_network = true;
        };
        assert_eq!(scene(bare_on_host).says("CAL-GRD-009"), None, "it stays where it is");
        let elsewhere = |it: &mut Pod| {
            it.metadata.owner_references.clear();
            it.spec.node_name = "node1".into();
        };
        assert_eq!(scene(elsewhere).says("CAL-GRD-009"), None);
    }
}
