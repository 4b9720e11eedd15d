//! The pods of a node that have to go before its network does.

use crate::slim::Pod;
use crate::snapshot::Snapshot;

/// Annotation of the API's picture of a static pod: only its node's kubelet can end it.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Pods on the node that use the pod network and that another node may run instead: they are evicted. Sorted by name.
pub fn movable_pods<'a>(snapshot: &'a Snapshot, node: &str) -> Vec<&'a Pod> {
    pods(snapshot, node, |pod| !is_of_daemon_set(pod))
}

/// Pods on the node that use the pod network and that their DaemonSet puts back there at once. Sorted by name.
pub fn daemon_pods<'a>(snapshot: &'a Snapshot, node: &str) -> Vec<&'a Pod> {
    pods(snapshot, node, is_of_daemon_set)
}

fn pods<'a>(snapshot: &'a Snapshot, node: &str, which: impl Fn(&Pod) -> bool) -> Vec<&'a Pod> {
    let has_to_go = |pod: &&Pod| {
        pod.spec.node_name == node
            && !pod.spec.host_network
            && !pod.is_finished()
            && !pod.metadata.annotations.contains_key(MIRROR)
            && which(pod)
    };
    let mut pods: Vec<&Pod> = snapshot.pods.items.iter().filter(has_to_go).collect();
    pods.sort_by_key(|pod| (&pod.metadata.namespace, &pod.metadata.name));
    pods
}

fn is_of_daemon_set(pod: &Pod) -> bool {
    pod.metadata.controller().is_some_and(|owner| owner.kind == "DaemonSet")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Scene, pod};
    use super::*;

    #[test]
    fn only_pods_with_a_network_have_to_go() {
        let mut scene = Scene::new();
        let mut add = |name: &str, change: fn(&mut Pod)| {
            let mut it = pod("shop", name, "node2", "ReplicaSet");
            change(&mut it);
            scene.snapshot.pods.items.push(it);
        };
        add("host", |it| it.spec.host_network = true);
        add("done", |it| it.status.phase = "Succeeded".into());
        add("static", |it| {
            it.metadata.annotations.insert(MIRROR.into(), "x".into());
        });
        add("elsewhere", |it| it.spec.node_name = "node1".into());
        add("daemon", |it| it.metadata.owner_references[0].kind = "DaemonSet".into());
        let names =
            |pods: Vec<&Pod>| pods.iter().map(|it| it.metadata.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(movable_pods(&scene.snapshot, "node2")), ["web-1"]);
        assert_eq!(names(daemon_pods(&scene.snapshot, "node2")), ["daemon"]);
    }
}
