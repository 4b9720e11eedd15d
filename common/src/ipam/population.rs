//! Who uses addresses, as pods, nodes and Services tell.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::owner::Tunnel;
use crate::slim::{Node, Pod, Service};
use crate::snapshot::Snapshot;

/// The first address that the CNI plugin gave to a pod, with its prefix length; empty once it took it back.
const POD_IP: &str = "cni.projectcalico.org/podIP";
/// All of them, with commas between.
const POD_IPS: &str = "cni.projectcalico.org/podIPs";
/// Sandbox that they were given to.
pub const CONTAINER_ID: &str = "cni.projectcalico.org/containerID";
/// Addresses that lead to a pod from outside its sandbox.
const FLOATING_IPS: &str = "cni.projectcalico.org/floatingIPs";
/// What Multus writes: addresses of all networks of a pod.
const NETWORK_STATUS: [&str; 2] =
    ["k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status"];
/// Addresses that a Service wants of Calico's load balancer.
const SERVICE_IPS: &str = "projectcalico.org/loadBalancerIPs";

/// Who uses an address.
#[derive(Clone, Copy, Debug)]
pub enum User<'a> {
    /// A pod that has not finished.
    Pod(&'a Pod),
    /// A tunnel device of a node.
    Tunnel(Tunnel, &'a Node),
    /// A Service, as `namespace/name`.
    Service(&'a str, &'a str),
}

impl User<'_> {
    /// Its kind and name, as people write them.
    pub fn text(&self) -> String {
        match self {
            Self::Pod(pod) => format!("pod {}", pod.full_name()),
            Self::Tunnel(tunnel, node) => format!("{} of {}", tunnel.word(), node.metadata.name),
            Self::Service(namespace, name) => format!("Service {namespace}/{name}"),
        }
    }
}

/// Who uses which address.
#[derive(Clone, Debug, Default)]
pub struct Population<'a> {
    users: HashMap<IpAddr, Vec<User<'a>>>,
    /// Addresses that finished pods still show.
    pods: HashMap<(&'a str, &'a str), &'a Pod>,
    /// Nodes by name.
    pub nodes: BTreeMap<&'a str, &'a Node>,
}

impl<'a> Population<'a> {
    /// The users of a cluster's addresses.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut it = Self::default();
        for node in &snapshot.nodes.items {
            it.nodes.insert(&node.metadata.name, node);
            for tunnel in Tunnel::ALL {
                let text = node.metadata.annotations.get(tunnel.annotation());
                if let Some(address) = text.and_then(|text| address(text)) {
                    it.put(address, User::Tunnel(tunnel, node));
                }
            }
        }
        for pod in &snapshot.pods.items {
            it.pods.insert((&pod.metadata.namespace, &pod.metadata.name), pod);
            for address in addresses_of(pod) {
                it.put(address, User::Pod(pod));
            }
        }
        for service in &snapshot.addresses.services.items {
            for address in service_addresses(service) {
                let its = &service.metadata;
                it.put(address, User::Service(&its.namespace, &its.name));
            }
        }
        it
    }

    fn put(&mut self, address: IpAddr, user: User<'a>) {
        self.users.entry(address).or_default().push(user);
    }

    /// Who uses an address now.
    pub fn users(&self, address: IpAddr) -> &[User<'a>] {
        self.users.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Every address that is used, sorted.
    pub fn all(&self) -> Vec<(IpAddr, &[User<'a>])> {
        let mut all: Vec<_> =
            self.users.iter().map(|(address, users)| (*address, users.as_slice())).collect();
        all.sort_by_key(|it| it.0);
        all
    }

    /// A pod, whether it has finished or not.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&'a Pod> {
        self.pods.get(&(namespace, name)).copied()
    }
}

/// Addresses that a pod uses: none before it has a node, none of the host's, and none once it has finished.
fn addresses_of(pod: &Pod) -> BTreeSet<IpAddr> {
    if pod.spec.host_network || pod.spec.node_name.is_empty() || pod.is_finished() {
        return BTreeSet::new();
    }
    shown_by(pod)
}

