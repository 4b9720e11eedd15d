//! Which endpoints a cluster knows, and how far each may be trusted.

use core::net::IpAddr;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parse_endpoint;
use crate::bpf::requirements::CalicoVersion;
use crate::bpf::{Endpoint, Situation, text};
use crate::slim::Node;
use crate::snapshot::{Gap, InstallMethod, Known};

/// Where an endpoint is known from, the most trustworthy first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The user gave it.
    Given,
    /// ConfigMap kubernetes-services-endpoint: Calico uses it already.
    Existing,
    /// kube-proxy's kubeconfig: kube-proxy depends on it, and never on a Service.
    KubeProxy,
    /// `controlPlaneEndpoint` of kubeadm's configuration.
    Kubeadm,
    /// ConfigMap kube-public/cluster-info.
    ClusterInfo,
    /// kubeconfigs of the nodes' own programs.
    Nodes,
    /// The addresses behind Service default/kubernetes.
    ApiServers,
    /// The user's own kubeconfig.
    Kubeconfig,
}

impl Source {
    /// In words, for a table.
    pub fn words(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Existing => "kubernetes-services-endpoint",
            Self::KubeProxy => "kube-proxy's kubeconfig",
            Self::Kubeadm => "kubeadm-config",
            Self::ClusterInfo => "cluster-info",
            Self::Nodes => "nodes' kubeconfigs",
            Self::ApiServers => "API servers' addresses",
            Self::Kubeconfig => "your kubeconfig",
        }
    }
}

/// An endpoint that the cluster knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Who knows it, the most trustworthy first.
    pub sources: Vec<Source>,
    /// What to bear in mind.
    pub caveats: Vec<String>,
    /// Why it cannot be used.
    pub rejected: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Endpoints, the best one first; those that cannot be used last.
    pub candidates: Vec<Candidate>,
    /// Sources that could not be read.
    pub gaps: Vec<Gap>,
}

impl Discovery {
    /// The best endpoint that can be used.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|it| it.rejected.is_none())
    }
}

/// Ranks the endpoints that a situation shows. `given` is the user's wish, `server` the URL of the user's kubeconfig.
pub fn discover(situation: &Situation<'_>, given: Option<&Endpoint>, server: &str) -> Discovery {
    let mut found: Vec<(Source, String)> = Vec::new();
    let mut gaps = Vec::new();
    found.extend(given.map(|it| (Source::Given, it.to_string())));
    let mut take = |source: Source, known: Known<Vec<String>>| match known {
        Known::Known(all) => found.extend(all.into_iter().map(|it| (source, it))),
        Known::Absent => {}
        Known::Unknown(gap) => gaps.push(gap),
    };
    take(Source::Existing, existing(situation));
    take(
        Source::KubeProxy,
        of_config_map(&situation.kube_proxy_config, &["kubeconfig.conf", "kubeconfig"], kubeconfig),
    );
    take(
        Source::Kubeadm,
        of_config_map(&situation.kubeadm_config, &["ClusterConfiguration"], control_plane),
    );
    take(Source::ClusterInfo, of_config_map(&situation.cluster_info, &["kubeconfig"], kubeconfig));
    take(Source::Nodes, Known::Known(of_nodes(situation)));
    let api_servers = api_servers(situation);
    take(Source::ApiServers, api_servers.clone());
    take(Source::Kubeconfig, Known::Known(vec![server.to_owned()]));
    let behind = api_servers.known().map_or(0, Vec::len);
    let mut candidates: Vec<Candidate> = Vec::new();
    for (source, says) in found {
        let Ok(endpoint) = parse_endpoint(&says) else { continue };
        match candidates.iter_mut().find(|it| it.endpoint == endpoint) {
            Some(known) if known.sources.contains(&source) => {}
            Some(known) => known.sources.push(source),
            None => candidates.push(Candidate {
                endpoint,
                sources: vec![source],
                caveats: Vec::new(),
                rejected: None,
            }),
        }
    }
    for candidate in &mut candidates {
        candidate.rejected = rejection(situation, candidate, behind);
        candidate.caveats = caveats(situation, candidate);
    }
    // Stable: within either half the order is that of the sources.
    candidates.sort_by_key(|it| it.rejected.is_some());
    gaps.sort();
    gaps.dedup();
    Discovery { candidates, gaps }
}

