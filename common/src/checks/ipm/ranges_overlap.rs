//! CAL-IPM-004.

use core::net::IpAddr;

use ipnet::IpNet;

use super::pool_full::is_for_pods;
use super::{counted, lines, lower};
use crate::checks::Context;
use crate::findings::{Cause, Code, Evidence, Finding, Findings, Severity, Subject, SubjectKind};
use crate::ipam::{Ledger, Pool, cidr};

const CODE: Code = Code("CAL-IPM-004");

check! {
    /// # A pool overlaps another one, or addresses that are not pods'
    ///
    /// ## What it detects
    /// Two pools that have addresses in common; a pool that holds the own address of a node (InternalIP) or cluster addresses of
    /// Services; a pool whose range makes no sense. Addresses can then be given out that somebody else has, and what goes to
    /// them leaves a pod untranslated. The classic: the default pool 192.168.0.0/16 in a network 192.168.x.
    ///
    /// ## How sure
    /// Certain of what it names. It sees pools, nodes and Services, not the networks around them: routes, VPNs, the range that
    /// Services will take addresses from tomorrow. A disabled pool around nodes or Services is a documented way of switching
    /// off translation, and is left alone; so are reserved addresses in pools of LoadBalancers.
    ///
    /// ## What it looks like
    /// `IPPool(a) CIDR overlaps with IPPool(b) CIDR 10.0.0.0/16`, which `kubectl apply` on crd.projectcalico.org never says
    ///
    /// ## What to do
    /// Add a pool that is apart from everything (`kubectl calico-ipam pools` lists them), disable the old one, replace its
    /// pods, and delete it when nothing of it is in use.
    ///
    /// ## What not to do
    /// Editing `cidr` of a pool: its blocks stay where they are, and are then in no pool.
    RANGES_OVERLAP: "CAL-IPM-004", "a pool overlaps another one, nodes or Services", "address management", Error,
    needs [Pools], fix Manual, run
}

fn run(context: &Context<'_>, out: &mut Findings) {
    let ledger = Ledger::new(context.snapshot);
    for pool in &ledger.bad_pools {
        let name = &pool.metadata.name;
        let text = format!("{:?} is no range of addresses", pool.spec.cidr);
        let title = format!("the range of pool {name} makes no sense");
        out.report(finding([format!("IPPool/{name}")], "range", Severity::Error, title, text));
    }
    pools(&ledger, out);
    let reserved = reserved(context);
    for pool in ledger.pools.iter().filter(|it| !it.object.spec.disabled) {
        nodes(context, pool, &reserved, out);
        services(context, pool, out);
    }
}

fn pools(ledger: &Ledger<'_>, out: &mut Findings) {
    let ranges: Vec<IpNet> = ledger.pools.iter().map(|it| it.cidr).collect();
    for (outer, inner) in cidr::nested(&ranges) {
        let (Some(outer), Some(inner)) = (ledger.pools.get(outer), ledger.pools.get(inner)) else {
            continue;
        };
        let is_off = outer.object.spec.disabled || inner.object.spec.disabled;
        let severity = if is_off { Severity::Warning } else { Severity::Error };
        let names = [outer, inner].map(|it| format!("IPPool/{}", it.name()));
        let title = format!("pools {} and {} overlap", outer.name(), inner.name());
        let text = format!("{} and {} have addresses in common", outer.cidr, inner.cidr);
        let mut finding = finding(names, "pools", severity, title, text);
        finding.consequence = "addresses can be given out twice, by blocks of both".to_owned();
        for pool in [outer, inner] {
            let source = format!("pool {}", pool.name());
            let state = if pool.object.spec.disabled { ", disabled" } else { "" };
            let size = pool.object.spec.block_prefix();
            let said = format!("{}, blocks of /{size}{state}", pool.cidr);
            finding.evidence.push(Evidence::new(source, said));
        }
        out.report(finding);
    }
}

fn nodes(context: &Context<'_>, pool: &Pool<'_>, reserved: &[IpNet], out: &mut Findings) {
    let mut inside: Vec<(&str, IpAddr)> = Vec::new();
    for node in &context.snapshot.nodes.items {
        let own = node.status.addresses.iter().filter(|it| it.kind == "InternalIP");
        let own = own.filter_map(|it| it.address.parse().ok());
        let own = own.filter(|it| pool.cidr.contains(it));
        inside.extend(own.map(|it| (node.metadata.name.as_str(), it)));
    }
    let is_kept = inside.iter().all(|(_, it)| reserved.iter().any(|net| net.contains(it)));
    if inside.is_empty() || (is_kept && !is_for_pods(pool)) {
        return;
    }
    inside.sort_unstable();
    let is_milder = is_kept || !is_for_pods(pool);
    let severity = if is_milder { lower(Severity::Error) } else { Severity::Error };
    let count = counted(inside.len(), "node", "nodes");
    let title = format!("pool {} holds addresses of {count}", pool.name());
    let text = format!("{} is where nodes have their own addresses", pool.cidr);
    let mut finding = finding([format!("IPPool/{}", pool.name())], "nodes", severity, title, text);
    finding.nodes = inside.iter().map(|(node, _)| (*node).to_owned()).collect();
    finding.nodes.dedup();
    finding.consequence =
        "pods can get addresses of nodes, and what pods send to nodes is not translated".to_owned();
    finding.evidence =
        lines(&inside, |(node, it)| Evidence::new(format!("node {node}"), it.to_string()));
    out.report(finding);
}

