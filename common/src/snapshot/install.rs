//! How Calico was installed.

use std::cmp::Reverse;

use serde::Serialize;

use super::{Coverage, Gap, GapReason, Known, Listing, Snapshot};
use crate::calico::IpPool;
use crate::calico::names::{
    CNI_BIN_DIR, CNI_BIN_VOLUME, CNI_CONFIG_DIR, CNI_CONFIG_VOLUME, CNI_SERVICE_ACCOUNT,
    CNI_SERVICE_ACCOUNT_VARIABLE, MANIFEST_NAMESPACE, OPERATOR_NAMESPACE,
};
use crate::slim::{DaemonSet, ServiceAccount};

/// Who owns the objects of a Calico install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallMethod {
    /// `calico.yaml` or a copy of it, usually in kube-system.
    Manifest,
    /// The Tigera operator, in calico-system.
    Operator,
}

/// One install of Calico.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Install {
    /// Who owns the objects.
    pub method: InstallMethod,
    /// Namespace of DaemonSet calico-node.
    pub namespace: String,
    /// Name of that DaemonSet.
    pub daemon_set: String,
    /// `v3.28.4`, from ClusterInformation, else from calico-node's image tag.
    pub version: Option<String>,
    /// Encapsulation for the header line: `VXLAN`, `IP-in-IP`, `no encapsulation`.
    pub encapsulation: Option<String>,
    /// ServiceAccount whose token the CNI plugin uses.
    pub cni_service_account: String,
    /// Directory of the hosts that holds their network configurations: k3s and others have one of their own.
    pub cni_config_dir: String,
    /// Directory of the hosts that holds their network plugins.
    pub cni_bin_dir: String,
    /// Namespaces of all DaemonSets calico-node: more than one means several installs, or a migration under way.
    pub namespaces: Vec<String>,
}

/// Label by which both install methods select Calico's node agent.
const NODE_LABEL: &str = "k8s-app";
/// Its value, which is the DaemonSet's usual name as well.
const NODE_AGENT: &str = "calico-node";
/// Calico for policy with flannel for the network: DaemonSet, label and ServiceAccount are called so.
const CANAL: &str = "canal";
/// Deployment of the Tigera operator.
const OPERATOR: &str = "tigera-operator";
/// Kind that the operator's objects belong to, group `operator.tigera.io`.
const OWNER_KIND: &str = "Installation";
/// First minor release of v3 in which the CNI plugin has a ServiceAccount of its own.
const OWN_ACCOUNT_SINCE: u64 = 26;

/// The install that `snapshot` shows; absent only when all DaemonSets that could be Calico's were read.
pub(super) fn detect(snapshot: &Snapshot) -> Known<Install> {
    let listing = &snapshot.daemon_sets;
    let mut sets: Vec<&DaemonSet> = listing.items.iter().filter(|set| is_node_agent(set)).collect();
    // During a migration there are two: the one with more pods runs the cluster.
    sets.sort_by_key(|set| {
        (Reverse(set.status.desired_number_scheduled), &set.metadata.namespace, &set.metadata.name)
    });
    if let Some(set) = sets.first() {
        let mut namespaces: Vec<String> =
            sets.iter().map(|set| set.metadata.namespace.clone()).collect();
        namespaces.sort();
        namespaces.dedup();
        return Known::Known(install(snapshot, set, namespaces));
    }
    match &listing.gap {
        Some(gap) => Known::Unknown(gap.clone()),
        None if proves_absence(&listing.coverage) => Known::Absent,
        None => Known::Unknown(Gap::new(
            "cluster/daemonsets.apps.json",
            GapReason::NotAsked,
            "not all DaemonSets that could be Calico's were read",
        )),
    }
}

fn is_node_agent(set: &DaemonSet) -> bool {
    let is = |name: &str| name == NODE_AGENT || name == CANAL;
    is(&set.metadata.name) || set.metadata.labels.get(NODE_LABEL).is_some_and(|label| is(label))
}

/// A list of everything does, and so does one by the node agent's label over all namespaces.
fn proves_absence(coverage: &Coverage) -> bool {
    let is_label = |selector: &String| {
        let Some(label) = selector.strip_prefix("labelSelector=") else { return false };
        // Joined by `&`, it would be narrower than the label.
        match label.split_once(" in (") {
            Some((NODE_LABEL, values)) => values
                .strip_suffix(')')
                .is_some_and(|it| it.split(',').any(|value| value.trim() == NODE_AGENT)),
            _ => label == format!("{NODE_LABEL}={NODE_AGENT}"),
        }
    };
    match coverage {
        Coverage::All => true,
        Coverage::Selected(selectors) => selectors.iter().any(is_label),
        Coverage::None => false,
    }
}

fn install(snapshot: &Snapshot, set: &DaemonSet, namespaces: Vec<String>) -> Install {
    let version = version(snapshot, set);
    let canal = set.metadata.name == CANAL
        || set.metadata.labels.get(NODE_LABEL).is_some_and(|it| it == CANAL);
    Install {
        method: method(snapshot, set),
        namespace: set.metadata.namespace.clone(),
        daemon_set: set.metadata.name.clone(),
        encapsulation: if canal {
            Some("flannel".to_owned())
        } else {
            encapsulation(&snapshot.ip_pools)
        },
        cni_service_account: cni_service_account(snapshot, set, version.as_deref(), canal),
        cni_config_dir: host_path(set, CNI_CONFIG_VOLUME, CNI_CONFIG_DIR),
        cni_bin_dir: host_path(set, CNI_BIN_VOLUME, CNI_BIN_DIR),
        version,
        namespaces,
    }
}

