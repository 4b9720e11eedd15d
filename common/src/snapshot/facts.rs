//! Questions that checks ask of a snapshot.

use std::collections::BTreeSet;

use super::{Gap, GapReason, Known, Snapshot, kubeconfig};
use crate::calico::credentials::RootCa;
use crate::calico::names::{MANIFEST_NAMESPACE, ROOT_CA_CONFIG_MAP, ROOT_CA_KEY};
use crate::slim::ServiceAccount;

impl Snapshot {
    /// The cluster's CA: ConfigMap kube-root-ca.crt. Every namespace has a copy; that of Calico's namespace counts, then that of
    /// kube-system, then any.
    pub fn root_ca(&self) -> Known<RootCa> {
        let calico = self.install.known().map(|install| install.namespace.as_str());
        let in_namespace = |namespace: &str| {
            let is_it = |name: &str, its: &str| {
                name == ROOT_CA_CONFIG_MAP && (namespace.is_empty() || its == namespace)
            };
            self.config_maps
                .items
                .iter()
                .filter(|map| is_it(&map.metadata.name, &map.metadata.namespace))
                .find_map(|map| map.data.get(ROOT_CA_KEY).filter(|pem| !pem.is_empty()))
        };
        let pem = calico
            .and_then(in_namespace)
            .or_else(|| in_namespace(MANIFEST_NAMESPACE))
            .or_else(|| in_namespace(""));
        match pem {
            Some(pem) => Known::Known(RootCa::of(pem, kubeconfig::pem_sha256)),
            None if self.config_maps.is_whole() => Known::Absent,
            None => Known::Unknown(self.config_maps.gap.clone().unwrap_or_else(|| {
                Gap::new(
                    "cluster/configmaps.json",
                    GapReason::NotAsked,
                    "kube-root-ca.crt was not read",
                )
            })),
        }
    }

    /// The ServiceAccount whose token the CNI plugin should use. Absent when Calico is installed without it, and when Calico is not installed.
    pub fn cni_service_account(&self) -> Known<&ServiceAccount> {
        self.install.as_ref().and_then(|install| {
            self.service_account(&install.namespace, &install.cni_service_account)
        })
    }

    /// Whether calico-node is meant to run on a node: not on Windows, nor where no pod is although the DaemonSet has all that it
    /// wants.
    pub fn is_managed(&self, node: &str) -> bool {
        let found = self.nodes.items.iter().find(|it| it.metadata.name == node);
        if found.is_some_and(|it| !it.is_linux()) {
            return false;
        }
        if self.calico_node_on(node).is_some() || !self.pods.is_whole() {
            return true;
        }
        let Some(install) = self.install.known() else { return true };
        let set = self.daemon_sets.items.iter().find(|set| {
            set.metadata.namespace == install.namespace && set.metadata.name == install.daemon_set
        });
        let with_pod: BTreeSet<&str> =
            self.calico_node_pods().map(|pod| pod.spec.node_name.as_str()).collect();
        let have = i64::try_from(with_pod.len()).unwrap_or(i64::MAX);
        // A DaemonSet that was just made has not counted yet.
        set.is_none_or(|set| {
            let wanted = set.status.desired_number_scheduled;
            wanted == 0 || have < wanted
        })
    }
}
