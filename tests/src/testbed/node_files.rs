//! The configuration files of a node.

use super::artefacts::Artefacts;
use super::error::{Error, FileContext};
use super::kubeconfig;
use super::layout::{Layout, node_number, sources};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A file of a node: absolute path on the node and content.
pub(crate) type NodeFile = (String, String);

/// What depends on the cluster's CA: a new CA means to write these anew and restart the kubelet.
pub(crate) fn credentials(layout: &Layout, node: &str) -> Result<Vec<NodeFile>, Error> {
    let pki = |file: &str| {
        let path = layout.pki().join(file);
        fs::read_to_string(&path).file("read", &path)
    };
    let etc = |file: &str| format!("/etc/kubernetes/{file}");
    Ok(vec![
        (etc("ca.crt"), pki("ca.crt")?),
        (etc("kubelet.crt"), pki(&format!("{node}.crt"))?),
        (etc("kubelet.key"), pki(&format!("{node}.key"))?),
        (etc("kubelet.conf"), kubeconfig::render(layout, node)?),
    ])
}

/// Writes all files of a node into its layer, before it starts.
pub(crate) fn write_layer(layout: &Layout, artefacts: &Artefacts, node: &str) -> Result<(), Error> {
    let layer = layout.node(node).join("upper");
    let mut files = credentials(layout, node)?;
    files.extend(settings(layout, node)?);
    for folder in ["etc/cni/net.d", "opt/cni/bin", "usr/local/sbin"] {
        let path = layer.join(folder);
        fs::create_dir_all(&path).file("make", &path)?;
    }
    for (name, content) in files {
        let path = layer.join(name.trim_start_matches('/'));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).file("make", folder)?;
        }
        if name.starts_with("/etc/kubernetes/") {
            kubeconfig::write_private(&path, content.as_bytes())?;
        } else {
            fs::write(&path, content).file("write", &path)?;
        }
    }
    let supervisor = layer.join("usr/local/sbin/node-supervisor");
    copy(&sources().join("node/supervisor.sh"), &supervisor)?;
    fs::set_permissions(&supervisor, fs::Permissions::from_mode(0o755))
        .file("make executable", &supervisor)?;
    let crictl = layer.join("usr/local/bin/crictl");
    if let Some(folder) = crictl.parent() {
        fs::create_dir_all(folder).file("make", folder)?;
    }
    copy(&artefacts.crictl, &crictl)?;
    // The plugins that every distribution brings along (loopback, portmap, host-local …). Calico's come from calico-node.
    let plugins = artefacts.rootfs.join("usr/lib/cni");
    for entry in fs::read_dir(&plugins).file("list", &plugins)?.flatten() {
        copy(&entry.path(), &layer.join("opt/cni/bin").join(entry.file_name()))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).file("copy", from).map(drop)
}

fn settings(layout: &Layout, node: &str) -> Result<Vec<NodeFile>, Error> {
    let address = layout.node_address(node_number(node)?);
    let machine_id = Sha256::digest(format!("{}/{node}", layout.cgroup()))
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    let file = |name: &str, content: String| (name.to_owned(), content);
    Ok(vec![
        file("/etc/hostname", format!("{node}\n")),
        file("/etc/hosts", format!("127.0.0.1 localhost\n{address} {node}\n")),
        file("/etc/machine-id", format!("{machine_id}\n")),
        // There is no DNS in a testbed; kubelet wants the file.
        file("/etc/resolv.conf", format!("nameserver {}\n", layout.gateway())),
        file("/etc/kubernetes/node-ip", format!("{address}\n")),
        file("/etc/kubernetes/kubelet.yaml", KUBELET.to_owned()),
        file("/etc/containerd/config.toml", CONTAINERD.to_owned()),
        file("/etc/crictl.yaml", CRICTL.to_owned()),
    ])
}

/// A quick kubelet: short periods, and thresholds that a full developer machine does not reach.
const KUBELET: &str = r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /etc/kubernetes/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
tlsCertFile: /etc/kubernetes/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/kubelet.key
staticPodPath: /etc/kubernetes/manifests
resolvConf: /etc/resolv.conf
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
volumeStatsAggPeriod: -1s
"#;

/// As an administrator writes it.
const CRICTL: &str = "runtime-endpoint: unix:///run/containerd/containerd.sock\n";

/// `restrict_oom_score_adj`: a machine may withhold CAP_SYS_RESOURCE, and then runc dies of a negative oom_score_adj with
/// "can't get final child's PID from pipe: EOF".
const CONTAINERD: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.10"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#;
