//! Faults of files and services of one node.

use super::{CNI_BINARY, CNI_KUBECONFIG, CONFLIST, Fault, UNREADY, Undo, hide};
use crate::testbed::Testbed;
use crate::testbed::error::Error;
use crate::testbed::node::{Node, Service};

/// The configuration that [`Testbed::foreign_conflist`] puts in front of Calico's.
pub const FOREIGN_CONFLIST: &str = "/etc/cni/net.d/00-foreign.conflist";

/// The link that pods of [`Foreign::Bridge`] are attached to.
pub(crate) const FOREIGN_BRIDGE: &str = "foreign0";

/// Another network plugin whose configuration is read before Calico's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// One that was uninstalled, all but its configuration: no pod can start.
    Uninstalled,
    /// One that works: pods start, in a network that no other node reaches.
    Bridge,
}

impl Foreign {
    fn conflist(self) -> String {
        let plugin = match self {
            Self::Uninstalled => r#"{"type": "weave-net", "hairpinMode": true}"#.to_owned(),
            Self::Bridge => format!(
                r#"{{"type": "bridge", "bridge": "{FOREIGN_BRIDGE}", "isGateway": true, "ipMasq": false,
     "ipam": {{"type": "host-local", "subnet": "10.88.0.0/24", "routes": [{{"dst": "0.0.0.0/0"}}]}}}}"#
            ),
        };
        format!(
            "{{\"cniVersion\": \"0.3.1\", \"name\": \"foreign\", \"plugins\": [\n    {plugin}\n]}}\n"
        )
    }
}

impl Testbed {
    /// Moves Calico's CNI plugin away.
    pub fn hide_cni_binary(&self, node: &Node) -> Result<Fault, Error> {
        hide(node, CNI_BINARY)
    }

    /// Moves Calico's CNI configuration away.
    pub fn hide_conflist(&self, node: &Node) -> Result<Fault, Error> {
        hide(node, CONFLIST)
    }

    /// Moves the CNI plugin's kubeconfig away.
    pub fn hide_cni_kubeconfig(&self, node: &Node) -> Result<Fault, Error> {
        hide(node, CNI_KUBECONFIG)
    }

    /// Puts the configuration of another network plugin in front of Calico's.
    pub fn foreign_conflist(&self, node: &Node, foreign: Foreign) -> Result<Fault, Error> {
        node.write(FOREIGN_CONFLIST, foreign.conflist().as_bytes(), "0644")?;
        Ok(Fault { node: node.clone(), undo: Some(Undo::Remove(FOREIGN_CONFLIST)) })
    }

    /// Makes the node's calico-node fail its readiness probe.
    pub fn make_unready(&self, node: &Node) -> Result<Fault, Error> {
        node.write(UNREADY, b"", "0644")?;
        Ok(Fault { node: node.clone(), undo: Some(Undo::Remove(UNREADY)) })
    }

    /// Stops a service until the fault is undone.
    pub fn stop_service(&self, node: &Node, service: Service) -> Result<Fault, Error> {
        node.stop_service(service)?;
        Ok(Fault { node: node.clone(), undo: Some(Undo::Start(service)) })
    }
}
