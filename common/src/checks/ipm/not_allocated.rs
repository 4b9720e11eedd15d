//! CAL-IPM-012.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use ipnet::IpNet;
use jiff::Timestamp;

use super::pool_full::{is_for_pods, is_used};
use super::{ARRIVAL, Nodes, counted, is_fresh, lines, lower, not_whole};
use crate::checks::Context;
use crate::findings::{
    Cause, Code, Confidence, Evidence, Finding, Findings, Severity, Subject, SubjectKind,
};
use crate::ipam::{Ledger, Population, User, cidr, held_by};
use crate::slim::{Node, Pod};

const CODE: Code = Code("CAL-IPM-012");

/// Asks for an address past Calico IPAM.
const WITHOUT_IPAM: &str = "cni.projectcalico.org/ipAddrsNoIpam";
/// What the CNI plugin of Calico notes on a pod that it gave an address to.
const POD_IP: &str = "cni.projectcalico.org/podIP";

check! {
    /// # An address in use is not allocated
    ///
    /// ## What it detects
    /// A pod or a tunnel uses an address of a pool, and no block says that anybody has it: it will be given out again, to
    /// somebody else. It was freed by hand while it was in use, its block was deleted, or a backup was restored. Pods that asked
    /// for an address past IPAM (annotation ipAddrsNoIpam) are warnings. As information, pods whose address, given by
    /// Calico, is in no pool.
    ///
    /// ## How sure
    /// Likely, where pods were read after blocks. Where they were read before, a pod may have ended in between and given its
    /// address back, so that it is possible only, and one step less bad; what a second look shows again is so. Pods and nodes
    /// that are younger than five minutes, pods that are going, and addresses that a reservation keeps are left out, and so are
    /// disabled pools, and nodes on which Calico IPAM gives no addresses (host-local). Nothing is said unless all blocks were
    /// read.
    ///
    /// ## What it looks like
    /// `kubectl calico-ipam ip ADDRESS` says free, and `kubectl get pods -A -o wide` shows a pod with it
    ///
    /// ## What to do
    /// Replace the pod: its successor takes an address properly. For a tunnel, restart calico-node on the node.
    ///
    /// ## What not to do
    /// Freeing addresses by a list of `calicoctl ipam check` that is minutes old: that is how it comes to this.
    NOT_ALLOCATED: "CAL-IPM-012", "an address in use is not allocated", "address management", Error,
    needs [Addresses, Pools, Pods, Nodes], fix Manual, run
}

/// What is wrong with an address that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pod,
    Tunnel,
    WithoutIpam,
    NoPool,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Tunnel => "tunnel",
            Self::WithoutIpam => "without-ipam",
            Self::NoPool => "no-pool",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::Pod | Self::Tunnel => Severity::Error,
            Self::WithoutIpam => Severity::Warning,
            Self::NoPool => Severity::Info,
        }
    }

    fn title(self, count: usize) -> String {
        let addresses = |of: &str| {
            counted(count, &format!("address of {of} is"), &format!("addresses of {of} are"))
        };
        match self {
            Self::Pod => format!("{} not allocated", addresses("pods")),
            Self::Tunnel => format!("{} not allocated", addresses("tunnels")),
            Self::WithoutIpam => format!("{} of a pool, and past IPAM", addresses("pods")),
            Self::NoPool => format!("{} in no pool", addresses("pods")),
        }
    }
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let snapshot = context.snapshot;
    let is_whole = not_whole(&snapshot.addresses.blocks, "").is_none()
        && not_whole(&snapshot.ip_pools, "").is_none();
    let ledger = Ledger::new(snapshot);
    // The address may be in what cannot be read.
    if !is_whole || !ledger.bad_blocks.is_empty() || !ledger.bad_pools.is_empty() {
        return;
    }
    let allocated: HashSet<IpAddr> = ledger.allocations().map(|(_, it)| it.address).collect();
    let look = Look::of(context, &ledger);
    let population = Population::new(snapshot);
    let mut found: BTreeMap<Kind, Vec<(IpAddr, User<'_>)>> = BTreeMap::new();
    for (address, users) in population.all() {
        if allocated.contains(&address) || look.is_reserved(address) {
            continue;
        }
        for user in users {
            if let Some(kind) = look.judge(address, user) {
                found.entry(kind).or_default().push((address, *user));
            }
        }
    }
    let is_pods_first = is_before(snapshot.pods.at, snapshot.addresses.blocks.at);
    for (kind, all) in found {
        let mut finding = finding(kind, &all);
        if is_pods_first && kind != Kind::Tunnel {
            finding.severity = lower(finding.severity);
            finding.confidence = Confidence::Possible;
            finding.cause.text =
                "unless they were given back while the cluster was read: look again".to_owned();
        }
        out.report(finding);
    }
}

