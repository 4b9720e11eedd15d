//! Work on a node's host, as data: what is to be done, and what must be found there immediately before.
//!
//! Nothing here holds a secret: content that may not be kept (a fresh token) is described by where it comes from, and made
//! when the step is carried out.

use serde::{Deserialize, Serialize};

use super::PlanId;

/// Seconds that the loopback configuration may stand in a node's CNI configuration directory. Long enough for a few
/// dozen sandboxes, short enough that nobody notices: new pods wait for it.
pub const LOOPBACK_SECONDS: u64 = 60;

/// One piece of work on a host. Doing it again after it was done changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum HostOperation {
    /// Writes a file under a temporary name in the same directory and renames it. What stood there is kept as `backup`.
    #[serde(rename_all = "camelCase")]
    WriteFile {
        /// Absolute path on the host.
        path: String,
        /// Permission bits, e.g. 0o600; the owner is root.
        mode: u32,
        /// What to write.
        content: FileContent,
        /// What must stand there before.
        expected: Expected,
        /// Where to keep what stood there. A link that leads nowhere is kept there when nothing stood there: without
        /// either, nothing is taken back.
        backup: String,
    },
    /// Renames a file, within its directory, to a name that nobody reads. Nothing is deleted.
    #[serde(rename_all = "camelCase")]
    MoveAside {
        /// Absolute path on the host.
        path: String,
        /// What must stand there before.
        expected: Expected,
        /// Its new path.
        backup: String,
    },
    /// Puts back what was kept; removes `path` when what was kept says that nothing had stood there. When nothing is kept
    /// at all, there is nothing to take back.
    #[serde(rename_all = "camelCase")]
    RestoreFile {
        /// Absolute path on the host.
        path: String,
        /// What must stand there before: what we wrote.
        expected: Expected,
        /// Where the old content is kept.
        backup: String,
    },
    /// Removes a file that is ours.
    #[serde(rename_all = "camelCase")]
    RemoveFile {
        /// Absolute path on the host.
        path: String,
        /// What must stand there before.
        expected: Expected,
    },
    /// Removes a network interface.
    #[serde(rename_all = "camelCase")]
    RemoveLink {
        /// Its name.
        name: String,
        /// Its kind as `ip -d link` shows it: `veth`, `vxlan`.
        link_kind: String,
        /// Its index: another interface of the same name is left alone.
        index: u32,
    },
    /// Stops and removes pod sandboxes.
    #[serde(rename_all = "camelCase")]
    RemoveSandboxes {
        /// Which.
        sandboxes: Vec<SandboxRef>,
        /// Whether a no-op CNI configuration may be put in front for [`LOOPBACK_SECONDS`] when CNI DEL cannot succeed.
        /// The addresses of these sandboxes then stay allocated.
        loopback: bool,
    },
    /// Sets a kernel parameter until the next boot.
    #[serde(rename_all = "camelCase")]
    SetSysctl {
        /// With dots: `net.ipv4.ip_forward`.
        key: String,
        /// The new value.
        value: String,
        /// The value that must be there before.
        expected: String,
    },
    /// Restarts a systemd unit. Containers live on.
    #[serde(rename_all = "camelCase")]
    RestartUnit {
        /// `kubelet.service`
        unit: String,
    },
    /// Changes packet filter rules in one transaction.
    #[serde(rename_all = "camelCase")]
    RestoreRules {
        /// Address family.
        family: IpFamily,
        /// Which of the two implementations.
        backend: RulesBackend,
        /// Input of `iptables-restore --noflush`.
        rules: String,
    },
}

/// What a file is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum FileContent {
    /// This text, which holds no secret.
    #[serde(rename_all = "camelCase")]
    Text {
        /// The text.
        text: String,
    },
    /// calico-kubeconfig with a token that is requested when the step is carried out.
    #[serde(rename_all = "camelCase")]
    CniKubeconfig {
        /// URL of the API server as the node reaches it.
        server: String,
        /// Namespace of the ServiceAccount, and of the ConfigMap that holds the cluster's CA.
        namespace: String,
        /// The CNI plugin's ServiceAccount.
        service_account: String,
    },
    /// A CNI plugin's binary.
    #[serde(rename_all = "camelCase")]
    Binary {
        /// `calico` or `calico-ipam`.
        name: String,
        /// Where it comes from.
        source: BinarySource,
    },
}

