//! Which image a node pod can run: one that is on the node already.

use super::ImageChoice;
use crate::slim::{Node, Pod};

/// Images that are tried at most.
const TRIES: usize = 4;

/// Names of images to try, best first. Names of `node.status.images` are used as they stand there, because the kubelet
/// must recognise them without asking a registry.
pub(super) fn candidates(choice: &ImageChoice, node: &Node, agent: Option<&Pod>) -> Vec<String> {
    if let ImageChoice::Named(image) = choice {
        return vec![image.clone()];
    }
    let used = agent
        .and_then(|pod| {
            pod.spec.containers.iter().find(|it| it.name == crate::node::PROBE_CONTAINER)
        })
        .map(|container| container.image.clone())
        .filter(|image| !image.is_empty());
    let present = || node.status.images.iter().map(|image| &image.names);
    let mut chosen: Vec<String> = Vec::new();
    let mut add = |names: &[String], wanted: &dyn Fn(&str) -> bool| {
        let is_chosen = names.iter().any(|name| chosen.contains(name));
        if let Some(name) = names.iter().find(|name| wanted(name)).filter(|_| !is_chosen) {
            chosen.push(name.clone());
        }
    };
    if let Some(used) = &used {
        let used = full_name(used);
        present().for_each(|names| add(names, &|name| full_name(name) == used));
    }
    for part in ["/calico/node", "/calico/", "kube-proxy", ""] {
        present().for_each(|names| add(names, &|name| full_name(name).contains(part)));
    }
    chosen.truncate(TRIES);
    // The list holds fifty images at most, so the agent's own may be missing from it.
    chosen.extend(used.filter(|used| chosen.iter().all(|it| full_name(it) != full_name(used))));
    chosen
}

/// The name with its registry, as the container runtime writes it: `calico/node:v3` is `docker.io/calico/node:v3`.
fn full_name(name: &str) -> String {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    match (first, is_registry) {
        (_, true) => name.to_owned(),
        ("", _) => format!("docker.io/library/{rest}"),
        _ => format!("docker.io/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(images: &[&[&str]]) -> Node {
        let images: Vec<_> = images.iter().map(|names| json!({ "names": names })).collect();
        serde_json::from_value(json!({ "status": { "images": images } })).unwrap()
    }

    fn agent(image: &str) -> Pod {
        let spec = json!({ "containers": [{ "name": "calico-node", "image": image }] });
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    const SHOP: &[&str] = &["shop.example/big@sha256:1", "shop.example/big:1"];
    const NODE: &[&str] = &["docker.io/calico/node@sha256:2", "docker.io/calico/node:v3.28.4"];
    const CNI: &[&str] = &["docker.io/calico/cni:v3.28.4"];
    const PROXY: &[&str] = &["registry.k8s.io/kube-proxy:v1.34.4"];

    #[test]
    fn the_agents_image_goes_first_by_the_nodes_own_name() {
        let found = candidates(
            &ImageChoice::OnNode,
            &node(&[SHOP, PROXY, CNI, NODE]),
            Some(&agent("calico/node:v3.28.4")),
        );
        assert_eq!(
            found,
            [
                "docker.io/calico/node:v3.28.4",
                "docker.io/calico/cni:v3.28.4",
                "registry.k8s.io/kube-proxy:v1.34.4",
                "shop.example/big@sha256:1",
            ]
        );
    }

    #[test]
    fn any_image_will_do() {
        let found =
            candidates(&ImageChoice::OnNode, &node(&[SHOP]), Some(&agent("calico/node:gone")));
        assert_eq!(found, ["shop.example/big@sha256:1", "calico/node:gone"]);
        let mirrored = node(&[SHOP, &["reg.example:5000/mirror/calico/node:v3"]]);
        let found = candidates(&ImageChoice::OnNode, &mirrored, None);
        assert_eq!(found[0], "reg.example:5000/mirror/calico/node:v3");
        assert_eq!(candidates(&ImageChoice::OnNode, &node(&[]), None), [""; 0]);
    }

    #[test]
    fn a_named_image_is_the_only_one() {
        let choice = ImageChoice::Named("x:1".into());
        assert_eq!(candidates(&choice, &node(&[SHOP, NODE]), None), ["x:1"]);
    }

    #[test]
    fn short_names_are_names_of_the_default_registry() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox"),
            ("calico/node:v3", "docker.io/calico/node:v3"),
            ("localhost/x", "localhost/x"),
            ("r.example/x", "r.example/x"),
        ] {
            assert_eq!(full_name(short), full);
        }
    }
}
