//! The eBPF data plane of the stand-in for calico-node (standin/README.md): turned on and off as Felix is, and put right.

use super::Testbed;
use super::error::Error;
use super::install::Install;
use super::node::Node;
use super::wait::wait_until;
use std::time::Duration;

/// Is on a node for as long as its eBPF data plane is on, also while calico-node is not.
const STATE: &str = "/run/calico/standin-bpf.json";
/// While this file is on a node, its kernel is too old for eBPF. It is looked at when the data plane starts.
pub const OLD_KERNEL: &str = "/var/run/calico/standin-old-kernel";
/// While this file is on a node, its programs do not load.
pub const BPF_DIRTY: &str = "/var/run/calico/standin-bpf-dirty";
/// How long Felix may take to change its data plane. Usually 3 to 4 s.
const LIMIT: Duration = Duration::from_secs(30);
/// Takes back all that `kubectl calico-ebpf` writes to FelixConfiguration `default`.
const AS_MADE: &str = r#"{"metadata": {"annotations": {"operator.tigera.io/bpfEnabled": null}}, "spec": {"bpfEnabled": null,
  "bpfKubeProxyIptablesCleanupEnabled": null, "bpfKubeProxyHealthzPort": null}}"#;

impl Testbed {
    /// Merges settings, in JSON, into the spec of FelixConfiguration `default`; a null takes one back. Every Felix follows.
    pub fn tell_felix(&self, settings: &str) -> Result<(), Error> {
        self.patch_felix(&format!(r#"{{"spec": {settings}}}"#))
    }

    fn patch_felix(&self, patch: &str) -> Result<(), Error> {
        let set = ["patch", "felixconfiguration", "default", "--type=merge", "--patch", patch];
        self.kubectl(&set).map(drop)
    }

    /// Whether the eBPF data plane is on, on this node.
    pub fn has_bpf(&self, node: &Node) -> Result<bool, Error> {
        node.has(STATE)
    }

    /// Waits until the eBPF data plane is on or off, on this node.
    pub fn wait_bpf(&self, node: &Node, wanted: bool) -> Result<(), Error> {
        let what = format!("eBPF is {} on {}", if wanted { "on" } else { "off" }, node.name());
        wait_until(&what, LIMIT, || match self.has_bpf(node) {
            Ok(is_on) if is_on == wanted => Ok(()),
            Ok(is_on) => Err(format!("is on: {is_on}")),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Gives Felix back the settings that it had, of all nodes and of single ones, and the API server's address that pods have.
    pub fn restore_felix(&self) -> Result<(), Error> {
        if self.install() == Install::Operator {
            // Some of the settings are the operator's own.
            self.reset_operator()?;
        } else {
            self.patch_felix(AS_MADE)?;
        }
        let all = self.field(&["felixconfigurations"], "{.items[*].metadata.name}")?;
        for name in all.split_whitespace().filter(|name| *name != "default") {
            self.kubectl(&["delete", "felixconfiguration", name, "--ignore-not-found"])?;
        }
        let address = ["configmap", "kubernetes-services-endpoint", "--namespace=kube-system"];
        let delete = [&["delete", "--ignore-not-found"], address.as_slice()].concat();
        if self.kubectl(&delete)?.is_empty() {
            return Ok(());
        }
        // Pods have taken the address into their environment, and install-cni into the kubeconfig.
        self.heal_credentials()
    }

    /// Ends the eBPF data plane of a node.
    pub(super) fn end_bpf(&self, node: &Node) -> Result<(), Error> {
        if !self.has_bpf(node)? {
            return Ok(());
        }
        self.restore_felix()?;
        self.wait_bpf(node, false)?;
        self.restore_rules(node)
    }
}
