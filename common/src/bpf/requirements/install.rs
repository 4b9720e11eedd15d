//! How Calico is installed, and what that makes possible.

use serde_json::Value;

use super::settings::environment;
use super::{CalicoVersion, Findings, Grade, Kernel, Requirement, Situation};
use crate::bpf::text;
use crate::snapshot::{Flavour, Gap, GapReason, InstallMethod, Known};

/// Without Calico there is nothing to change.
pub(super) static METHOD: Requirement = Requirement {
    id: "install",
    title: "one install of Calico, for the network as well",
    essential: true,
    judge: method,
};

/// Older operators do it by environment variables.
pub(super) static OPERATOR: Requirement = Requirement {
    id: "operator",
    title: "an operator of v1.34 or later",
    essential: true,
    judge: operator,
};

/// There are two ways, and the operator's own excludes ours.
pub(super) static AUTO_MODE: Requirement = Requirement {
    id: "operator-auto-mode",
    title: "an operator that does not do it by itself",
    essential: true,
    judge: auto_mode,
};

/// Programs can be loaded by privileged containers only.
pub(super) static PRIVILEGED: Requirement = Requirement {
    id: "privileged",
    title: "a privileged calico-node",
    essential: false,
    judge: privileged,
};

/// Calico's own etcd is not supported with eBPF.
pub(super) static DATASTORE: Requirement = Requirement {
    id: "datastore",
    title: "Calico's objects in the Kubernetes API",
    essential: true,
    judge: datastore,
};

/// Tables count as calico-node's memory.
pub(super) static MEMORY: Requirement = Requirement {
    id: "memory-limit",
    title: "memory for calico-node's tables",
    essential: false,
    judge: memory,
};

/// First release of the operator that changes the data plane by FelixConfiguration.
const OPERATOR_SINCE: CalicoVersion = CalicoVersion(1, 34, 0);