/// Addresses of its first network that a pod holds now. What the CNI plugin notes on it tells more than its status, which still
/// shows an address that was given back.
pub fn held_by(pod: &Pod) -> BTreeSet<IpAddr> {
    let annotation = |key: &str| pod.metadata.annotations.get(key).map(String::as_str);
    match annotation(POD_IP) {
        Some("") => BTreeSet::new(),
        Some(first) => {
            listed(first).chain(listed(annotation(POD_IPS).unwrap_or_default())).collect()
        }
        None => {
            let all = pod.status.pod_ips.iter().map(|it| it.ip.as_str());
            all.chain([pod.status.pod_ip.as_str()]).filter_map(address).collect()
        }
    }
}

/// Every address that a pod shows anywhere.
pub(super) fn shown_by(pod: &Pod) -> BTreeSet<IpAddr> {
    let status = pod.status.pod_ips.iter().map(|it| it.ip.as_str());
    let mut all: BTreeSet<IpAddr> =
        status.chain([pod.status.pod_ip.as_str()]).filter_map(address).collect();
    let annotation = |key: &str| pod.metadata.annotations.get(key).map(String::as_str);
    for key in [POD_IP, POD_IPS] {
        all.extend(listed(annotation(key).unwrap_or_default()));
    }
    let floating = annotation(FLOATING_IPS).unwrap_or_default();
    all.extend(listed(floating.trim_matches(['[', ']'])));
    for text in NETWORK_STATUS.into_iter().filter_map(annotation) {
        all.extend(of_networks(text));
    }
    all
}

/// Every address that a Service has or wants.
pub(super) fn service_addresses(service: &Service) -> BTreeSet<IpAddr> {
    let ingress = service.status.load_balancer.ingress.iter().map(|it| it.ip.as_str());
    let wanted = service.metadata.annotations.get(SERVICE_IPS).map(String::as_str);
    let texts = ingress.chain([service.spec.load_balancer_ip.as_str()]);
    let mut all: BTreeSet<IpAddr> = texts.filter_map(address).collect();
    all.extend(listed(wanted.unwrap_or_default()));
    all
}

/// `a,b`, each with quotes and a prefix length or without.
fn listed(text: &str) -> impl Iterator<Item = IpAddr> + '_ {
    text.split(',').filter_map(|it| address(it.trim().trim_matches('"')))
}

/// An address, whose prefix length does not matter.
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.trim().parse().ok()
}

#[derive(Deserialize)]
struct NetworkStatus {
    #[serde(default)]
    ips: Vec<String>,
}

fn of_networks(text: &str) -> Vec<IpAddr> {
    let all: Vec<NetworkStatus> = serde_json::from_str(text).unwrap_or_default();
    all.iter().flat_map(|it| &it.ips).filter_map(|it| address(it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_not_held() {
        let mut pod = crate::ipam::fixtures::pod("p", "10.0.0.1", None);
        let held =
            |pod: &Pod| -> Vec<String> { held_by(pod).iter().map(ToString::to_string).collect() };
        assert_eq!(held(&pod), ["10.0.0.1"]);
        pod.metadata.annotations.insert(POD_IP.into(), "10.0.0.2/32".into());
        pod.metadata.annotations.insert(POD_IPS.into(), "10.0.0.2/32,fd00::2/128".into());
        assert_eq!(held(&pod), ["10.0.0.2", "fd00::2"]);
        pod.metadata.annotations.insert(POD_IP.into(), String::new());
        assert_eq!(held(&pod), [""; 0]);
    }

    #[test]
    fn a_pod_shows_addresses_in_many_places() {
        let json = r#"{"metadata":{"annotations":{
            "cni.projectcalico.org/podIP":"10.0.0.1/32","cni.projectcalico.org/podIPs":"10.0.0.1/32,fd00::1/128",
            "cni.projectcalico.org/floatingIPs":"[\"10.0.0.9\"]",
            "k8s.v1.cni.cncf.io/network-status":"[{\"ips\":[\"10.0.0.7\"]},{\"name\":\"x\"}]"}},
            "spec":{"nodeName":"a"},"status":{"podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"}],"phase":"Running"}}"#;
        let mut pod: Pod = serde_json::from_str(json).unwrap();
        let texts = |pod: &Pod| -> Vec<String> {
            addresses_of(pod).iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&pod), ["10.0.0.1", "10.0.0.2", "10.0.0.7", "10.0.0.9", "fd00::1"]);
        pod.status.phase = "Succeeded".into();
        assert_eq!(texts(&pod), [""; 0]);
        pod.status.phase = "Running".into();
        pod.spec.host_network = true;
        assert_eq!(texts(&pod), [""; 0]);
    }
}
