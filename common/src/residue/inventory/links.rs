//! Network interfaces.

use core::net::IpAddr;

use super::{Means, Seen, Taking};
use crate::calico::veth;
use crate::residue::facts::{HostLink, NetworkNamespaces, OtherEnd};
use crate::residue::{ResidueKind, Scope};
use crate::snapshot::Known;

/// What an interface of a name has to be.
struct Device {
    name: &'static str,
    kind: &'static str,
}

const VXLAN: [Device; 1] = [Device { name: "vxlan.calico", kind: "vxlan" }];
const VXLAN_V6: [Device; 1] = [Device { name: "vxlan-v6.calico", kind: "vxlan" }];
const WIREGUARD: [Device; 2] = [
    Device { name: "wireguard.cali", kind: "wireguard" },
    Device { name: "wg-v6.cali", kind: "wireguard" },
];
/// The two ends of one veth, through which BPF programs send packets.
const BPF: [Device; 2] =
    [Device { name: "bpfin.cali", kind: "veth" }, Device { name: "bpfout.cali", kind: "veth" }];
/// The kernel's own device of IP-in-IP: it is there as soon as the module is, and cannot be deleted.
const IPIP: &str = "tunl0";
/// For the bandwidth of a pod; hex digits follow.
const BANDWIDTH: &str = "bwcali";

pub(super) fn take(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    let Some(links) = taking.known(&facts.links) else { return };
    let namespaces = match &facts.namespaces {
        Known::Known(namespaces) => Some(namespaces),
        _ => None,
    };
    for link in links {
        one(taking, link, namespaces);
    }
    let any_of_a_pod = links.iter().any(|link| link.kind == "veth" && veth::is_one(&link.name));
    let are_judged = facts_are_needed(taking.surroundings.scope);
    if namespaces.is_none() && any_of_a_pod && are_judged {
        taking.known(&facts.namespaces);
    }
}

/// Whether interfaces of pods are judged, for which namespaces have to be known.
fn facts_are_needed(scope: Scope) -> bool {
    scope != Scope::OtherMode
}

fn one(taking: &mut Taking<'_>, link: &HostLink, namespaces: Option<&NetworkNamespaces>) {
    let around = taking.surroundings;
    let of = |devices: &'static [Device]| devices.iter().find(|it| it.name == link.name);
    if let Some(device) = of(&VXLAN) {
        own_device(taking, link, device, &around.vxlan);
    } else if let Some(device) = of(&VXLAN_V6) {
        own_device(taking, link, device, &around.vxlan_v6);
    } else if let Some(device) = of(&WIREGUARD) {
        own_device(taking, link, device, &around.wireguard);
    } else if let Some(device) = of(&BPF) {
        own_device(taking, link, device, &around.bpf);
    } else if link.name == IPIP {
        tunl0(taking, link);
    } else if veth::is_one(&link.name) {
        of_pod(taking, link, namespaces);
    } else if is_bandwidth(&link.name) && link.kind == "ifb" {
        // Felix alone knows whose bandwidth it is: while it lives, so does this.
        if !taking.is_stale_scope() {
            remove(taking, link, "an ifb of this name is what Felix makes for a pod's bandwidth");
        }
    } else if looks_like_one(&link.name) {
        kept(taking, link, "Calico makes no such interface of that name");
    }
}