/// The directory of the hosts that this volume mounts.
fn host_path(set: &DaemonSet, volume: &str, usual: &str) -> String {
    let volumes = &set.spec.template.spec.volumes;
    let mounted = volumes.iter().find(|it| it.name == volume).and_then(|it| it.host_path.as_ref());
    let path = mounted.map_or(usual, |it| it.path.trim_end_matches('/'));
    if path.starts_with('/') { path.to_owned() } else { usual.to_owned() }
}

fn method(snapshot: &Snapshot, set: &DaemonSet) -> InstallMethod {
    let namespace = set.metadata.namespace.as_str();
    let owned = set.metadata.owner_references.iter().any(|owner| {
        owner.kind == OWNER_KIND
            && (owner.api_version.is_empty()
                || owner.api_version.starts_with("operator.tigera.io/"))
    });
    // An operator beside a DaemonSet in kube-system is a migration under way: that DaemonSet is not the operator's.
    let operator = namespace != MANIFEST_NAMESPACE
        && snapshot.deployments.items.iter().any(|deployment| deployment.metadata.name == OPERATOR);
    if namespace == OPERATOR_NAMESPACE || owned || operator {
        InstallMethod::Operator
    } else {
        InstallMethod::Manifest
    }
}

/// ClusterInformation tells what really runs; image tags may lie.
fn version(snapshot: &Snapshot, set: &DaemonSet) -> Option<String> {
    let written =
        snapshot.cluster_information.items.iter().map(|it| it.spec.calico_version.as_str());
    let images = set.spec.template.spec.containers.iter();
    let image = || {
        images
            .filter(|it| it.name == NODE_AGENT || it.image.contains("calico/node"))
            .find_map(|it| tag(&it.image))
    };
    written.filter(|it| !it.is_empty()).map(str::to_owned).next().or_else(image)
}

/// `v3.28.5` of `docker.io/calico/node:v3.28.5@sha256:…`; none when the tag is no version.
fn tag(image: &str) -> Option<String> {
    let image = image.split('@').next()?;
    let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
    let number = tag.strip_prefix('v').unwrap_or(tag);
    (number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.'))
        .then(|| format!("v{number}"))
}

fn encapsulation(pools: &Listing<IpPool>) -> Option<String> {
    let pools: Vec<&IpPool> = pools.items.iter().filter(|pool| !pool.spec.disabled).collect();
    if pools.is_empty() {
        return None;
    }
    let on = |mode: &str| !mode.is_empty() && mode != "Never";
    let vxlan = pools.iter().any(|pool| on(&pool.spec.vxlan_mode));
    let ipip = pools.iter().any(|pool| on(&pool.spec.ipip_mode));
    let text = match (vxlan, ipip) {
        (true, true) => "VXLAN and IP-in-IP",
        (true, false) => "VXLAN",
        (false, true) => "IP-in-IP",
        (false, false) => "no encapsulation",
    };
    Some(text.to_owned())
}

fn cni_service_account(
    snapshot: &Snapshot,
    set: &DaemonSet,
    version: Option<&str>,
    canal: bool,
) -> String {
    let template = &set.spec.template.spec;
    if let Some(name) = template.env(CNI_SERVICE_ACCOUNT_VARIABLE) {
        return name.to_owned();
    }
    if template.env_field(CNI_SERVICE_ACCOUNT_VARIABLE) == Some("spec.serviceAccountName") {
        return template.service_account_name.clone();
    }
    if canal {
        return CANAL.to_owned();
    }
    let own = version.and_then(minor).map(|version| version >= (3, OWN_ACCOUNT_SINCE));
    // Without a version, what is there decides; when even that is not known, today's name is the likelier one.
    let own = own.unwrap_or_else(|| {
        let is_own = |name: &str| name == CNI_SERVICE_ACCOUNT;
        let here = |it: &&ServiceAccount| it.metadata.namespace == set.metadata.namespace;
        let accounts = &snapshot.service_accounts;
        !accounts.is_whole()
            || accounts.items.iter().filter(here).any(|it| is_own(&it.metadata.name))
    });
    if own { CNI_SERVICE_ACCOUNT.to_owned() } else { NODE_AGENT.to_owned() }
}

fn minor(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::{HostPath, Volume};

    #[test]
    fn a_distribution_may_have_its_own_directories() {
        let mut set = DaemonSet::default();
        assert_eq!(host_path(&set, CNI_BIN_VOLUME, CNI_BIN_DIR), "/opt/cni/bin");
        let mut mount = |path: &str| {
            set.spec.template.spec.volumes = vec![Volume {
                name: CNI_BIN_VOLUME.into(),
                host_path: Some(HostPath { path: path.into() }),
            }];
            host_path(&set, CNI_BIN_VOLUME, CNI_BIN_DIR)
        };
        assert_eq!(mount("/var/lib/cni/bin/"), "/var/lib/cni/bin");
        assert_eq!(mount("relative"), "/opt/cni/bin");
        assert_eq!(mount(""), "/opt/cni/bin");
    }
}
