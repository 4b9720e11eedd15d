//! Asks what the data plane's requirements, changes and state are judged by. What may not be read is unknown, never none.

mod facts;
mod from_here;
mod objects;
mod tests_from_nodes;

use std::collections::BTreeSet;

pub use facts::{NODES_AT_ONCE, facts, nodes_to_ask};
pub use from_here::prove_from_here;
pub use tests_from_nodes::{authority, facts_of_hosts, load_test, prove};

use super::{Progress, Quiet};
use crate::bpf::{
    ENDPOINT_CONFIG_MAP, KUBE_PROXY, Situation, TIGERA_OPERATOR, endpoint_namespace, felix_group,
};
use crate::calico::names::{CALICO_CONFIG_MAP, MANIFEST_NAMESPACE, ROOT_CA_CONFIG_MAP};
use crate::cluster::Cluster;
use crate::snapshot::{Install, Known, Snapshot};
use objects::Asker;

/// Everything about the cluster that `snapshot` shows: objects, and what each node that runs Linux shows through its
/// calico-node pod. It creates nothing, and may be dropped at any point.
pub async fn situation<'a>(cluster: &Cluster, snapshot: &'a Snapshot) -> Situation<'a> {
    let nodes = nodes_to_ask(snapshot);
    situation_of(cluster, snapshot, &nodes, &Quiet).await
}

/// The same, of these nodes only, telling how it goes on.
pub async fn situation_of<'a>(
    cluster: &Cluster,
    snapshot: &'a Snapshot,
    nodes: &BTreeSet<String>,
    progress: &dyn Progress,
) -> Situation<'a> {
    progress.stage("reading what the data plane depends on", None);
    let ask = Asker::new(cluster);
    let system = MANIFEST_NAMESPACE;
    let install = &snapshot.install;
    let (felix, felix_fields, installation, installation_fields, tigera_status, operator) = tokio::join!(
        felix(&ask, snapshot),
        felix_fields(&ask, snapshot),
        ask.object("operator.tigera.io", "installations", "", "default"),
        ask.fields("installations.operator.tigera.io", "/spec/properties/calicoNetwork"),
        ask.list("operator.tigera.io", "v1", "tigerastatuses"),
        ask.object("apps", "deployments", TIGERA_OPERATOR, "tigera-operator"),
    );
    let (calico_node, typha, kube_controllers, calico_config, endpoint_config, daemon_sets) = tokio::join!(
        of_install(&ask, install, "apps", "daemonsets", |it| it.daemon_set.clone()),
        of_install(&ask, install, "apps", "deployments", |_| "calico-typha".to_owned()),
        of_install(&ask, install, "apps", "deployments", |_| "calico-kube-controllers".to_owned()),
        of_install(&ask, install, "", "configmaps", |_| CALICO_CONFIG_MAP.to_owned()),
        endpoint_config(&ask, install),
        ask.list("apps", "v1", "daemonsets"),
    );
    let (kube_proxy, kube_proxy_config, kubeadm_config, cluster_info, root_ca, services) = tokio::join!(
        ask.object("apps", "daemonsets", system, KUBE_PROXY),
        ask.object("", "configmaps", system, KUBE_PROXY),
        ask.object("", "configmaps", system, "kubeadm-config"),
        ask.object("", "configmaps", "kube-public", "cluster-info"),
        ask.object("", "configmaps", system, ROOT_CA_CONFIG_MAP),
        ask.list("", "v1", "services"),
    );
    let (api_server_slices, webhooks, api_services) = tokio::join!(
        ask.api_server_slices(),
        ask.webhooks(),
        ask.list("apiregistration.k8s.io", "v1", "apiservices"),
    );
    let nodes = facts(cluster, snapshot, nodes, progress).await;
    progress.done();
    Situation {
        snapshot,
        felix,
        felix_fields,
        installation,
        installation_fields,
        tigera_status,
        operator,
        calico_node,
        typha,
        kube_controllers,
        calico_config,
        endpoint_config,
        daemon_sets,
        kube_proxy,
        kube_proxy_config,
        kubeadm_config,
        cluster_info,
        root_ca,
        services,
        api_server_slices,
        webhooks,
        api_services,
        nodes,
    }
}

async fn felix(ask: &Asker<'_>, snapshot: &Snapshot) -> Known<Vec<serde_json::Value>> {
    match felix_group(snapshot) {
        Known::Known((group, version)) => ask.list(group, version, "felixconfigurations").await,
        Known::Absent => Known::Absent,
        Known::Unknown(gap) => Known::Unknown(gap),
    }
}

async fn felix_fields(ask: &Asker<'_>, snapshot: &Snapshot) -> Known<BTreeSet<String>> {
    match felix_group(snapshot) {
        Known::Known((group, _)) => {
            ask.fields(&format!("felixconfigurations.{group}"), "/spec").await
        }
        Known::Absent => Known::Absent,
        Known::Unknown(gap) => Known::Unknown(gap),
    }
}

/// An object of Calico's namespace.
async fn of_install(
    ask: &Asker<'_>,
    install: &Known<Install>,
    group: &str,
    plural: &str,
    name: impl Fn(&Install) -> String,
) -> Known<serde_json::Value> {
    match install {
        Known::Known(it) => ask.object(group, plural, &it.namespace, &name(it)).await,
        Known::Absent => Known::Absent,
        Known::Unknown(gap) => Known::Unknown(gap.clone()),
    }
}

async fn endpoint_config(ask: &Asker<'_>, install: &Known<Install>) -> Known<serde_json::Value> {
    match install {
        Known::Known(it) => {
            let namespace = endpoint_namespace(it.method, &it.namespace);
            ask.object("", "configmaps", &namespace, ENDPOINT_CONFIG_MAP).await
        }
        Known::Absent => Known::Absent,
        Known::Unknown(gap) => Known::Unknown(gap.clone()),
    }
}