fn is_bandwidth(name: &str) -> bool {
    name.strip_prefix(BANDWIDTH).is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn looks_like_one(name: &str) -> bool {
    name.starts_with("cali")
        || name.contains("calico")
        || name.strip_suffix(".cali").is_some()
        || name.starts_with(BANDWIDTH)
}

fn described(link: &HostLink) -> String {
    let kind = if link.kind.is_empty() { "physical" } else { &link.kind };
    format!("interface {} ({kind})", link.name)
}

fn kept(taking: &mut Taking<'_>, link: &HostLink, why: impl Into<String>) {
    taking.kept(ResidueKind::Link, &link.name, described(link), why);
}

fn remove(taking: &mut Taking<'_>, link: &HostLink, why: &str) {
    let means =
        Means::RemoveLink { name: link.name.clone(), index: link.index, kind: link.kind.clone() };
    let seen = Seen { what: described(link), source: "ip -d link show", excerpt: why };
    taking.residue(ResidueKind::Link, &link.name, seen, means);
}

fn own_device(taking: &mut Taking<'_>, link: &HostLink, device: &Device, setting: &Known<bool>) {
    if link.kind != device.kind {
        kept(taking, link, format!("Calico's is of kind {}", device.kind));
    } else if taking.is_unwanted(setting) {
        remove(taking, link, "name and kind are those of Calico's device");
    } else {
        taking.undecided(ResidueKind::Link, &link.name, &described(link), setting);
    }
}

/// Others use the kernel's device as well (LVS, say): it is Calico's as far as its addresses are.
fn tunl0(taking: &mut Taking<'_>, link: &HostLink) {
    if link.kind != "ipip" {
        kept(taking, link, "Calico's is of kind ipip");
        return;
    }
    let facts = taking.facts;
    let Some(addresses) = taking.known(&facts.addresses) else { return };
    let addresses = addresses.get(IPIP).map(Vec::as_slice).unwrap_or_default();
    let around = taking.surroundings;
    if addresses.is_empty() {
        // Without an address it does nothing: the kernel keeps it while the module is loaded.
        return;
    }
    if !taking.is_unwanted(&around.ipip) {
        let what = format!("addresses of interface {IPIP}");
        return taking.undecided(ResidueKind::Link, IPIP, &what, &around.ipip);
    }
    let is_calicos = |it: &IpAddr| {
        around.tunnel_addresses.contains(it)
            || around.pools.known().is_some_and(|pools| pools.iter().any(|pool| pool.contains(it)))
    };
    let shown = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if addresses.iter().all(is_calicos) {
        let means = Means::FlushLink {
            name: link.name.clone(),
            index: link.index,
            kind: link.kind.clone(),
        };
        let what = format!("addresses of interface {IPIP}");
        let seen = Seen { what, source: "ip addr show dev tunl0", excerpt: &shown };
        taking.residue(ResidueKind::Link, &link.name, seen, means);
    } else if around.pools.known().is_some() {
        kept(taking, link, format!("its addresses are of no IP pool: {shown}"));
    } else {
        kept(
            taking,
            link,
            format!("the IP pools are not known, so whose {shown} is cannot be told"),
        );
    }
}

/// The host's end of a pod's interface. The other end tells whether anybody uses it.
fn of_pod(taking: &mut Taking<'_>, link: &HostLink, namespaces: Option<&NetworkNamespaces>) {
    if taking.surroundings.scope == Scope::OtherMode {
        return;
    }
    if link.kind != "veth" {
        return kept(taking, link, "Calico's are of kind veth");
    }
    if !link.master.is_empty() {
        return kept(
            taking,
            link,
            format!("it is a port of {}; Calico's are of none", link.master),
        );
    }
    match &taking.surroundings.pod_links {
        Known::Known(names) if names.contains(&link.name) => {
            if !taking.is_stale_scope() {
                kept(taking, link, "a pod of the node has it");
            }
            return;
        }
        Known::Unknown(_) if taking.is_stale_scope() => {
            return kept(taking, link, "the pods of the node are not known");
        }
        _ => {}
    }
    let Some(namespaces) = namespaces else {
        return kept(taking, link, "whether somebody uses it cannot be told");
    };
    match namespaces.other_end(link) {
        OtherEnd::Living(name) => {
            kept(
                taking,
                link,
                format!("processes live in namespace {name}, where its other end is"),
            );
        }
        OtherEnd::Unknown => kept(taking, link, "its other end is in a namespace without a name"),
        OtherEnd::Dead(name) => {
            let why = format!(
                "nothing lives in namespace {name}, where its other end is, and no pod has it"
            );
            remove(taking, link, &why);
        }
        OtherEnd::Host => match user_of_peer(taking, link) {
            Some(user) => kept(taking, link, user),
            None => remove(
                taking,
                link,
                "its other end is on the host itself, unused, and no pod has it",
            ),
        },
    }
}

/// Why somebody uses the other end, which is on the host as well.
fn user_of_peer(taking: &Taking<'_>, link: &HostLink) -> Option<String> {
    let links = taking.facts.links.known()?;
    let peer = links.iter().find(|it| Some(it.index) == link.peer_index)?;
    if !peer.master.is_empty() {
        return Some(format!("its other end {} is a port of {}", peer.name, peer.master));
    }
    let Some(addresses) = taking.facts.addresses.known() else {
        return Some("the addresses of its other end are not known".to_owned());
    };
    let has_any = addresses.get(&peer.name).is_some_and(|it| !it.is_empty());
    has_any.then(|| format!("its other end {} has addresses", peer.name))
}
