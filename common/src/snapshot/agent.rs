//! Whether calico-node, Calico's node agent, could start on a node.

use super::Snapshot;
use crate::slim::{ContainerStatus, Node, Pod};

/// Images that a kubelet lists at most (its `nodeStatusMaxImages`); with fewer, the list is whole.
const LISTED_IMAGES: usize = 50;

/// Reasons for which a container waits that no new pod of the same template overcomes.
const HOPELESS: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
];

impl Snapshot {
    /// Why calico-node would not start on `node` if its pod were replaced now; none when nothing speaks against it.
    ///
    /// A pod that runs although its image is gone from the node lives on only as long as nobody deletes it.
    pub fn calico_node_cannot_start(&self, node: &str) -> Option<String> {
        let Some(pod) = self.calico_node_on(node) else {
            return Some("no calico-node pod is bound to the node".to_owned());
        };
        let statuses = &pod.status;
        let init = statuses.init_container_statuses.iter().map(|it| (it, true));
        let main = statuses.container_statuses.iter().map(|it| (it, false));
        let hopeless = init.chain(main).find_map(|(it, is_init)| waits_in_vain(it, is_init));
        hopeless.or_else(|| {
            let nodes = self.nodes.items.iter();
            let node = nodes.into_iter().find(|it| it.metadata.name == node)?;
            let image = missing_image(node, pod)?;
            Some(format!("image {image} is not on the node any more"))
        })
    }
}

/// The init container writes what is to be repaired: when it cannot, a restart cannot.
fn waits_in_vain(status: &ContainerStatus, is_init: bool) -> Option<String> {
    let waiting = status.state.waiting.as_ref()?;
    let reason = waiting.reason.as_str();
    let in_vain = HOPELESS.contains(&reason) || (is_init && reason == "CrashLoopBackOff");
    in_vain.then(|| format!("container {} waits: {reason}", status.name))
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
    use crate::slim::{Container, ContainerImage, ContainerState, StateDetail};
    use crate::snapshot::SnapshotBuilder;
    use jiff::Timestamp;

    fn snapshot(change: impl FnOnce(&mut Node, &mut Pod)) -> Snapshot {
        let mut it = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
        let (mut node, mut pod) = (Node::default(), Pod::default());
        node.metadata.name = "node1".into();
        node.status.images =
            vec![ContainerImage { names: vec!["docker.io/calico/node:v3.28.4".into()] }];
        pod.metadata.labels.insert("k8s-app".into(), "calico-node".into());
        pod.spec.node_name = "node1".into();
        pod.spec.containers =
            vec![Container { name: "calico-node".into(), image: "calico/node:v3.28.4".into() }];
        change(&mut node, &mut pod);
        it.nodes.items.push(node);
        it.pods.items.push(pod);
        it
    }

    fn waiting(reason: &str) -> ContainerStatus {
        let detail = StateDetail { reason: reason.into(), ..StateDetail::default() };
        let state = ContainerState { waiting: Some(detail), ..ContainerState::default() };
        ContainerStatus { name: "c".into(), state, ..ContainerStatus::default() }
    }

    fn says(snapshot: &Snapshot) -> Option<String> {
        snapshot.calico_node_cannot_start("node1")
    }

    #[test]
    fn a_pod_that_runs_can_be_replaced() {
        assert_eq!(says(&snapshot(|_, _| {})), None);
        // Not all nodes list their images, and none lists more than fifty.
        assert_eq!(says(&snapshot(|node, _| node.status.images.clear())), None);
        let many = |node: &mut Node, _: &mut Pod| {
            node.status.images = vec![ContainerImage::default(); 50];
        };
        assert_eq!(says(&snapshot(many)), None);
        let crashing = |_: &mut Node, pod: &mut Pod| {
            pod.status.container_statuses = vec![waiting("CrashLoopBackOff")];
        };
        assert_eq!(says(&snapshot(crashing)), None, "its init container did its work");
    }

    #[test]
    fn without_its_image_it_cannot_start() {
        let gone = |node: &mut Node, _: &mut Pod| {
            node.status.images[0].names = vec!["docker.io/evilcalico/node:v3.28.4".into()];
        };
        let why = says(&snapshot(gone)).unwrap();
        assert_eq!(why, "image calico/node:v3.28.4 is not on the node any more");
        for reason in ["ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"] {
            let stuck = |_: &mut Node, pod: &mut Pod| {
                pod.status.init_container_statuses = vec![waiting(reason)];
            };
            assert!(says(&snapshot(stuck)).unwrap().contains(reason));
        }
    }

    #[test]
    fn without_a_pod_nothing_can_be_replaced() {
        let elsewhere = |_: &mut Node, pod: &mut Pod| pod.spec.node_name = "node2".into();
        assert!(says(&snapshot(elsewhere)).unwrap().contains("no calico-node pod"));
    }
}