/// Whether a list was read before another one. Those of bundles may not tell when.
fn is_before(it: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    matches!((it, other), (Some(it), Some(other)) if it < other)
}

struct Look<'a> {
    ledger: &'a Ledger<'a>,
    nodes: Nodes<'a>,
    /// Nodes on which Calico IPAM gives addresses.
    with_ipam: HashSet<&'a str>,
    reserved: Vec<IpNet>,
    /// When the blocks were read.
    at: Timestamp,
}

impl<'a> Look<'a> {
    fn of(context: &Context<'a>, ledger: &'a Ledger<'a>) -> Self {
        let addresses = &context.snapshot.addresses;
        let reserved = addresses.reservations.items.iter().flat_map(|it| &it.spec.reserved_cidrs);
        Self {
            ledger,
            nodes: Nodes::of(context.snapshot),
            with_ipam: ledger.node_usage().into_keys().collect(),
            reserved: reserved.filter_map(|it| cidr::parse(it)).collect(),
            at: addresses.blocks.at.unwrap_or(context.now).min(context.now),
        }
    }

    fn is_reserved(&self, address: IpAddr) -> bool {
        self.reserved.iter().any(|it| it.contains(&address))
    }

    fn judge(&self, address: IpAddr, user: &User<'_>) -> Option<Kind> {
        match user {
            User::Pod(pod) => self.pod(address, pod),
            User::Tunnel(_, node) => self.tunnel(address, node),
            User::Service(..) => None,
        }
    }

    fn pod(&self, address: IpAddr, pod: &Pod) -> Option<Kind> {
        let is_settled = self.nodes.carry(pod)
            && !pod.is_terminating()
            && !is_fresh(&pod.metadata, self.at, ARRIVAL)
            && self.with_ipam.contains(pod.spec.node_name.as_str())
            && held_by(pod).contains(&address);
        if !is_settled {
            return None;
        }
        let is_past_ipam = pod.metadata.annotations.contains_key(WITHOUT_IPAM);
        if self.is_given_out(address) {
            return Some(if is_past_ipam { Kind::WithoutIpam } else { Kind::Pod });
        }
        // Without Calico's note another network plugin gave it. A block in no pool is told by another check.
        let is_calicos = pod.metadata.annotations.contains_key(POD_IP);
        let is_outside =
            self.ledger.pool_at(address).is_none() && self.ledger.blocks_of(address).is_empty();
        (is_calicos && is_outside && !is_past_ipam).then_some(Kind::NoPool)
    }

    fn tunnel(&self, address: IpAddr, node: &Node) -> Option<Kind> {
        let is_settled = !is_fresh(&node.metadata, self.at, ARRIVAL)
            && self.with_ipam.contains(node.metadata.name.as_str());
        (is_settled && self.is_given_out(address)).then_some(Kind::Tunnel)
    }

    /// Whether pods get addresses of the pool around it.
    fn is_given_out(&self, address: IpAddr) -> bool {
        let mut around = self.ledger.pools.iter().filter(|it| it.cidr.contains(&address));
        around.any(|it| is_used(it) && is_for_pods(it))
    }
}

