//! Breaks things, the way they break in the field.

mod cluster;
mod credentials;
mod files;
mod image;
mod sandboxes;

pub use cluster::ClusterFault;
pub use credentials::Renewal;
pub(super) use files::FOREIGN_BRIDGE;
pub use files::{FOREIGN_CONFLIST, Foreign};
pub(super) use image::{CALICO_IMAGES, import_images};
pub(super) use sandboxes::STUCK;
pub use sandboxes::Sandbox;

use super::error::Error;
use super::node::{Node, Service};

/// The kubeconfig of Calico's CNI plugin on a node.
pub const CNI_KUBECONFIG: &str = "/etc/cni/net.d/calico-kubeconfig";
/// Calico's CNI configuration on a node.
pub const CONFLIST: &str = "/etc/cni/net.d/10-calico.conflist";
/// Calico's CNI plugin on a node.
pub const CNI_BINARY: &str = "/opt/cni/bin/calico";

/// Files that faults move away, and what that does.
pub(crate) const HIDDEN: [(&str, &str); 3] = [
    (CONFLIST, "conflist moved away"),
    (CNI_BINARY, "CNI plugin moved away"),
    (CNI_KUBECONFIG, "CNI kubeconfig moved away"),
];
/// What such a file is called meanwhile; it is no name that containerd reads.
pub(crate) const ASIDE: &str = ".testbed-aside";

/// While this file is there, the stand-in for calico-node says that it is not ready (standin/README.md).
pub(super) const UNREADY: &str = "/var/run/calico/standin-unready";

/// Something broken on a node, put right when dropped, also by a panicking test.
#[derive(Debug)]
#[must_use = "the fault is undone when this is dropped"]
pub struct Fault {
    node: Node,
    undo: Option<Undo>,
}

/// How a node gets back what it had.
#[derive(Debug)]
enum Undo {
    MoveBack(&'static str),
    Write { path: &'static str, content: Vec<u8> },
    Start(Service),
    Remove(&'static str),
    RemoveAll(Vec<String>),
    ImportImages,
}

impl Fault {
    /// Puts right what was broken; says if that fails.
    pub fn undo(mut self) -> Result<(), Error> {
        self.heal()
    }

    /// Leaves it broken: what the test does next repairs it.
    pub fn forget(mut self) {
        self.undo = None;
    }

    fn heal(&mut self) -> Result<(), Error> {
        match self.undo.take() {
            None => Ok(()),
            // Who moved it back already, or replaced it, is not to be disturbed.
            Some(Undo::MoveBack(path)) if self.node.has(path)? => {
                self.node.remove(&format!("{path}{ASIDE}"))
            }
            // Renamed within the folder: containerd notices that, but not a file that is moved in from elsewhere.
            Some(Undo::MoveBack(path)) => self.node.rename(&format!("{path}{ASIDE}"), path),
            Some(Undo::Write { path, content }) => self.node.write(path, &content, "0600"),
            Some(Undo::Remove(path)) => self.node.remove(path),
            Some(Undo::RemoveAll(paths)) => {
                paths.iter().try_for_each(|path| self.node.remove(path))
            }
            Some(Undo::ImportImages) => import_images(&self.node),
            Some(Undo::Start(service)) => self.node.start_service(service),
        }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // The next one to lease the node repairs what this could not.
        drop(self.heal());
    }
}

fn hide(node: &Node, path: &'static str) -> Result<Fault, Error> {
    node.rename(path, &format!("{path}{ASIDE}"))?;
    Ok(Fault { node: node.clone(), undo: Some(Undo::MoveBack(path)) })
}