fn services(context: &Context<'_>, pool: &Pool<'_>, out: &mut Findings) {
    let all = context.snapshot.addresses.services.items.iter();
    let mut inside: Vec<(String, IpAddr)> = all
        .filter_map(|it| Some((it, it.spec.cluster_ip.parse().ok()?)))
        .filter(|(_, it)| pool.cidr.contains(it))
        .map(|(it, address)| (format!("{}/{}", it.metadata.namespace, it.metadata.name), address))
        .collect();
    if inside.is_empty() {
        return;
    }
    inside.sort_unstable();
    let count = counted(inside.len(), "Service", "Services");
    let title = format!("pool {} holds cluster addresses of {count}", pool.name());
    let text = format!("{} and the range of Services have addresses in common", pool.cidr);
    let name = format!("IPPool/{}", pool.name());
    let mut finding = finding([name], "services", Severity::Error, title, text);
    finding.consequence = "a pod with the address of a Service cannot be reached".to_owned();
    finding.evidence =
        lines(&inside, |(name, it)| Evidence::new(format!("Service {name}"), it.to_string()));
    out.report(finding);
}

/// What nobody gets.
fn reserved(context: &Context<'_>) -> Vec<IpNet> {
    let all = context.snapshot.addresses.reservations.items.iter();
    all.flat_map(|it| &it.spec.reserved_cidrs).filter_map(|it| cidr::parse(it)).collect()
}

fn finding<const N: usize>(
    names: [String; N],
    key: &'static str,
    severity: Severity,
    title: String,
    text: String,
) -> Finding {
    let subject = Subject::of(SubjectKind::Object, names);
    Finding::new(CODE, severity, subject, title, Cause { key, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::ipm::{judged, keys};
    use crate::ipam::fixtures::{cluster, node, pool};
    use crate::slim::Service;
    use crate::snapshot::Snapshot;

    fn with(pools: &[(&str, &str)]) -> Snapshot {
        let mut it = cluster(&[]);
        it.ip_pools.items = pools.iter().map(|(name, cidr)| pool(name, cidr)).collect();
        let mut n1 = node("n1");
        let own = r#"{"addresses":[{"type":"Hostname","address":"n1"},{"type":"InternalIP","address":"192.0.2.1"}]}"#;
        n1.status = serde_json::from_str(own).unwrap();
        it.nodes.items = vec![n1];
        let service =
            r#"{"metadata":{"namespace":"a","name":"s"},"spec":{"clusterIP":"10.96.0.1"}}"#;
        let headless = r#"{"metadata":{"namespace":"a","name":"h"},"spec":{"clusterIP":"None"}}"#;
        it.addresses.services.items =
            [service, headless].map(|it| serde_json::from_str::<Service>(it).unwrap()).into();
        it
    }

    /// calicoctl looks for none of these.
    #[test]
    fn d9_overlaps_are_found() {
        let nested = with(&[("a", "10.0.0.0/16"), ("b", "10.0.128.0/20"), ("c", "10.1.0.0/16")]);
        let found = judged(&RANGES_OVERLAP, &nested).found;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].subject.names, ["IPPool/a", "IPPool/b"]);
        assert_eq!((found[0].cause.key, found[0].severity), ("pools", Severity::Error));
        let lan = judged(&RANGES_OVERLAP, &with(&[("a", "192.0.2.0/24")])).found;
        assert_eq!((lan[0].cause.key, lan[0].nodes.as_slice()), ("nodes", &["n1".to_owned()][..]));
        assert_eq!(keys(&RANGES_OVERLAP, &with(&[("a", "10.0.0.0/8")])).0, ["services"]);
        assert_eq!(keys(&RANGES_OVERLAP, &with(&[("a", "10.0.0/8")])).0, ["range"]);
    }

    #[test]
    fn what_is_apart_or_meant_so_is_silent() {
        let apart = with(&[("a", "10.0.0.0/16"), ("b", "10.1.0.0/16"), ("c", "fd00::/48")]);
        assert_eq!(keys(&RANGES_OVERLAP, &apart), (vec![], 0));
        let mut untranslated = with(&[("lan", "192.0.2.0/24"), ("all", "10.0.0.0/8")]);
        untranslated.ip_pools.items.iter_mut().for_each(|it| it.spec.disabled = true);
        assert_eq!(keys(&RANGES_OVERLAP, &untranslated), (vec![], 0));
        let mut balancers = with(&[("lb", "192.0.2.0/24")]);
        balancers.ip_pools.items[0].spec.allowed_uses = vec!["LoadBalancer".into()];
        let reserved = r#"{"spec":{"reservedCIDRs":["192.0.2.0/28"]}}"#;
        balancers.addresses.reservations.items = vec![serde_json::from_str(reserved).unwrap()];
        assert_eq!(keys(&RANGES_OVERLAP, &balancers), (vec![], 0));
    }
}
