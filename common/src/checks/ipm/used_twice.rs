//! CAL-IPM-011.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ipnet::IpNet;

use super::{Nodes, lines};
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::ipam::{Allocation, Ledger, Population, State, User, cidr, held_by};
use crate::snapshot::Snapshot;

const CODE: Code = Code("CAL-IPM-011");

check! {
    /// # One address is used twice
    ///
    /// ## What it detects
    /// Two pods with one address; a pod with the address of a node's tunnel; two nodes with one tunnel address; a pod with the
    /// address of a Service of type LoadBalancer; and an address that is allocated in two blocks that overlap. What is sent to it
    /// reaches one of the two, and not always the same one.
    ///
    /// ## How sure
    /// Certain of pods: they are of one list. What a pod holds is what the CNI plugin noted on it, before what its status still
    /// shows. Pods that have finished or gave their address back, and pods of nodes that do not exist, hold none. Only addresses of
    /// Calico's pools and blocks are compared: other networks may well use one twice. Several Services may share an address.
    ///
    /// ## What it looks like
    /// `kubectl get pods -A -o wide` shows one address twice; connections reach the wrong pod
    ///
    /// ## What to do
    /// Delete the pod whose handle does not have the address (`kubectl calico-ipam ip ADDRESS` shows who has it): its
    /// successor takes another one. For a tunnel, restart calico-node on the node that does not have it. Then look for the cause:
    /// an address that was freed by hand while it was in use, or overlapping blocks (CAL-IPM-013).
    ///
    /// ## What not to do
    /// Freeing the address: it would be given out a third time.
    USED_TWICE: "CAL-IPM-011", "one address is used twice", "address management", Error,
    needs [Addresses, Pods, Nodes], fix Manual, run
}

/// Who use one address together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pods,
    Tunnel,
    Service,
    Blocks,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Tunnel => "tunnel",
            Self::Service => "service",
            Self::Blocks => "blocks",
        }
    }

    /// Of one address.
    fn text(self) -> &'static str {
        match self {
            Self::Pods => "pods share it",
            Self::Tunnel => "a tunnel of a node shares it",
            Self::Service => "a pod and a Service share it",
            Self::Blocks => "it is allocated in two blocks that overlap",
        }
    }

    /// Of several.
    fn texts(self) -> &'static str {
        match self {
            Self::Pods => "pods share them",
            Self::Tunnel => "tunnels of nodes share them",
            Self::Service => "pods and Services share them",
            Self::Blocks => "they are allocated in two blocks that overlap",
        }
    }
}

/// An address that is used twice.
struct Twice {
    address: IpAddr,
    said: String,
    nodes: BTreeSet<String>,
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let snapshot = context.snapshot;
    let ledger = Ledger::new(snapshot);
    let population = Population::new(snapshot);
    let holders = Holders::of(snapshot);
    let mut found: BTreeMap<Kind, Vec<Twice>> = BTreeMap::new();
    for (address, users) in population.all().into_iter().filter(|(_, users)| users.len() > 1) {
        let users = holders.only(address, users);
        let Some(kind) = kind(&users) else { continue };
        let is_calicos = ledger.pool_at(address).is_some() || !ledger.blocks_of(address).is_empty();
        if is_calicos {
            let texts: Vec<String> = users.iter().map(text).collect();
            let nodes = users.iter().filter_map(node).map(str::to_owned).collect();
            let it = Twice { address, said: texts.join(", "), nodes };
            found.entry(kind).or_default().push(it);
        }
    }
    let allocated = allocated_twice(&ledger);
    if !allocated.is_empty() {
        found.insert(Kind::Blocks, allocated);
    }
    for (kind, all) in found {
        out.report(finding(kind, &all));
    }
}

/// Knows who holds an address now, of those that show it.
struct Holders<'a> {
    nodes: Nodes<'a>,
    /// Services by what load balancers gave them.
    services: HashMap<(&'a str, &'a str), Vec<IpAddr>>,
}

impl<'a> Holders<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let given = |it: &'a crate::slim::Service| {
            // A way in with a name has no address.
            let all = it.status.load_balancer.ingress.iter().filter_map(|it| it.ip.parse().ok());
            let its = &it.metadata;
            ((its.namespace.as_str(), its.name.as_str()), all.collect::<Vec<IpAddr>>())
        };
        let services = snapshot.addresses.services.items.iter().map(given);
        let services = services.filter(|(_, all)| !all.is_empty()).collect();
        Self { nodes: Nodes::of(snapshot), services }
    }

    /// Each of them once: tunnels of one node are one.
    fn only(&self, address: IpAddr, users: &[User<'a>]) -> Vec<User<'a>> {
        let mut tunnels = HashSet::new();
        let holds = |user: &&User<'a>| match user {
            User::Pod(pod) => self.nodes.carry(pod) && held_by(pod).contains(&address),
            User::Tunnel(_, node) => tunnels.insert(node.metadata.name.as_str()),
            User::Service(namespace, name) => {
                self.services.get(&(*namespace, *name)).is_some_and(|it| it.contains(&address))
            }
        };
        users.iter().filter(holds).copied().collect()
    }
}