fn finding(kind: Kind, all: &[(IpAddr, User<'_>)]) -> Finding {
    let names = all.iter().map(|(address, _)| format!("Address/{address}"));
    let subject = Subject::of(SubjectKind::Object, names);
    let cause = Cause { key: kind.key(), text: String::new() };
    let mut finding = Finding::new(CODE, kind.severity(), subject, kind.title(all.len()), cause);
    let nodes: BTreeSet<&str> = all.iter().filter_map(|(_, user)| node(user)).collect();
    finding.nodes = nodes.into_iter().map(str::to_owned).collect();
    finding.confidence = Confidence::Likely;
    finding.consequence = match kind {
        Kind::NoPool => "what they send leaves untranslated".to_owned(),
        _ => "they will be given out again, to others".to_owned(),
    };
    finding.evidence = lines(all, |(address, user)| {
        let on = match user {
            User::Pod(pod) => format!(" on {}", pod.spec.node_name),
            _ => String::new(),
        };
        Evidence::new(format!("address {address}"), format!("{}{on}", user.text()))
    });
    finding
}

fn node<'a>(user: &User<'a>) -> Option<&'a str> {
    match user {
        User::Pod(pod) => Some(&pod.spec.node_name),
        User::Tunnel(_, node) => Some(&node.metadata.name),
        User::Service(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{cluster, node as of_name, of_pod, pod, pool};
    use crate::snapshot::{Coverage, Snapshot};

    /// n1 has a block with one address, that of p; q uses another one.
    fn with(address: &str) -> Snapshot {
        let mut it = cluster(&[of_pod("p", 1)]);
        it.ip_pools.items = vec![pool("p1", "10.0.0.0/16")];
        it.nodes.items = vec![of_name("n1"), of_name("n2")];
        it.pods.items = vec![pod("p", "10.0.0.0", None), pod("q", address, None)];
        it.pods.items[1].metadata.annotations.insert(POD_IP.into(), format!("{address}/32"));
        it
    }

    #[test]
    fn addresses_that_will_be_given_out_again_are_told() {
        let found = judged(&NOT_ALLOCATED, &with("10.0.0.9")).found;
        assert_eq!(found[0].title, "1 address of pods is not allocated");
        assert_eq!(found[0].evidence[0].excerpt, "pod a/q on n1");
        assert_eq!(
            (found[0].severity, found[0].nodes.as_slice()),
            (Severity::Error, &["n1".to_owned()][..])
        );
        let mut tunnel = with("10.0.0.0");
        let key = crate::ipam::owner::Tunnel::VxlanV6.annotation();
        tunnel.nodes.items[0].metadata.annotations.insert(key.into(), "10.0.0.9".into());
        assert_eq!(keys(&NOT_ALLOCATED, &tunnel).0, ["tunnel"]);
        let mut past = with("10.0.0.9");
        past.pods.items[1].metadata.annotations.insert(WITHOUT_IPAM.into(), "[]".into());
        assert_eq!(keys(&NOT_ALLOCATED, &past).0, ["without-ipam"]);
        let outside = judged(&NOT_ALLOCATED, &with("172.16.0.1")).found;
        assert_eq!((outside[0].cause.key, outside[0].severity), ("no-pool", Severity::Info));
    }

    /// A pod that ended between the two lists looks the same.
    #[test]
    fn pods_that_were_read_before_blocks_prove_less() {
        let mut it = with("10.0.0.9");
        it.addresses.blocks.at = Some(it.taken);
        let told = |it: &Snapshot| {
            let found = judged(&NOT_ALLOCATED, it).found;
            (found[0].severity, found[0].confidence)
        };
        it.pods.at = Some(it.taken);
        assert_eq!(told(&it), (Severity::Error, Confidence::Likely));
        it.pods.at = Some("2026-07-12T11:59:30Z".parse().unwrap());
        assert_eq!(told(&it), (Severity::Warning, Confidence::Possible));
    }

    #[test]
    fn what_is_allocated_or_settles_or_is_none_of_calicos_is_silent() {
        assert_eq!(keys(&NOT_ALLOCATED, &with("10.0.0.0")), (vec![], 0));
        for change in [
            (|it| {
                it.pods.items[1].metadata.creation_timestamp =
                    Some("2026-07-12T11:58:00Z".parse().unwrap());
            }) as fn(&mut Snapshot),
            |it| it.pods.items[1].metadata.deletion_timestamp = Some(it.taken),
            |it| it.pods.items[1].status.phase = "Succeeded".into(),
            |it| it.pods.items[1].spec.node_name = "n2".into(),
            |it| it.ip_pools.items[0].spec.disabled = true,
            |it| it.ip_pools.items.push(pool("p2", "nonsense")),
            |it| it.addresses.blocks.coverage = Coverage::Selected(vec!["x".into()]),
            |it| {
                let text = r#"{"spec":{"reservedCIDRs":["10.0.0.8/29"]}}"#;
                it.addresses.reservations.items = vec![serde_json::from_str(text).unwrap()];
            },
        ] {
            let mut it = with("10.0.0.9");
            change(&mut it);
            assert_eq!(keys(&NOT_ALLOCATED, &it), (vec![], 0));
        }
        // Given by another network plugin.
        let mut other = with("172.16.0.1");
        other.pods.items[1].metadata.annotations.clear();
        assert_eq!(keys(&NOT_ALLOCATED, &other), (vec![], 0));
    }
}
