//! How calico-node reaches the API server. Behind the ClusterIP of Service default/kubernetes nobody answers once kube-proxy is
//! gone and eBPF has not begun.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::super::{Endpoint, Situation, text};
use crate::snapshot::Known;
use serde_json::Value;

/// By which means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointMode {
    /// By the ClusterIP of Service default/kubernetes, as every pod does.
    ClusterIp,
    /// At an address that a ConfigMap names.
    ConfigMap,
    /// By the ClusterIP, which calico-node's init container itself puts into the NAT tables.
    Bootstrap,
    /// By a proxy on the node itself.
    NodeLocal,
    /// At an address that only its own environment names.
    Environment,
}

/// How it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUse {
    /// By which means.
    pub mode: EndpointMode,
    /// Where, as it is written; none for the ClusterIP.
    pub written: Option<Endpoint>,
    /// Where it is written.
    pub by: String,
    /// What calico-node uses on the nodes that were looked at.
    pub used: BTreeSet<Endpoint>,
}

/// How calico-node of this cluster reaches the API server.
pub(super) fn of(situation: &Situation<'_>) -> Known<EndpointUse> {
    let used: BTreeSet<Endpoint> = situation
        .nodes
        .values()
        .filter_map(|facts| facts.known()?.endpoint.known().cloned())
        .collect();
    if let Some(gap) = situation.endpoint_config.gap() {
        return Known::Unknown(gap.clone());
    }
    let map = situation.endpoint_config.known();
    let written = map.and_then(|it| pair(it, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"));
    if let Some(endpoint) = written {
        let namespace = situation.endpoint_namespace().known().cloned().unwrap_or_default();
        let by = format!("ConfigMap {namespace}/kubernetes-services-endpoint");
        return Known::Known(named(endpoint, by, used));
    }
    if is_bootstrap(situation) {
        let by = "Installation default (bpfNetworkBootstrap: Enabled)".to_owned();
        return Known::Known(EndpointUse {
            mode: EndpointMode::Bootstrap,
            written: None,
            by,
            used,
        });
    }
    let config = situation.calico_config.known();
    let written =
        config.and_then(|it| pair(it, "kubernetes_service_host", "kubernetes_service_port"));
    if let Some(endpoint) = written {
        return Known::Known(named(endpoint, "ConfigMap calico-config".to_owned(), used));
    }
    from_nodes(situation, used)
}

/// Nobody wrote anything down: what the nodes use tells.
fn from_nodes(situation: &Situation<'_>, used: BTreeSet<Endpoint>) -> Known<EndpointUse> {
    let cluster_ips = cluster_ips(situation);
    let by = "calico-node's environment".to_owned();
    let mode = match used.iter().find(|it| !cluster_ips.contains(&it.host)) {
        None => EndpointMode::ClusterIp,
        // Without the Service nobody knows what its address is.
        Some(_) if cluster_ips.is_empty() => match situation.services.gap() {
            Some(gap) => return Known::Unknown(gap.clone()),
            None => EndpointMode::Environment,
        },
        Some(endpoint) if is_local(endpoint) => EndpointMode::NodeLocal,
        Some(_) => EndpointMode::Environment,
    };
    Known::Known(EndpointUse { mode, written: None, by, used })
}

fn named(endpoint: Endpoint, by: String, used: BTreeSet<Endpoint>) -> EndpointUse {
    let mode = if is_local(&endpoint) { EndpointMode::NodeLocal } else { EndpointMode::ConfigMap };
    EndpointUse { mode, written: Some(endpoint), by, used }
}

/// Two keys of a ConfigMap that together name an endpoint. A port that is none is 0, which nobody uses.
fn pair(map: &Value, host: &str, port: &str) -> Option<Endpoint> {
    let of = |key: &str| map.pointer("/data")?.get(key)?.as_str();
    let host = of(host).map(|it| it.trim_matches(['[', ']'])).filter(|it| !it.is_empty())?;
    let port = of(port).and_then(|it| it.parse().ok()).unwrap_or(0);
    Some(Endpoint { host: host.to_owned(), port })
}

pub(super) fn is_bootstrap(situation: &Situation<'_>) -> bool {
    let installation = situation.installation.known();
    installation.and_then(|it| text(it, "/spec/calicoNetwork/bpfNetworkBootstrap"))
        == Some("Enabled")
}

/// ClusterIPs of Service default/kubernetes.
pub(super) fn cluster_ips(situation: &Situation<'_>) -> BTreeSet<String> {
    let Some(service) = kubernetes(situation) else { return BTreeSet::new() };
    let more = service.pointer("/spec/clusterIPs").and_then(Value::as_array);
    let first = service.pointer("/spec/clusterIP");
    let all = more.into_iter().flatten().chain(first).filter_map(Value::as_str);
    all.map(str::to_owned).collect()
}

/// Service default/kubernetes.
pub(super) fn kubernetes<'s>(situation: &'s Situation<'_>) -> Option<&'s Value> {
    situation.services.known()?.iter().find(|it| {
        text(it, "/metadata/name") == Some("kubernetes")
            && text(it, "/metadata/namespace") == Some("default")
    })
}

fn is_local(endpoint: &Endpoint) -> bool {
    endpoint.host == "localhost"
        || endpoint.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