/// None when they do not get into each other's way.
fn kind(users: &[User<'_>]) -> Option<Kind> {
    let (mut pods, mut tunnels, mut services) = (0, 0, 0);
    for user in users {
        match user {
            User::Pod(_) => pods += 1,
            User::Tunnel(..) => tunnels += 1,
            User::Service(..) => services += 1,
        }
    }
    match (pods, tunnels, services) {
        (0, 0, _) | (0, 1, 0) | (1, 0, 0) => None,
        (_, 0, 0) => Some(Kind::Pods),
        (_, 0, _) => Some(Kind::Service),
        _ => Some(Kind::Tunnel),
    }
}

fn node<'a>(user: &User<'a>) -> Option<&'a str> {
    match user {
        User::Pod(pod) => Some(&pod.spec.node_name),
        User::Tunnel(_, node) => Some(&node.metadata.name),
        User::Service(..) => None,
    }
}

fn text(user: &User<'_>) -> String {
    let on = if let User::Pod(pod) = user { pod.spec.node_name.as_str() } else { "" };
    if on.is_empty() { user.text() } else { format!("{} on {on}", user.text()) }
}

/// Addresses that a block and the one around it both gave out.
fn allocated_twice(ledger: &Ledger<'_>) -> Vec<Twice> {
    let ranges: Vec<IpNet> = ledger.blocks.iter().map(|it| it.cidr).collect();
    let mut found = Vec::new();
    for (outer, inner) in cidr::nested(&ranges) {
        let (Some(outer), Some(inner)) = (ledger.blocks.get(outer), ledger.blocks.get(inner))
        else {
            continue;
        };
        for it in inner.allocations() {
            let ordinal = cidr::ordinal(&outer.cidr, it.address);
            let state = ordinal.and_then(|it| usize::try_from(it).ok()).map(|it| outer.state(it));
            if let Some(State::Allocated(other)) = state {
                let whose = |it: &Allocation<'_>| it.entry.handle().unwrap_or("nobody").to_owned();
                let said = format!(
                    "{} in {}, {} in {}",
                    whose(&other),
                    outer.cidr,
                    whose(&it),
                    inner.cidr
                );
                let nodes = [&it, &other].into_iter().filter_map(Allocation::node);
                let nodes = nodes.map(str::to_owned).collect();
                found.push(Twice { address: it.address, said, nodes });
            }
        }
    }
    found.sort_by_key(|it| it.address);
    found
}

