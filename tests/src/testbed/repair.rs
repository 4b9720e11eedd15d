//! Brings a node back to how `up` made it, whatever a test did to it and did not undo.

use super::Testbed;
use super::bpf::{BPF_DIRTY, OLD_KERNEL};
use super::error::Error;
use super::faults::{
    ASIDE, CALICO_IMAGES, FOREIGN_BRIDGE, FOREIGN_CONFLIST, HIDDEN, STUCK, UNREADY, import_images,
};
use super::node::{Node, Service};
use super::wait::wait_until;
use std::time::Duration;

/// How long a node may take to work again after a repair.
const LIMIT: Duration = Duration::from_secs(90);

/// Removes what other faults, and a doctor that was killed, leave on a node.
const LEFTOVERS: &str = r#"rm -f "$1" /etc/cni/net.d/*kubectl-calico-* /opt/cni/bin/*kubectl-calico-*
[ ! -e "/sys/class/net/$2" ] || /usr/sbin/ip link delete "$2"
rm -rf "$3"
rm -f "$4" "$5""#;

impl Testbed {
    /// Makes sure that a node works: services run, Calico's files are in place and accepted, the Node is Ready. Quick if it does.
    pub fn repair_node(&self, node: &Node) -> Result<(), Error> {
        for service in Service::ALL {
            if !node.service_runs(service)? {
                if service == Service::KubeProxy {
                    self.restore_kube_proxy()?;
                }
                node.start_service(service)?;
            }
        }
        self.end_abandonment(node)?;
        self.restore_rules(node)?;
        node.remove(UNREADY)?;
        let leftovers = [FOREIGN_CONFLIST, FOREIGN_BRIDGE, STUCK, OLD_KERNEL, BPF_DIRTY];
        node.script(LEFTOVERS, &leftovers)?;
        let mut touched = !has_calico_images(node)?;
        if touched {
            import_images(node)?;
        }
        for (path, _) in HIDDEN {
            let aside = format!("{path}{ASIDE}");
            if node.has(&aside)? {
                node.rename(&aside, path)?;
                touched = true;
            }
        }
        touched |= calico_node_field(self, node, "{.items[*].status.phase}")? != "Running";
        if touched || !has_good_credentials(node)? {
            self.restart_calico_node(node)?;
        }
        self.end_bpf(node)?;
        self.wait_node_ready(node)
    }

    /// Deletes the node's calico-node pod and waits for the next one, which writes Calico's files anew.
    pub fn restart_calico_node(&self, node: &Node) -> Result<(), Error> {
        let before = self.calico_node_uid(node)?;
        delete_calico_node(self, node)?;
        let what = format!("a new calico-node is Ready on {}", node.name());
        wait_until(&what, LIMIT, || {
            let uid = self.calico_node_uid(node).map_err(|error| error.to_string())?;
            let ready = "{.items[*].status.conditions[?(@.type==\"Ready\")].status}";
            let ready = calico_node_field(self, node, ready).map_err(|error| error.to_string())?;
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
        calico_node_field(self, node, "{.items[*].metadata.uid}")
    }
}

/// One field of the node's calico-node pod.
pub(super) fn calico_node_field(
    testbed: &Testbed,
    node: &Node,
    jsonpath: &str,
) -> Result<String, Error> {
    let select = calico_node_of(testbed, node);
    let mut what = vec!["pod"];
    what.extend(select.iter().map(String::as_str));
    testbed.field(&what, jsonpath)
}

/// Deletes the node's calico-node pod; the DaemonSet makes another one.
pub(super) fn delete_calico_node(testbed: &Testbed, node: &Node) -> Result<(), Error> {
    let select = calico_node_of(testbed, node);
    let mut delete = vec!["delete", "pod", "--wait=false"];
    delete.extend(select.iter().map(String::as_str));
    testbed.kubectl(&delete).map(drop)
}

fn has_calico_images(node: &Node) -> Result<bool, Error> {
    let listed = node.check(&["/usr/bin/ctr", "-n", "k8s.io", "images", "ls", "-q"])?;
    Ok(CALICO_IMAGES.iter().all(|(image, _)| listed.lines().any(|line| line == *image)))
}

/// Asks the API server what Calico's plugin asks it, with the node's own credentials.
pub(super) fn has_good_credentials(node: &Node) -> Result<bool, Error> {
    let script = "/opt/testbed/bin/kubebox kubectl --kubeconfig=/etc/cni/net.d/calico-kubeconfig --request-timeout=10s \
                  get --raw /apis/crd.projectcalico.org/v1/clusterinformations/default";
    Ok(node.run(&["/bin/sh", "-c", script])?.is_success())
}

fn calico_node_of(testbed: &Testbed, node: &Node) -> [String; 3] {
    [
        format!("--namespace={}", testbed.calico_namespace()),
        "--selector=k8s-app=calico-node".to_owned(),
        format!("--field-selector=spec.nodeName={}", node.name()),
    ]
}
