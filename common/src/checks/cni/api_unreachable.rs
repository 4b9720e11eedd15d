//! CAL-CNI-010.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::checks::Context;
use crate::checks::pod::hanging::Hanging;
use crate::checks::pod::kubelet_text::TextCause;
use crate::checks::pod::said::{place, quote, said};
use crate::findings::{Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject};
use crate::plan::RemedyName;
use crate::slim::Pod;

const CODE: Code = Code("CAL-CNI-010");

/// Port of Service kubernetes in namespace default, in practically every cluster.
const SERVICE_PORT: &str = "443";

check! {
    /// # The CNI plugin does not reach the API server
    ///
    /// ## What it detects
    /// Pods hang because the CNI plugin got no answer from the address in /etc/cni/net.d/calico-kubeconfig: refused, timed out,
    /// no route. The node's kubelet does reach the API server, or this would not be known: it uses another address. What lies
    /// between is named: the Service's address needs kube-proxy (or eBPF) on that node; a node's or a load balancer's own
    /// address needs what listens there. An address that only this node's file names, while all others name another one, is
    /// one of old: calico-node writes the right one when it starts.
    ///
    /// ## How sure
    /// Likely. The kubelet's texts about pods that hang now are quoted; an address counts as a Service's when no node has it and
    /// its port is 443. Pods younger than 20 s are not counted: the API server may just have been restarted. A certificate
    /// that is not trusted is CAL-CNI-006.
    ///
    /// ## What it looks like
    /// `error getting ClusterInformation: Get "https://10.96.0.1:443/apis/crd.projectcalico.org/v1/clusterinformations/default": dial tcp 10.96.0.1:443: i/o timeout`
    ///
    /// ## What to do
    /// An address of old: `kubectl calico-doctor fix CAL-CNI-010` restarts calico-node there.
    /// Service's address: see kube-proxy on that node and its log; with eBPF, ConfigMap kubernetes-services-endpoint. Another
    /// address: see what listens there, and whether the node reaches it (`nc -vz HOST PORT`). Pods that hang heal by themselves.
    ///
    /// ## What not to do
    /// Deleting the pods: their removal needs the same request. `kubeadm reset`: during one, this is what it looks like.
    API_UNREACHABLE: "CAL-CNI-010", "the CNI plugin does not reach the API server", "cni", Critical,
    needs [Nodes, Pods, Events], fix Safe, run
}

/// What kind of address the plugin asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Address {
    /// The Service's, and kube-proxy does not run there.
    ServiceWithoutProxy,
    /// The Service's.
    Service,
    /// A node's own, or a load balancer's, or a name.
    Host,
    /// One that no program can reach.
    Malformed,
    /// One that only this node's file names; all others name another one.
    Old,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let texts = said(context, |cause| matches!(cause, TextCause::ApiUnreachable { .. }));
    let unreachable: BTreeSet<&str> = texts.values().flatten().filter_map(server_of).collect();
    let mut groups: BTreeMap<(Address, String), Vec<&Hanging<'_>>> = BTreeMap::new();
    for one in texts.values().flatten() {
        if let TextCause::ApiUnreachable { server } = &one.cause {
            let node = &one.pod.spec.node_name;
            let address = match named_elsewhere(context, node, server, &unreachable) {
                Some(_) => Address::Old,
                None => address(context, node, server),
            };
            groups.entry((address, server.clone())).or_default().push(one);
        }
    }
    for ((address, server), hanging) in groups {
        let mut finding = finding(context, address, &server, &hanging);
        if address == Address::Old {
            renewable(context, &mut finding, &server, &unreachable);
        }
        out.report(finding);
    }
}

fn server_of<'a>(one: &'a Hanging<'_>) -> Option<&'a str> {
    match &one.cause {
        TextCause::ApiUnreachable { server } => Some(server),
        _ => None,
    }
}

/// The API server that the files of all other nodes name, and that is reached there; none unless this node's file names
/// `server`, the others agree, and calico-node can start here to write the file anew.
fn named_elsewhere(
    context: &Context<'_>,
    node: &str,
    server: &str,
    unreachable: &BTreeSet<&str>,
) -> Option<String> {
    let named = |node: &str| -> Option<String> {
        let file = context.config_files(node).known()?.cni_kubeconfig.known()?;
        let url = file.server.known()?;
        let rest = url.strip_prefix("https://").unwrap_or(url);
        Some(rest.trim_end_matches('/').to_owned())
    };
    if named(node)? != server || context.calico_node_can_start(node).is_err() {
        return None;
    }
    let nodes = context.linux_nodes().into_iter().map(|it| it.metadata.name.as_str());
    let others: BTreeSet<String> = nodes.filter_map(named).filter(|it| it != server).collect();
    let only = others.into_iter().collect::<Vec<_>>();
    match only.as_slice() {
        [other] if !unreachable.contains(other.as_str()) => Some(other.clone()),
        _ => None,
    }
}

/// Says which address is the right one, and that calico-node writes it.
fn renewable(
    context: &Context<'_>,
    finding: &mut Finding,
    server: &str,
    unreachable: &BTreeSet<&str>,
) {
    let node = finding.nodes.first().cloned().unwrap_or_default();
    let other = named_elsewhere(context, &node, server, unreachable).unwrap_or_default();
    finding.evidence.push(Evidence::new("calico-kubeconfig of other nodes", other));
    finding.remedy = Some(RemedyName::RestartCalicoNode);
}

