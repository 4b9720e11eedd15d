//! kube-proxy: its image, and how its DaemonSet is brought back to what it was.

use super::Testbed;
use super::calico_image;
use super::error::Error;
use super::image::Layer;
use super::layout::SERVICE_ADDRESS;
use super::lifecycle;
use super::node::{Node, Service};
use super::wait::wait_until;
use std::path::Path;
use std::time::Duration;

/// The image that the DaemonSet names.
pub(crate) const IMAGE: &str = "registry.k8s.io/kube-proxy:v1.34.4";
/// Process 1 of its container.
pub(crate) const ENTRY: &str = include_str!("../../testbed/kube-proxy/entry.sh");
/// What kube-proxy runs, in either mode, and the shell of its first process.
const TOOLS: [&str; 10] = [
    "bash",
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
    "xtables-nft-multi",
    "ipset",
    "nft",
];
/// How long new pods may take on all nodes.
const LIMIT: Duration = Duration::from_secs(90);
const PARKED: &str = r#"{"spec": {"template": {"spec": {"nodeSelector": {"kubectl-calico/disable-kube-proxy": "true"}}}}}"#;
const SET: [&str; 3] = ["daemonset", "kube-proxy", "--namespace=kube-system"];

/// The files of the image. The program itself comes from the node, where it is already.
pub(crate) fn image(rootfs: &Path, layer: &mut Layer) -> Result<(), Error> {
    calico_image::with_tools(rootfs, &TOOLS, &[], layer)?;
    layer.program("usr/local/bin/kube-proxy", ENTRY);
    Ok(())
}

/// Whether kube-proxy has programmed the API server's ClusterIP on a node.
pub(super) fn serves(node: &Node) -> Result<bool, Error> {
    let script = r#"iptables-save -t nat | grep -q -- "-A KUBE-SERVICES -d $1/32 ""#;
    let asked = node.run(&["/bin/sh", "-c", script, "sh", &SERVICE_ADDRESS.to_string()])?;
    Ok(asked.is_success())
}

/// Waits until kube-proxy has programmed the API server's ClusterIP. calico-node begins with it, and a connection that begins
/// before that is never translated: it would be given up after half a minute.
pub(super) fn wait_served(node: &Node) -> Result<(), Error> {
    let what = format!("kube-proxy serves {SERVICE_ADDRESS} on {}", node.name());
    wait_until(&what, LIMIT, || match serves(node) {
        Ok(true) => Ok(()),
        Ok(false) => Err("there is no rule".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

impl Testbed {
    /// Gives kube-proxy's DaemonSet and ConfigMap back what they had, whatever was patched, also if they were deleted.
    pub fn restore_kube_proxy(&self) -> Result<(), Error> {
        // Keys that others have added to a map survive an apply.
        let selector = self.kubectl_output(
            &[&["get"], SET.as_slice(), &["--output=jsonpath={.spec.template.spec.nodeSelector}"]]
                .concat(),
        )?;
        if selector.is_success() && selector.stdout != r#"{"kubernetes.io/os":"linux"}"# {
            let wanted = r#"[{"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"kubernetes.io/os": "linux"}}]"#;
            let patch = ["--type=json", "--patch", wanted];
            self.kubectl(&[&["patch"], SET.as_slice(), &patch].concat())?;
        }
        lifecycle::apply_kube_proxy(&self.control_plane())
    }

    /// Takes kube-proxy off every node by its DaemonSet's selector, as `kubectl calico-ebpf` does. Its rules stay, and grow old.
    /// [`Testbed::restore_kube_proxy`] brings it back.
    pub fn park_kube_proxy(&self) -> Result<(), Error> {
        self.kubectl(&[&["patch"], SET.as_slice(), &["--patch", PARKED]].concat())?;
        wait_until("kube-proxy's pods go", LIMIT, || {
            let pods = ["pods", "--namespace=kube-system", "--selector=k8s-app=kube-proxy"];
            match self.field(&pods, "{.items[*].metadata.name}") {
                Ok(left) if left.is_empty() => Ok(()),
                Ok(left) => Err(left),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Lets kube-proxy write its rules again if somebody has removed them, which it does not notice by itself.
    pub(super) fn restore_rules(&self, node: &Node) -> Result<(), Error> {
        // With eBPF on it may be Felix who removes them.
        if self.has_bpf(node)? || serves(node)? {
            return Ok(());
        }
        node.restart_service(Service::KubeProxy)?;
        wait_served(node)
    }

    /// Makes kube-proxy's pods anew: neither a new CA nor a token of a new key reaches one that runs.
    pub(super) fn replace_kube_proxy(&self) -> Result<(), Error> {
        let select = ["--namespace=kube-system", "--selector=k8s-app=kube-proxy"];
        let uids =
            || self.field(&[&["pods"], select.as_slice()].concat(), "{.items[*].metadata.uid}");
        let before = uids()?;
        self.kubectl(&[&["delete", "pods", "--wait=false"], select.as_slice()].concat())?;
        wait_until("kube-proxy's pods are other ones", LIMIT, || {
            let now = uids().map_err(|error| error.to_string())?;
            let is_new = before.split(' ').all(|uid| !now.contains(uid));
            if is_new { Ok(()) } else { Err(now) }
        })?;
        self.wait_kube_proxy()
    }

    /// Waits until kube-proxy is Ready on every node.
    pub fn wait_kube_proxy(&self) -> Result<(), Error> {
        let counts =
            "{.metadata.generation} {.status.updatedNumberScheduled} {.status.numberReady}";
        let all = self.nodes().len();
        wait_until("kube-proxy is Ready on all nodes", LIMIT, || {
            let seen = self.field(&SET, &format!("{{.status.observedGeneration}} {counts}"));
            let seen = seen.map_err(|error| error.to_string())?;
            let numbers: Vec<&str> = seen.split(' ').collect();
            let is_there = numbers.len() == 4
                && numbers[0] == numbers[1]
                && numbers[2..].iter().all(|count| *count == all.to_string());
            if is_there { Ok(()) } else { Err(seen) }
        })
    }
}