/// Where Calico is told to go already.
fn existing(situation: &Situation<'_>) -> Known<Vec<String>> {
    situation.endpoint_config.as_ref().map(|map| {
        let of = |key: &str| text(map, &format!("/data/KUBERNETES_SERVICE_{key}"));
        let joined = |(host, port): (&str, &str)| {
            let port = port.parse().ok()?;
            Some(Endpoint { host: host.trim_matches(['[', ']']).to_owned(), port }.to_string())
        };
        of("HOST").zip(of("PORT")).and_then(joined).into_iter().collect()
    })
}

/// What `read` finds in the first of these keys that the ConfigMap has.
fn of_config_map(
    map: &Known<Value>,
    keys: &[&str],
    read: fn(&str) -> Vec<String>,
) -> Known<Vec<String>> {
    map.as_ref().map(|map| {
        let data = map.get("data");
        let document = keys.iter().find_map(|key| data?.get(*key)?.as_str());
        document.map(read).unwrap_or_default()
    })
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Kubeconfig {
    clusters: Vec<NamedCluster>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NamedCluster {
    cluster: ClusterEntry,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClusterEntry {
    server: String,
}

fn kubeconfig(document: &str) -> Vec<String> {
    let config: Kubeconfig = serde_yaml::from_str(document).unwrap_or_default();
    config.clusters.into_iter().map(|it| it.cluster.server).filter(|it| !it.is_empty()).collect()
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ClusterConfiguration {
    control_plane_endpoint: String,
}

fn control_plane(document: &str) -> Vec<String> {
    let found: ClusterConfiguration = serde_yaml::from_str(document).unwrap_or_default();
    let endpoint = found.control_plane_endpoint;
    if endpoint.is_empty() {
        return Vec::new();
    }
    // kubeadm's port unless it says another.
    let has_port = parse_endpoint(&endpoint).is_ok();
    vec![if has_port { endpoint } else { format!("{endpoint}:6443") }]
}

/// Of the nodes that were looked at from their host.
fn of_nodes(situation: &Situation<'_>) -> Vec<String> {
    let facts = situation.nodes.values().filter_map(Known::known);
    let servers = facts.filter_map(|it| it.servers.known()).flatten().map(|(_, it)| it.clone());
    servers.collect::<BTreeSet<String>>().into_iter().collect()
}

/// Every address of Service default/kubernetes with its port.
fn api_servers(situation: &Situation<'_>) -> Known<Vec<String>> {
    situation.api_server_slices.as_ref().map(|slices| {
        let mut all = BTreeSet::new();
        for slice in slices {
            let ports = slice.get("ports").and_then(Value::as_array);
            let https = ports.into_iter().flatten().find(|it| text(it, "/name") == Some("https"));
            let port =
                https.and_then(|it| it.get("port")?.as_u64()).and_then(|it| u16::try_from(it).ok());
            let endpoints = slice.get("endpoints").and_then(Value::as_array);
            let addresses = endpoints
                .into_iter()
                .flatten()
                .filter_map(|it| it.get("addresses")?.as_array())
                .flatten()
                .filter_map(Value::as_str);
            for address in addresses {
                all.extend(
                    port.map(|port| Endpoint { host: address.to_owned(), port }.to_string()),
                );
            }
        }
        all.into_iter().collect()
    })
}

/// First version of the operator that tells the endpoint to nobody in the pod network.
const HOST_NETWORK_ONLY: CalicoVersion = CalicoVersion(1, 42, 0);

/// Why an endpoint cannot be used.
fn rejection(situation: &Situation<'_>, candidate: &Candidate, behind: usize) -> Option<String> {
    let Endpoint { host, port } = &candidate.endpoint;
    let address: Option<IpAddr> = host.parse().ok();
    if address.is_some_and(|it| is_cluster_ip(situation, it)) {
        return Some(
            "it is the ClusterIP of a Service, which is what eBPF must make work first".to_owned(),
        );
    }
    if is_service_name(host) {
        return Some("it is the name of a Service".to_owned());
    }
    if address.is_some_and(|it| it.is_unspecified()) {
        return Some("it is no address of anything".to_owned());
    }
    if is_local(&candidate.endpoint) && is_operator_before(situation, HOST_NETWORK_ONLY) {
        return Some(
            "kube-controllers and Calico's API server would get it as well, and have nobody there"
                .to_owned(),
        );
    }
    let only = candidate.sources == [Source::ApiServers];
    (only && behind > 1).then(|| {
        format!(
            "it is one of {behind} API servers (port {port}): when that one fails, Calico fails"
        )
    })
}

fn is_cluster_ip(situation: &Situation<'_>, address: IpAddr) -> bool {
    let services = situation.services.known().into_iter().flatten();
    let addresses = services.flat_map(|it| {
        let all = it.pointer("/spec/clusterIPs").and_then(Value::as_array);
        let listed = all.into_iter().flatten().filter_map(Value::as_str);
        listed.chain(text(it, "/spec/clusterIP"))
    });
    addresses.filter_map(|it| it.parse::<IpAddr>().ok()).any(|it| it == address)
}

fn is_service_name(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "kubernetes"
        || host == "kubernetes.default"
        || host.starts_with("kubernetes.default.svc")
}

fn is_local(endpoint: &Endpoint) -> bool {
    let address: Option<IpAddr> = endpoint.host.parse().ok();
    address.is_some_and(|it| it.is_loopback()) || endpoint.host == "localhost"
}

fn operator_version(situation: &Situation<'_>) -> Option<CalicoVersion> {
    let operator = situation.operator.known()?;
    CalicoVersion::of_image(text(operator, "/spec/template/spec/containers/0/image")?)
}

fn by_operator(situation: &Situation<'_>) -> bool {
    situation.snapshot.install.known().is_some_and(|it| it.method == InstallMethod::Operator)
}

fn is_operator_before(situation: &Situation<'_>, version: CalicoVersion) -> bool {
    // A version that cannot be told may be an old one.
    by_operator(situation) && operator_version(situation).is_none_or(|it| it < version)
}

/// What to bear in mind about an endpoint.
fn caveats(situation: &Situation<'_>, candidate: &Candidate) -> Vec<String> {
    let mut caveats = Vec::new();
    let Endpoint { host, .. } = &candidate.endpoint;
    let is_name = host.parse::<IpAddr>().is_err() && host != "localhost";
    if is_local(&candidate.endpoint) {
        caveats.push("every node needs somebody who answers there".to_owned());
    } else if is_name && waits_for_dns(situation) {
        caveats.push("it is a name, and with this operator calico-node asks the cluster's DNS, which needs calico-node: after a reboot neither starts; take an address".to_owned());
    } else if is_name {
        caveats.push("it is a name: every node's own resolver must know it".to_owned());
    }
    let planes: Vec<&Node> =
        situation.snapshot.nodes.items.iter().filter(|it| is_control_plane(it)).collect();
    let own = planes.iter().find(|it| it.status.addresses.iter().any(|it| it.address == *host));
    if let Some(node) = own.filter(|_| planes.len() > 1) {
        caveats.push(format!(
            "it is an address of {} alone, one of {} control planes",
            node.metadata.name,
            planes.len()
        ));
    }
    if candidate.sources == [Source::Kubeconfig] {
        caveats.push("only your kubeconfig knows it: it may be a way in from outside that nodes should not take".to_owned());
    }
    caveats
}

fn is_control_plane(node: &Node) -> bool {
    let labels = &node.metadata.labels;
    ["control-plane", "master"]
        .iter()
        .any(|it| labels.contains_key(&format!("node-role.kubernetes.io/{it}")))
}

/// Operators whose calico-node asks the cluster's DNS first.
fn waits_for_dns(situation: &Situation<'_>) -> bool {
    let is_within = |it: CalicoVersion| {
        (CalicoVersion(1, 38, 0)..=CalicoVersion(1, 38, 6)).contains(&it)
            || (CalicoVersion(1, 40, 0)..=CalicoVersion(1, 42, 4)).contains(&it)
    };
    by_operator(situation) && operator_version(situation).is_some_and(is_within)
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
