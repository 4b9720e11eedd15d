//! Work on a node's host, as data: what is to be done, and what must be found there immediately before.
//!
//! Nothing here holds a secret: content that may not be kept (a fresh token) is described by where it comes from, and made
//! when the step is carried out.

mod file;
mod kernel;
mod owned;

use serde::{Deserialize, Serialize};

use super::PlanId;

pub use file::{BinarySource, Expected, FileContent};
pub use kernel::{IpFamily, NftFamily, NftTable, ProgramHook, RulesBackend};
pub use owned::{
    is_calico_ip_set, is_calico_mount, is_calico_pin, is_calico_table, is_calico_tree,
};

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
        /// The inverse change, in the same form, when the change is to be taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<String>,
    },
    /// Removes routes, one by one. A route that is not there word for word is not touched.
    #[serde(rename_all = "camelCase")]
    RemoveRoutes {
        /// Address family.
        family: IpFamily,
        /// Each a line of `ip [-6] route show table all`; the two and more lines of a route with several next hops are
        /// one text, with newlines or with backslashes as `ip -o` prints them.
        routes: Vec<String>,
    },
    /// Adds routes that were removed.
    #[serde(rename_all = "camelCase")]
    AddRoutes {
        /// Address family.
        family: IpFamily,
        /// As for [`Self::RemoveRoutes`].
        routes: Vec<String>,
    },
    /// Removes routing rules, one by one. A rule that is not there word for word is not touched.
    #[serde(rename_all = "camelCase")]
    RemoveRoutingRules {
        /// Address family.
        family: IpFamily,
        /// Each a line of `ip [-6] rule show`: `99: not from all fwmark 0x100000/0x100000 lookup 1`.
        rules: Vec<String>,
    },
    /// Adds routing rules that were removed.
    #[serde(rename_all = "camelCase")]
    AddRoutingRules {
        /// Address family.
        family: IpFamily,
        /// As for [`Self::RemoveRoutingRules`].
        rules: Vec<String>,
    },
    /// Takes the addresses from a network interface and sets it down: for `tunl0`, which the kernel does not give away.
    #[serde(rename_all = "camelCase")]
    FlushLink {
        /// Its name.
        name: String,
        /// Its index: another interface of the same name is left alone.
        index: u32,
        /// Its kind as `ip -d link` shows it: `ipip`.
        link_kind: String,
    },
    /// Removes tables of nftables, in one transaction.
    #[serde(rename_all = "camelCase")]
    RemoveNftTables {
        /// Which; only names that are Calico's.
        tables: Vec<NftTable>,
    },
    /// Destroys ipsets that nothing refers to any more.
    #[serde(rename_all = "camelCase")]
    DestroyIpSets {
        /// Which; only names that are Calico's.
        names: Vec<String>,
    },
    /// Removes pins of BPF programs, maps and links, and directories of a BPF file system that are empty by then.
    #[serde(rename_all = "camelCase")]
    RemovePins {
        /// Absolute paths on the host, below a mount of a BPF file system.
        paths: Vec<String>,
    },
    /// Detaches BPF programs whose name is Calico's from an interface; others stay.
    #[serde(rename_all = "camelCase")]
    DetachPrograms {
        /// The interface's name.
        link: String,
        /// Its index: another interface of the same name is left alone.
        index: u32,
        /// From where.
        hook: ProgramHook,
    },
    /// Unmounts a file system that calico-node mounted.
    #[serde(rename_all = "camelCase")]
    Unmount {
        /// Where: only mount points that are Calico's.
        path: String,
        /// Its type: `cgroup2`, `bpf`.
        file_system: String,
    },
    /// Removes a directory, or a socket, of Calico with all that is in it. It never crosses into another file system.
    #[serde(rename_all = "camelCase")]
    RemoveTree {
        /// Absolute path on the host: only those that [`is_calico_tree`] knows.
        path: String,
    },
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
            Self::RestoreRules { family, backend, undo, .. } => Some(Self::RestoreRules {
                family: *family,
                backend: *backend,
                rules: undo.clone()?,
                undo: None,
            }),
            Self::RemoveRoutes { family, routes } => {
                Some(Self::AddRoutes { family: *family, routes: routes.clone() })
            }
            Self::AddRoutes { family, routes } => {
                Some(Self::RemoveRoutes { family: *family, routes: routes.clone() })
            }
            Self::RemoveRoutingRules { family, rules } => {
                Some(Self::AddRoutingRules { family: *family, rules: rules.clone() })
            }
            Self::AddRoutingRules { family, rules } => {
                Some(Self::RemoveRoutingRules { family: *family, rules: rules.clone() })
            }
            Self::RestoreFile { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveLink { .. }
            | Self::RemoveSandboxes { .. }
            | Self::RestartUnit { .. }
            | Self::FlushLink { .. }
            | Self::RemoveNftTables { .. }
            | Self::DestroyIpSets { .. }
            | Self::RemovePins { .. }
            | Self::DetachPrograms { .. }
            | Self::Unmount { .. }
            | Self::RemoveTree { .. } => None,
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
    fn routes_rules_and_transactions_can_be_taken_back() {
        let family = IpFamily::V6;
        let lines = vec!["blackhole fd00::/122 dev lo proto bird".to_owned()];
        let remove = HostOperation::RemoveRoutes { family, routes: lines.clone() };
        let add = HostOperation::AddRoutes { family, routes: lines.clone() };
        assert_eq!((remove.undo(), add.undo()), (Some(add), Some(remove)));
        let remove = HostOperation::RemoveRoutingRules { family, rules: lines.clone() };
        let add = HostOperation::AddRoutingRules { family, rules: lines };
        assert_eq!((remove.undo(), add.undo()), (Some(add), Some(remove)));
        let restore = |rules: &str, undo: Option<&str>| HostOperation::RestoreRules {
            family,
            backend: RulesBackend::Nft,
            rules: rules.into(),
            undo: undo.map(str::to_owned),
        };
        assert_eq!(restore("a", Some("b")).undo(), Some(restore("b", None)));
        assert_eq!(restore("a", None).undo(), None);
    }

    #[test]
    fn a_journal_of_old_is_still_read() {
        let text = r#"{"kind":"restoreRules","family":"v4","backend":"nft","rules":"*raw"}"#;
        let operation: HostOperation = serde_json::from_str(text).unwrap();
        assert!(matches!(operation, HostOperation::RestoreRules { undo: None, .. }));
        assert_eq!(serde_json::to_string(&operation).unwrap(), text);
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