/// Where a binary comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
#[non_exhaustive]
pub enum BinarySource {
    /// From an image that is on the node.
    #[serde(rename_all = "camelCase")]
    Image {
        /// Its name, as the node's status spells it.
        image: String,
        /// Path of the binary in it.
        path: String,
    },
    /// From Calico's release archive in the cache of `download`.
    #[serde(rename_all = "camelCase")]
    Release {
        /// `v3.28.4`
        version: String,
        /// The node's architecture as Kubernetes calls it: `amd64`.
        architecture: String,
    },
}

/// What must be found at a path immediately before an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "value")]
#[non_exhaustive]
pub enum Expected {
    /// Nothing.
    Absent,
    /// A file with this SHA-256, in hex.
    Sha256(String),
    /// Whatever it is.
    Any,
}

/// Names a pod sandbox for good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxRef {
    /// Its id.
    pub id: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub name: String,
    /// Uid of its pod.
    pub uid: String,
    /// True when it may be stopped although the runtime calls it ready.
    pub ready: bool,
}

/// Address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The two implementations of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RulesBackend {
    /// `iptables-legacy`
    Legacy,
    /// `iptables-nft`
    Nft,
}

/// Where an operation of `run` keeps what stood at `path`: no reader of the directory takes this suffix.
pub fn backup_path(path: &str, run: &PlanId) -> String {
    format!("{path}.kubectl-calico-{run}.bak")
}

impl HostOperation {
    /// The operation that takes this one back; none when it cannot be taken back, or needs not be.
    pub fn undo(&self) -> Option<Self> {
        match self {
            Self::WriteFile { path, backup, .. } | Self::MoveAside { path, backup, .. } => {
                Some(Self::RestoreFile {
                    path: path.clone(),
                    expected: Expected::Any,
                    backup: backup.clone(),
                })
            }
            Self::SetSysctl { key, value, expected } => Some(Self::SetSysctl {
                key: key.clone(),
                value: expected.clone(),
                expected: value.clone(),
            }),
            Self::RestoreFile { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveLink { .. }
            | Self::RemoveSandboxes { .. }
            | Self::RestartUnit { .. }
            | Self::RestoreRules { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_taken_back() {
        let run = PlanId("01RUN".into());
        let path = "/etc/cni/net.d/10-calico.conflist";
        let backup = backup_path(path, &run);
        assert_eq!(backup, "/etc/cni/net.d/10-calico.conflist.kubectl-calico-01RUN.bak");
        let write = HostOperation::WriteFile {
            path: path.into(),
            mode: 0o600,
            content: FileContent::Text { text: "{}".into() },
            expected: Expected::Absent,
            backup: backup.clone(),
        };
        let undo = write.undo().unwrap();
        assert_eq!(
            undo,
            HostOperation::RestoreFile { path: path.into(), expected: Expected::Any, backup }
        );
        assert_eq!(undo.undo(), None);
        let sysctl = |value: &str, expected: &str| HostOperation::SetSysctl {
            key: "net.ipv4.ip_forward".into(),
            value: value.into(),
            expected: expected.into(),
        };
        assert_eq!(sysctl("1", "0").undo(), Some(sysctl("0", "1")));
    }

    #[test]
    fn operations_survive_a_journal() {
        let operation = HostOperation::RemoveSandboxes {
            sandboxes: vec![SandboxRef {
                id: "abc".into(),
                namespace: "shop".into(),
                name: "web".into(),
                uid: "u1".into(),
                ready: false,
            }],
            loopback: true,
        };
        let text = serde_json::to_string(&operation).unwrap();
        assert_eq!(serde_json::from_str::<HostOperation>(&text).unwrap(), operation);
    }
}
