//! Brings a node back to how `up` made it, whatever a test did to it and did not undo.

use super::Testbed;
use super::error::Error;
use super::faults::{ASIDE, HIDDEN, UNREADY};
use super::node::{Node, Service};
use super::wait::wait_until;
use std::time::Duration;

/// How long a node may take to work again after a repair.
const LIMIT: Duration = Duration::from_secs(90);

impl Testbed {
    /// Makes sure that a node works: services run, Calico's files are in place and accepted, the Node is Ready. Quick if it does.
    pub fn repair_node(&self, node: &Node) -> Result<(), Error> {
        for service in Service::ALL {
            if !node.service_runs(service)? {
                node.start_service(service)?;
            }
        }
        node.remove(UNREADY)?;
        let mut touched = false;
        for (path, _) in HIDDEN {
            let aside = format!("{path}{ASIDE}");
            if node.has(&aside)? {
                node.rename(&aside, path)?;
                touched = true;
            }
        }
        if touched || !has_good_credentials(node)? {
            self.restart_calico_node(node)?;
        }
        self.wait_node_ready(node)
    }

    /// Deletes the node's calico-node pod and waits for the next one, which writes Calico's files anew.
    pub fn restart_calico_node(&self, node: &Node) -> Result<(), Error> {
        let before = self.calico_node_uid(node)?;
        let select = calico_node_of(node);
        let mut delete = vec!["delete", "pod", "--wait=false"];
        delete.extend(select.iter().map(String::as_str));
        self.kubectl(&delete)?;
        let what = format!("a new calico-node is Ready on {}", node.name());
        wait_until(&what, LIMIT, || {
            let uid = self.calico_node_uid(node).map_err(|error| error.to_string())?;
            let ready = self.calico_node_field(
                node,
                "{.items[*].status.conditions[?(@.type==\"Ready\")].status}",
            );
            let ready = ready.map_err(|error| error.to_string())?;
            if uid.is_empty() || uid == before || ready != "True" {
                Err(format!("uid {uid}, Ready {ready}"))
            } else {
                Ok(())
            }
        })
    }

    /// Waits until the Node object says Ready.
    pub fn wait_node_ready(&self, node: &Node) -> Result<(), Error> {
        let limit = format!("--timeout={}s", LIMIT.as_secs());
        self.kubectl(&["wait", "--for=condition=Ready", "node", node.name(), &limit]).map(drop)
    }

    fn calico_node_uid(&self, node: &Node) -> Result<String, Error> {
        self.calico_node_field(node, "{.items[*].metadata.uid}")
    }

    fn calico_node_field(&self, node: &Node, jsonpath: &str) -> Result<String, Error> {
        let select = calico_node_of(node);
        let mut what = vec!["pod"];
        what.extend(select.iter().map(String::as_str));
        self.field(&what, jsonpath)
    }
}

/// Asks the API server what Calico's plugin asks it, with the node's own credentials.
pub(super) fn has_good_credentials(node: &Node) -> Result<bool, Error> {
    let script = "/opt/testbed/bin/kubebox kubectl --kubeconfig=/etc/cni/net.d/calico-kubeconfig --request-timeout=10s \
                  get --raw /apis/crd.projectcalico.org/v1/clusterinformations/default";
    Ok(node.run(&["/bin/sh", "-c", script])?.is_success())
}

fn calico_node_of(node: &Node) -> [String; 3] {
    [
        "--namespace=kube-system".to_owned(),
        "--selector=k8s-app=calico-node".to_owned(),
        format!("--field-selector=spec.nodeName={}", node.name()),
    ]
}