fn address(context: &Context<'_>, node: &str, server: &str) -> Address {
    // Some releases put brackets around an IPv4 address (calico#11713).
    if server.strip_prefix('[').is_some_and(|it| {
        it.starts_with(|c: char| c.is_ascii_digit()) && !it.contains("::") && it.contains('.')
    }) {
        return Address::Malformed;
    }
    let (host, port) = server.rsplit_once(':').unwrap_or((server, SERVICE_PORT));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let of_a_node = context
        .snapshot
        .nodes
        .items
        .iter()
        .any(|it| it.status.addresses.iter().any(|address| address.address == host));
    if host.parse::<IpAddr>().is_err() || of_a_node || port != SERVICE_PORT {
        return Address::Host;
    }
    match proxy_on(context, node) {
        Proxy::Missing | Proxy::NotReady(_) => Address::ServiceWithoutProxy,
        Proxy::Ready | Proxy::NotUsed => Address::Service,
    }
}

/// kube-proxy on a node.
enum Proxy<'a> {
    /// It is Ready.
    Ready,
    /// It is there, and not Ready.
    NotReady(&'a Pod),
    /// It is on other nodes, and not on this one.
    Missing,
    /// It is nowhere to be seen: eBPF, or a distribution that has it in another program.
    NotUsed,
}

fn proxy_on<'a>(context: &Context<'a>, node: &str) -> Proxy<'a> {
    let is_proxy = |pod: &&Pod| {
        pod.metadata.labels.get("k8s-app").is_some_and(|it| it == "kube-proxy")
            || pod.metadata.name.starts_with("kube-proxy")
    };
    let lives = |pod: &&Pod| !pod.is_finished() && !pod.is_terminating();
    let all: Vec<&Pod> =
        context.snapshot.pods.items.iter().filter(is_proxy).filter(lives).collect();
    match all.iter().find(|pod| pod.spec.node_name == node) {
        Some(pod) if pod.is_ready() => Proxy::Ready,
        Some(pod) => Proxy::NotReady(pod),
        None if all.is_empty() || !context.snapshot.pods.is_whole() => Proxy::NotUsed,
        None => Proxy::Missing,
    }
}

fn finding(
    context: &Context<'_>,
    address: Address,
    server: &str,
    hanging: &[&Hanging<'_>],
) -> Finding {
    let nodes: BTreeSet<&str> = hanging.iter().map(|it| it.pod.spec.node_name.as_str()).collect();
    let nodes: Vec<&str> = nodes.into_iter().collect();
    let (key, text) = match address {
        Address::ServiceWithoutProxy => (
            "kube-proxy",
            format!(
                "{server} is the API server's Service, and kube-proxy, which makes it reachable, does not run there"
            ),
        ),
        Address::Service => (
            "service",
            format!(
                "{server} is the API server's Service: kube-proxy or the eBPF data plane does not translate it there, or none of its endpoints answers"
            ),
        ),
        Address::Host => (
            "host",
            format!(
                "nothing answers at {server}, an address of its own: a control-plane node or a load balancer before it"
            ),
        ),
        Address::Old => (
            "old-address",
            format!(
                "the node's calico-kubeconfig names {server}, where nothing answers; other nodes' name another address"
            ),
        ),
        Address::Malformed => (
            "malformed",
            format!(
                "the file names {server}, and an IPv4 address in brackets is none (fixed in Calico v3.30.7, v3.31.4 and v3.32.0)"
            ),
        ),
    };
    let mut finding = Finding::new(
        CODE,
        Severity::Critical,
        Subject::nodes(nodes.iter().copied()),
        format!("the CNI plugin does not reach the API server on {}", place(&nodes)),
        Cause { key, text },
    );
    finding.confidence = Confidence::Likely;
    finding.evidence = quote(hanging.iter().copied());
    for node in nodes {
        match proxy_on(context, node) {
            Proxy::NotReady(pod) if address == Address::ServiceWithoutProxy => {
                let state = &pod.status.phase;
                let said = format!("not Ready ({state})");
                finding.evidence.push(Evidence::new(format!("pod {}", pod.full_name()), said));
            }
            Proxy::Missing if address == Address::ServiceWithoutProxy => {
                finding
                    .evidence
                    .push(Evidence::new(node, "no pod of kube-proxy, which other nodes have"));
            }
            _ => {}
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slim::{Node, NodeAddress};
    use crate::snapshot::SnapshotBuilder;

    #[test]
    fn addresses_are_told_apart() {
        let mut snapshot = SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
        let mut node = Node::default();
        node.status.addresses =
            vec![NodeAddress { kind: "InternalIP".into(), address: "10.0.0.5".into() }];
        snapshot.nodes.items = vec![node];
        let context = Context { snapshot: &snapshot, now: snapshot.taken };
        let of = |server: &str| address(&context, "n1", server);
        assert_eq!(of("10.96.0.1:443"), Address::Service);
        assert_eq!(of("10.96.0.1"), Address::Service);
        assert_eq!(of("[fd00::1]:443"), Address::Service);
        for host in ["10.0.0.5:443", "10.0.0.9:6443", "lb.example.org:443", "[fd00::1]:6443"] {
            assert_eq!(of(host), Address::Host, "{host}");
        }
        assert_eq!(of("[10.96.0.1]:443"), Address::Malformed);
    }
}