fn finding(kind: Kind, all: &[Twice]) -> Finding {
    let title = match all {
        [one] => format!("address {} is used twice: {}", one.address, kind.text()),
        _ => format!("{} addresses are used twice: {}", all.len(), kind.texts()),
    };
    let names = all.iter().map(|it| format!("Address/{}", it.address));
    let subject = Subject::of(SubjectKind::Object, names);
    let cause = Cause { key: kind.key(), text: String::new() };
    let mut finding = Finding::new(CODE, Severity::Error, subject, title, cause);
    let nodes: BTreeSet<&String> = all.iter().flat_map(|it| &it.nodes).collect();
    finding.nodes = nodes.into_iter().cloned().collect();
    finding.consequence = "what is sent to such an address reaches one of them".to_owned();
    finding.evidence = lines(all, |it| Evidence::new(format!("address {}", it.address), &it.said));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{block, cluster, node, of_pod, pod, pool};
    use crate::slim::{Node, Pod, Service};

    fn with(pods: &[(&str, &str)]) -> Snapshot {
        let mut it = cluster(&[]);
        it.ip_pools.items = vec![pool("p1", "10.0.0.0/16")];
        it.nodes.items = vec![node("n1"), node("n2")];
        it.pods.items = pods.iter().map(|(name, address)| pod(name, address, None)).collect();
        it
    }

    fn tunnel(name: &str, address: &str) -> Node {
        let mut it = node(name);
        let key = crate::ipam::owner::Tunnel::Vxlan.annotation();
        it.metadata.annotations.insert(key.into(), address.into());
        it
    }

    fn service(name: &str, json: &str) -> Service {
        let text = format!(r#"{{"metadata":{{"namespace":"a","name":"{name}"}},{json}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn ingress(name: &str, address: &str) -> Service {
        service(
            name,
            &format!(r#""status":{{"loadBalancer":{{"ingress":[{{"ip":"{address}"}}]}}}}"#),
        )
    }

    /// calicoctl prints that an address has several owners, and does not count it.
    #[test]
    fn d8_duplicates_are_counted() {
        let found = judged(&USED_TWICE, &with(&[("p", "10.0.0.1"), ("q", "10.0.0.1")])).found;
        assert_eq!(found[0].title, "address 10.0.0.1 is used twice: pods share it");
        assert_eq!(found[0].severity, Severity::Error);
        assert_eq!(found[0].evidence[0].excerpt, "pod a/p on n1, pod a/q on n1");
        let mut tunnels = with(&[("p", "10.0.0.1")]);
        tunnels.nodes.items = vec![tunnel("n1", "10.0.0.1"), tunnel("n2", "10.0.0.2")];
        assert_eq!(keys(&USED_TWICE, &tunnels).0, ["tunnel"]);
        tunnels.nodes.items[1] = tunnel("n2", "10.0.0.1");
        tunnels.pods.items.clear();
        let found = judged(&USED_TWICE, &tunnels).found;
        assert_eq!((found[0].cause.key, found[0].nodes.len()), ("tunnel", 2));
        let mut services = with(&[("p", "10.0.0.1")]);
        services.addresses.services.items = vec![ingress("s", "10.0.0.1")];
        assert_eq!(keys(&USED_TWICE, &services).0, ["service"]);
    }

    #[test]
    fn d9_an_address_of_two_blocks_is_found() {
        let mut it = cluster(&[of_pod("p", 1)]);
        it.addresses.blocks.items.push(block("10.0.0.0/28", &[of_pod("q", 2)]));
        let found = judged(&USED_TWICE, &it).found;
        assert_eq!(found[0].subject.names, ["Address/10.0.0.0"]);
        assert!(found[0].title.ends_with("it is allocated in two blocks that overlap"));
        // Beside each other.
        it.addresses.blocks.items[1] = block("10.0.0.16/28", &[of_pod("q", 2)]);
        assert_eq!(keys(&USED_TWICE, &it), (vec![], 0));
    }

    /// What the CNI plugin notes.
    fn note(it: &mut Pod, address: &str) {
        it.metadata.annotations.insert("cni.projectcalico.org/podIP".into(), address.into());
    }

    #[test]
    fn pods_that_hold_no_address_any_more_are_silent() {
        let both = [("p", "10.0.0.1"), ("q", "10.0.0.1")];
        let with_first = |change: fn(&mut Pod)| {
            let mut it = with(&both);
            change(&mut it.pods.items[0]);
            it
        };
        for change in [
            (|it| it.status.phase = "Failed".into()) as fn(&mut Pod),
            |it| it.spec.host_network = true,
            |it| it.spec.node_name = "n9".into(),
            // It is going, and gave its address back.
            |it| note(it, ""),
            // Its sandbox was made anew, and the kubelet has not said so yet.
            |it| note(it, "10.0.0.7/32"),
        ] {
            assert_eq!(keys(&USED_TWICE, &with_first(change)), (vec![], 0));
        }
        // Going, and still there.
        let going = with_first(|it| it.metadata.deletion_timestamp = Some(jiff::Timestamp::MAX));
        assert_eq!(keys(&USED_TWICE, &going).0, ["pods"]);
    }

    #[test]
    fn other_networks_and_shared_services_are_silent() {
        let both = with(&[("p", "172.16.0.1"), ("q", "172.16.0.1")]);
        assert_eq!(keys(&USED_TWICE, &both), (vec![], 0));
        let mut services = with(&[("p", "10.0.0.2")]);
        services.addresses.services.items = vec![
            ingress("s", "10.0.0.1"),
            ingress("t", "10.0.0.1"),
            // It wants the address of a pod, and did not get it.
            service("u", r#""spec":{"loadBalancerIP":"10.0.0.2"}"#),
        ];
        assert_eq!(keys(&USED_TWICE, &services), (vec![], 0));
        let mut one = with(&[]);
        let key = crate::ipam::owner::Tunnel::Ipip.annotation();
        one.nodes.items = vec![tunnel("n1", "10.0.0.1")];
        one.nodes.items[0].metadata.annotations.insert(key.into(), "10.0.0.1".into());
        assert_eq!(keys(&USED_TWICE, &one), (vec![], 0));
    }

    /// A way in that has a name and no address is nobody's address; calicoctl notes an empty one.
    #[test]
    fn d16_a_name_is_no_address() {
        let named = r#""status":{"loadBalancer":{"ingress":[{"hostname":"lb.example"}]}}"#;
        let mut it = with(&[("p", ""), ("q", "")]);
        it.addresses.services.items = vec![service("s", named), service("t", named)];
        assert_eq!(keys(&USED_TWICE, &it), (vec![], 0));
        assert!(Population::new(&it).all().is_empty());
    }
}
