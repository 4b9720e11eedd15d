//! Tunnel devices: those that pools ask for, and WireGuard's where it is.

use super::judge::{known, unknown};
use super::{NodeStatus, TunnelStatus};
use crate::calico::names::TUNNEL_DEVICES;
use crate::snapshot::{Known, Link, Snapshot};

/// Adds them to a node's status.
pub(super) fn add(snapshot: &Snapshot, status: &mut NodeStatus) {
    let links = snapshot.host(&status.name).and_then(|facts| facts.links.as_ref());
    let Some(links) = known("tunnels", links, status) else { return };
    let expected = expected(snapshot);
    if expected.is_none() {
        let missing = snapshot.ip_pools.gap.as_ref().map(|gap| unknown("tunnels", gap));
        status.unknown.push(missing.unwrap_or_else(|| super::UnknownFact {
            what: "tunnels",
            why: "pools were not read, so what should be there is not known".to_owned(),
        }));
    }
    let mut tunnels = Vec::new();
    for name in TUNNEL_DEVICES {
        let link = links.iter().find(|link| link.name == name);
        let is_expected = expected.as_ref().is_some_and(|it| it.contains(&name));
        // tunl0 comes with the kernel's module, and an old vxlan.calico with nobody: only WireGuard's is its own proof.
        if is_expected || (link.is_some() && (kind(name) == "wireguard" || expected.is_none())) {
            tunnels.push(tunnel(name, link));
        }
    }
    tunnels.sort_by(|a, b| a.name.cmp(&b.name));
    for tunnel in tunnels.iter().filter(|tunnel| !tunnel.up) {
        let what = if tunnel.present { "is down" } else { "is missing" };
        status.problems.push(format!("tunnel device {} {what}", tunnel.name));
    }
    status.tunnels = Some(tunnels);
}

fn tunnel(name: &str, link: Option<&Link>) -> TunnelStatus {
    let vxlan = link.and_then(|link| link.vxlan.as_ref());
    TunnelStatus {
        name: name.to_owned(),
        kind: kind(name),
        present: link.is_some(),
        up: link.is_some_and(|link| link.up),
        mtu: link.map(|link| link.mtu),
        vni: vxlan.map(|it| it.id),
        port: vxlan.map(|it| it.port),
    }
}

fn kind(name: &str) -> &'static str {
    match name {
        "tunl0" => "ipip",
        "vxlan.calico" | "vxlan-v6.calico" => "vxlan",
        _ => "wireguard",
    }
}

/// The devices that the pools ask for; none when pools are unknown. A pool that is disabled still has pods.
fn expected(snapshot: &Snapshot) -> Option<Vec<&'static str>> {
    let Known::Known(pools) = snapshot.ip_pools.get() else { return None };
    let on = |mode: &str| !mode.is_empty() && mode != "Never";
    let mut names = Vec::new();
    for pool in pools {
        let is_v6 = pool.spec.cidr.contains(':');
        if on(&pool.spec.vxlan_mode) {
            names.push(if is_v6 { "vxlan-v6.calico" } else { "vxlan.calico" });
        }
        if on(&pool.spec.ipip_mode) {
            names.push("tunl0");
        }
    }
    Some(names)
}
