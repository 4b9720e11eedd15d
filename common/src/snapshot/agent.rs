//! Whether calico-node, Calico's node agent, could start on a node.

use super::{Known, Snapshot};
use crate::slim::{DaemonSet, Node, Pod};

/// Images that a kubelet lists at most (its `nodeStatusMaxImages`); with fewer, the list is whole.
const LISTED_IMAGES: usize = 50;

/// Why a container waits that has not failed: everybody waits so for a while.
const ON_ITS_WAY: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];

impl Snapshot {
    /// Why calico-node would not come up on `node` if its pod were deleted now; none when nothing speaks against it.
    ///
    /// A pod that runs although its image is gone from the node lives on only as long as nobody deletes it.
    pub fn calico_node_cannot_start(&self, node: &str) -> Option<String> {
        let Some(pod) = self.calico_node_on(node) else {
            return Some("there is no calico-node pod on it".to_owned());
        };
        self.nobody_puts_back(pod).or_else(|| failing(pod)).or_else(|| {
            let node = self.nodes.items.iter().find(|it| it.metadata.name == node)?;
            let image = missing_image(node, pod)?;
            Some(format!("image {image} is not on the node any more"))
        })
    }

    fn nobody_puts_back(&self, pod: &Pod) -> Option<String> {
        let Some(owner) = pod.metadata.controller().filter(|it| it.kind == "DaemonSet") else {
            let name = pod.full_name();
            return Some(format!("calico-node pod {name} belongs to no DaemonSet"));
        };
        let is_owner = |it: &DaemonSet| it.metadata.uid == owner.uid;
        match self.daemon_sets.find("cluster/daemonsets.apps.json", is_owner) {
            Known::Absent => Some(format!("DaemonSet {} no longer exists", owner.name)),
            Known::Known(set) if set.metadata.deletion_timestamp.is_some() => {
                Some(format!("DaemonSet {} is being deleted", owner.name))
            }
            // Who cannot see it is told so by the step's own guard.
            Known::Known(_) | Known::Unknown(_) => None,
        }
    }
}

/// The first container that does not start, in the order in which they start, and what the kubelet says of it.
fn failing(pod: &Pod) -> Option<String> {
    let status = &pod.status;
    let mut all = status.init_container_statuses.iter().chain(&status.container_statuses);
    let (container, waiting) = all.find_map(|it| {
        let waiting = it.state.waiting.as_ref()?;
        (!ON_ITS_WAY.contains(&waiting.reason.as_str())).then_some((&it.name, waiting))
    })?;
    let name = pod.full_name();
    let reason = &waiting.reason;
    Some(format!("container {container} of calico-node pod {name} does not start: {reason}"))
}

/// An image of the pod that the node certainly does not have.
fn missing_image<'a>(node: &Node, pod: &'a Pod) -> Option<&'a str> {
    let images = &node.status.images;
    if images.is_empty() || images.len() >= LISTED_IMAGES {
        return None;
    }
    let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    let is_there = |image: &str| {
        images.iter().flat_map(|it| &it.names).any(|name| {
            // `calico/node:v3.28.4` is listed as `docker.io/calico/node:v3.28.4`.
            name == image || name.strip_suffix(image).is_some_and(|it| it.ends_with('/'))
        })
    };
    containers.map(|it| it.image.as_str()).find(|image| !image.is_empty() && !is_there(image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::{Container, ContainerImage, OwnerReference};
    use crate::snapshot::SnapshotBuilder;
    use jiff::Timestamp;

    fn snapshot(change: impl FnOnce(&mut Node)) -> Snapshot {
        let mut it = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
        let (mut node, mut pod) = (Node::default(), Pod::default());
        node.metadata.name = "node1".into();
        node.status.images =
            vec![ContainerImage { names: vec!["docker.io/calico/node:v3.28.4".into()] }];
        pod.metadata.labels.insert("k8s-app".into(), "calico-node".into());
        pod.metadata.owner_references.push(OwnerReference {
            kind: "DaemonSet".into(),
            controller: true,
            ..OwnerReference::default()
        });
        pod.spec.node_name = "node1".into();
        pod.spec.containers =
            vec![Container { name: "calico-node".into(), image: "calico/node:v3.28.4".into() }];
        change(&mut node);
        it.nodes.items.push(node);
        it.pods.items.push(pod);
        it
    }

    #[test]
    fn without_its_image_it_cannot_start() {
        let says = |snapshot: Snapshot| snapshot.calico_node_cannot_start("node1");
        assert_eq!(says(snapshot(|_| {})), None);
        // Not all nodes list their images, and none lists more than fifty.
        assert_eq!(says(snapshot(|node| node.status.images.clear())), None);
        let many = |node: &mut Node| node.status.images = vec![ContainerImage::default(); 50];
        assert_eq!(says(snapshot(many)), None);
        let gone = |node: &mut Node| {
            node.status.images[0].names = vec!["docker.io/evilcalico/node:v3.28.4".into()];
        };
        let why = says(snapshot(gone)).unwrap();
        assert_eq!(why, "image calico/node:v3.28.4 is not on the node any more");
    }
}
