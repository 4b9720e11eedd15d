//! A calico-node that cannot start, because its images are gone and no registry can be reached.

use super::{Fault, Undo};
use crate::testbed::Testbed;
use crate::testbed::error::Error;
use crate::testbed::node::Node;
use crate::testbed::repair::{calico_node_field, delete_calico_node};
use crate::testbed::wait::wait_until;
use std::time::Duration;

/// The images of calico-node's containers, and the archives on the node that they came from.
pub(crate) const CALICO_IMAGES: [(&str, &str); 2] = [
    ("docker.io/calico/node:v3.28.4", "/opt/testbed/images/calico-node.tar"),
    ("docker.io/calico/cni:v3.28.4", "/opt/testbed/images/calico-cni.tar"),
];

/// Removes every name of the images `$@`, also the one by digest that the runtime adds.
const REMOVE: &str = r#"for image; do
  digest=$(/usr/bin/ctr -n k8s.io images ls "name==$image" | while read -r name type digest rest; do
    [ "$name" = "$image" ] && echo "$digest"; done)
  [ -n "$digest" ] || continue
  /usr/bin/ctr -n k8s.io images ls -q "target.digest==$digest" | while read -r name; do
    /usr/bin/ctr -n k8s.io images rm --sync "$name" || exit 1; done || exit 1
done"#;

/// How long the kubelet may take to find that it cannot start a pod.
const LIMIT: Duration = Duration::from_secs(60);

impl Testbed {
    /// Removes calico-node's images from the node and deletes its pod, so that it must start and cannot: there is no registry.
    ///
    /// Undone, the images are back; the kubelet tries again within minutes, [`Testbed::repair_node`] at once.
    pub fn remove_calico_image(&self, node: &Node) -> Result<Fault, Error> {
        // Made first: if something fails on the way, this puts back what was removed until then.
        let fault = Fault { node: node.clone(), undo: Some(Undo::ImportImages) };
        let names: Vec<&str> = CALICO_IMAGES.iter().map(|(name, _)| *name).collect();
        node.script(REMOVE, &names)?;
        delete_calico_node(self, node)?;
        let what = format!("calico-node cannot start on {}", node.name());
        wait_until(&what, LIMIT, || {
            let waiting = "{.items[*].status.initContainerStatuses[0].state.waiting.reason}";
            let why = calico_node_field(self, node, waiting).map_err(|error| error.to_string())?;
            match why.as_str() {
                "ErrImagePull" | "ImagePullBackOff" => Ok(()),
                _ => Err(why),
            }
        })?;
        Ok(fault)
    }
}

/// Puts back those images that are not there.
pub(crate) fn import_images(node: &Node) -> Result<(), Error> {
    for (name, archive) in CALICO_IMAGES {
        let there = node.check(&[
            "/usr/bin/ctr",
            "-n",
            "k8s.io",
            "images",
            "ls",
            "-q",
            &format!("name=={name}"),
        ])?;
        if there.trim() != name {
            node.check(&["/usr/bin/ctr", "-n", "k8s.io", "images", "import", archive])?;
        }
    }
    Ok(())
}