fn method(situation: &Situation<'_>, findings: &mut Findings) {
    let install = match &situation.snapshot.install {
        Known::Known(install) => install,
        Known::Absent => {
            return findings.cluster(
                Grade::Blocker,
                "there is no Calico in this cluster",
                "install Calico first",
            );
        }
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let migrating = matches!(situation.snapshot.flavour, Known::Known(Flavour::Migrating));
    if install.namespaces.len() > 1 || migrating {
        let reason = "Calico is being moved to another namespace or API group";
        findings.cluster(Grade::Blocker, reason, "finish the migration first");
    } else if install.daemon_set == "canal" {
        let reason =
            "this is Canal: flannel makes the network, and eBPF beside flannel is not tried here";
        findings.cluster(Grade::Warning, reason, "");
    } else {
        let how = match install.method {
            InstallMethod::Manifest => "by manifest",
            InstallMethod::Operator => "by operator",
        };
        findings.cluster(Grade::Fine, format!("{how}, in namespace {}", install.namespace), "");
    }
}

/// Runs `judge` for installs by operator; those by manifest have nothing to fear.
fn of_operator(
    situation: &Situation<'_>,
    findings: &mut Findings,
    judge: impl FnOnce(&mut Findings),
) {
    match situation.snapshot.install.as_ref().map(|it| it.method) {
        Known::Known(InstallMethod::Operator) => judge(findings),
        Known::Known(InstallMethod::Manifest) => {
            findings.cluster(Grade::Fine, "there is no operator", "");
        }
        Known::Absent => {}
        Known::Unknown(gap) => findings.unknown(&gap),
    }
}

/// The operator's version; unknown when its image does not tell.
pub(super) fn operator_version(situation: &Situation<'_>) -> Known<CalicoVersion> {
    situation.operator.as_ref().and_then(|deployment| {
        let image = text(deployment, "/spec/template/spec/containers/0/image");
        image.and_then(CalicoVersion::of_image).map_or_else(
            || {
                let why = "which version the operator has could not be told";
                Known::Unknown(Gap::new(
                    "cluster/deployments.apps.json",
                    GapReason::Undecodable,
                    why,
                ))
            },
            Known::Known,
        )
    })
}

fn operator(situation: &Situation<'_>, findings: &mut Findings) {
    of_operator(situation, findings, |findings| match operator_version(situation) {
        Known::Known(version) if version >= OPERATOR_SINCE => {
            findings.cluster(Grade::Fine, version.to_string(), "");
        }
        Known::Known(version) => findings.cluster(
            Grade::Blocker,
            format!(
                "the operator is {version}, which changes the data plane node by node by a variable"
            ),
            "upgrade Calico to v3.28 or later with its operator",
        ),
        Known::Absent => findings.unknown(&Gap::new(
            "cluster/deployments.apps.json",
            GapReason::NotAsked,
            "Deployment tigera-operator is not where it usually is",
        )),
        Known::Unknown(gap) => findings.unknown(&gap),
    });
}

fn auto_mode(situation: &Situation<'_>, findings: &mut Findings) {
    of_operator(situation, findings, |findings| match &situation.installation {
        Known::Known(installation) => {
            let on = |field: &str| {
                text(installation, &format!("/spec/calicoNetwork/{field}")) == Some("Enabled")
            };
            let fields: Vec<&str> = ["bpfNetworkBootstrap", "kubeProxyManagement"]
                .into_iter()
                .filter(|it| on(it))
                .collect();
            if fields.is_empty() {
                return findings.cluster(Grade::Fine, "it is off", "");
            }
            findings.cluster(
                Grade::Blocker,
                format!("Installation default has {} Enabled: the operator does by itself what this would do, and refuses a ConfigMap with an endpoint", fields.join(" and ")),
                "leave it to the operator (set linuxDataplane: BPF), or set both fields to Disabled in one change first",
            );
        }
        Known::Absent => findings.unknown(&Gap::new(
            "cluster/installations.operator.tigera.io.json",
            GapReason::NotAsked,
            "there is no Installation default",
        )),
        Known::Unknown(gap) => findings.unknown(gap),
    });
}

fn privileged(situation: &Situation<'_>, findings: &mut Findings) {
    of_operator(situation, findings, |findings| match &situation.installation {
        Known::Known(it) if text(it, "/spec/nonPrivileged") == Some("Enabled") => findings.cluster(
            Grade::Blocker,
            "Installation default has nonPrivileged: Enabled, with which eBPF is not supported",
            "set nonPrivileged: Disabled",
        ),
        Known::Unknown(gap) => findings.unknown(gap),
        _ => findings.cluster(Grade::Fine, "it is privileged", ""),
    });
}

fn datastore(situation: &Situation<'_>, findings: &mut Findings) {
    const REMEDY: &str =
        "move Calico's objects to the Kubernetes API with calicoctl datastore migrate";
    match environment(situation, "DATASTORE_TYPE") {
        Known::Known(value) if value == "kubernetes" => findings.cluster(Grade::Fine, value, ""),
        Known::Known(value) => {
            let reason = format!(
                "calico-node keeps its objects in {value}, with which eBPF is not supported"
            );
            findings.cluster(Grade::Blocker, reason, REMEDY);
        }
        Known::Absent if situation.calico_node == Known::Absent => {}
        // It may come from a ConfigMap, or from a file: what is served tells as well.
        Known::Absent | Known::Unknown(_) => match environment(situation, "ETCD_ENDPOINTS") {
            Known::Known(value) if !value.is_empty() => {
                findings.cluster(Grade::Blocker, "calico-node has ETCD_ENDPOINTS", REMEDY);
            }
            _ => findings.unknown(&Gap::new(
                "cluster/daemonsets.apps.json",
                GapReason::NotAsked,
                "where calico-node keeps its objects could not be told",
            )),
        },
    }
}

/// What CI of Calico found to be too small.
const TOO_SMALL: u64 = 512 << 20;
/// What is comfortable.
const COMFORTABLE: u64 = 1 << 30;
/// First kernel that counts tables as memory of the container.
const COUNTS_TABLES: (u32, u32, u32) = (5, 11, 0);

fn memory(situation: &Situation<'_>, findings: &mut Findings) {
    let set = match &situation.calico_node {
        Known::Known(set) => set,
        Known::Absent => return,
        Known::Unknown(gap) => return findings.unknown(gap),
    };
    let containers = set.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let container =
        containers.into_iter().flatten().find(|it| text(it, "/name") == Some("calico-node"));
    let limit = container.and_then(|it| text(it, "/resources/limits/memory"));
    let Some(limit) = limit else {
        return findings.cluster(Grade::Fine, "calico-node has no limit", "");
    };
    let Some(bytes) = bytes(limit) else {
        let why = format!("{limit:?} is no amount of memory");
        return findings.unknown(&Gap::new(
            "cluster/daemonsets.apps.json",
            GapReason::Undecodable,
            why,
        ));
    };
    let counts = |name: &String| {
        Kernel::of_node(situation, name).known().is_none_or(|it| it.number >= COUNTS_TABLES)
    };
    let any_counts = situation.nodes.keys().any(counts);
    let remedy = "raise the memory limit of container calico-node to 1Gi or more, or take it away";
    if bytes <= TOO_SMALL && any_counts {
        let reason = format!(
            "calico-node may use {limit}: its tables alone may take that much, and it is then killed"
        );
        findings.cluster(Grade::Blocker, reason, remedy);
    } else if bytes < COMFORTABLE && any_counts {
        findings.cluster(
            Grade::Warning,
            format!("calico-node may use no more than {limit}"),
            remedy,
        );
    } else {
        findings.cluster(Grade::Fine, format!("calico-node may use {limit}"), "");
    }
}

/// `512Mi`, `1G`, `1073741824`.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{grade_of_cluster as grade, situation, snapshot};
    use super::*;

    fn by_operator() -> crate::snapshot::Snapshot {
        let mut snapshot = snapshot();
        if let Known::Known(install) = &mut snapshot.install {
            install.method = InstallMethod::Operator;
            install.namespace = "calico-system".into();
        }
        snapshot
    }

    fn deployment(image: &str) -> Known<Value> {
        let containers = json!([{"name": "tigera-operator", "image": image}]);
        Known::Known(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
    }

    #[test]
    fn two_installs_block() {
        let mut snapshot = snapshot();
        if let Known::Known(install) = &mut snapshot.install {
            install.namespaces.push("calico-system".into());
        }
        assert_eq!(grade(&situation(&snapshot), "install"), "blocker");
        snapshot.install = Known::Absent;
        assert_eq!(grade(&situation(&snapshot), "install"), "blocker");
        assert_eq!(grade(&situation(&by_operator()), "install"), "fine");
    }

    #[test]
    fn operators_before_1_34_block() {
        let snapshot = by_operator();
        let mut it = situation(&snapshot);
        let mut of = |image: &str| {
            it.operator = deployment(image);
            grade(&it, "operator")
        };
        assert_eq!(of("quay.io/tigera/operator:v1.32.4"), "blocker");
        assert_eq!(of("quay.io/tigera/operator:v1.34.0"), "fine");
        assert_eq!(of("quay.io/tigera/operator:latest"), "unknown");
        assert_eq!(grade(&situation(&super::super::fixtures::snapshot()), "operator"), "fine");
    }

    #[test]
    fn the_operators_own_way_is_recognised() {
        let snapshot = by_operator();
        let mut it = situation(&snapshot);
        let mut of = |network: Value| {
            it.installation = Known::Known(json!({"spec": {"calicoNetwork": network}}));
            grade(&it, "operator-auto-mode")
        };
        assert_eq!(of(json!({"bpfNetworkBootstrap": "Enabled"})), "blocker");
        assert_eq!(
            of(json!({"kubeProxyManagement": "Enabled", "bpfNetworkBootstrap": "Disabled"})),
            "blocker"
        );
        assert_eq!(of(json!({"bpfNetworkBootstrap": "Disabled"})), "fine");
        assert_eq!(of(json!({"linuxDataplane": "BPF"})), "fine");
        it.installation = Known::Known(json!({"spec": {"nonPrivileged": "Enabled"}}));
        assert_eq!(grade(&it, "privileged"), "blocker");
        it.installation = Known::Known(json!({"spec": {"nonPrivileged": "Disabled"}}));
        assert_eq!(grade(&it, "privileged"), "fine");
    }

    fn set(container: &Value) -> Known<Value> {
        Known::Known(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
    }

    #[test]
    fn a_datastore_of_its_own_blocks() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |variable: Value| {
            it.calico_node = set(&json!({"name": "calico-node", "env": [variable]}));
            grade(&it, "datastore")
        };
        assert_eq!(of(json!({"name": "DATASTORE_TYPE", "value": "kubernetes"})), "fine");
        assert_eq!(of(json!({"name": "DATASTORE_TYPE", "value": "etcdv3"})), "blocker");
        assert_eq!(of(json!({"name": "ETCD_ENDPOINTS", "value": "https://etcd:2379"})), "blocker");
        assert_eq!(of(json!({"name": "ETCD_ENDPOINTS", "value": ""})), "unknown");
    }

    #[test]
    fn a_small_limit_blocks_where_tables_count() {
        let snapshot = snapshot();
        let mut it = situation(&snapshot);
        let mut of = |limit: &str| {
            let resources = json!({"limits": {"memory": limit}, "requests": {"memory": "64Mi"}});
            it.calico_node = set(&json!({"name": "calico-node", "resources": resources}));
            grade(&it, "memory-limit")
        };
        assert_eq!(of("512Mi"), "blocker");
        assert_eq!(of("800M"), "warning");
        assert_eq!(of("1Gi"), "fine");
        assert_eq!(of("2000000000"), "fine");
        assert_eq!(of("much"), "unknown");
        let other = json!({"name": "sidecar", "resources": {"limits": {"memory": "64Mi"}}});
        it.calico_node = set(&other);
        assert_eq!(grade(&it, "memory-limit"), "fine");
    }

    #[test]
    fn older_kernels_do_not_count_tables() {
        let mut snapshot = snapshot();
        for node in &mut snapshot.nodes.items {
            node.status.node_info.kernel_version = "5.4.0".into();
        }
        let mut it = situation(&snapshot);
        for name in ["node1", "node2"] {
            it.nodes.insert(name.to_owned(), super::super::fixtures::unknown());
        }
        let resources = json!({"limits": {"memory": "256Mi"}});
        it.calico_node = set(&json!({"name": "calico-node", "resources": resources}));
        assert_eq!(grade(&it, "memory-limit"), "fine");
    }
}
