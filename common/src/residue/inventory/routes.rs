//! Routes, and rules of policy routing.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Means, Seen, Taking};
use crate::calico::names::TUNNEL_DEVICES;
use crate::plan::IpFamily;
use crate::residue::ResidueKind;
use crate::residue::facts::{HostRoute, RoutingRule, family_word};
use crate::snapshot::Known;

/// Felix's number, which nobody else is known to use.
const FELIX: &str = "80";
/// BIRD's, which an administrator's own BIRD has as well.
const BIRD: [&str; 2] = ["bird", "12"];

/// Priority of the rule that sends packets to WireGuard's table (FelixConfiguration: wireguardRoutingRulePriority).
const WIREGUARD_PRIORITY: u32 = 99;
/// Bits that Felix takes its marks from.
const MARKS: u32 = 0xffff_0000;

pub(super) fn take(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    let links = taking.residue_links();
    for ((family, routes), (_, rules)) in facts.routes.iter().zip(&facts.routing_rules) {
        let (routes, rules) = (taking.known(routes), taking.known(rules));
        let Some(routes) = routes else { continue };
        let mut tables = BTreeSet::new();
        for rule in rules.into_iter().flatten() {
            if routing_rule(taking, *family, rule, routes) {
                tables.insert(rule.table.as_str());
            }
        }
        for route in routes {
            one(taking, *family, route, (&links, &tables));
        }
    }
}

/// A route is known by its destination, and by its table and metric where they are not the usual ones.
fn named(family: IpFamily, route: &HostRoute) -> String {
    let mut name = format!("{}/{}", family_word(family), route.destination);
    let usual = if family == IpFamily::V6 { "1024" } else { "" };
    if !route.metric.is_empty() && route.metric != usual {
        name.push_str(&format!(" metric {}", route.metric));
    }
    if !route.table.is_empty() {
        name.push_str(&format!(" table {}", route.table));
    }
    name
}

/// What it is, for a person.
fn described(route: &HostRoute) -> String {
    format!("route {}", route.line.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn remove(taking: &mut Taking<'_>, family: IpFamily, route: &HostRoute, why: &str) {
    let what = described(route);
    let seen = Seen { what, source: "ip route show table all", excerpt: why };
    let means = Means::Route { family, line: route.line.clone() };
    taking.residue(ResidueKind::Route, &named(family, route), seen, means);
}

fn one(
    taking: &mut Taking<'_>,
    family: IpFamily,
    route: &HostRoute,
    (links, tables): (&BTreeSet<String>, &BTreeSet<&str>),
) {
    let is_felix = route.protocol == FELIX;
    let is_bird = BIRD.contains(&route.protocol.as_str());
    if route.kind == "throw" && tables.contains(route.table.as_str()) && !route.table.is_empty() {
        return remove(taking, family, route, "in the table of Calico's WireGuard rule");
    }
    if !is_felix && !is_bird {
        // What the kernel or the CNI plugin made for an interface goes with it.
        return;
    }
    let goes = |device: &String| links.contains(device);
    if !route.devices.is_empty() && route.devices.iter().all(goes) {
        return remove(taking, family, route, "it goes through an interface that Calico left");
    }
    if goes_elsewhere(route) || (taking.is_stale_scope() && !is_of_no_bird(taking, route)) {
        return;
    }
    let pools = taking.surroundings.pools.known();
    let inside = pools.map(|pools| pools.iter().any(|pool| holds(pool, &route.destination)));
    match reason(taking, route, is_felix, inside) {
        Ok(why) => remove(taking, family, route, &why),
        Err(why) => {
            taking.kept(ResidueKind::Route, &named(family, route), described(route), why);
        }
    }
}

/// BIRD's, where calico-node runs none and no pool uses IP-in-IP: for blocks of pods, and through the tunnel. Others may be of an
/// administrator's own BIRD.
fn is_of_no_bird(taking: &Taking<'_>, route: &HostRoute) -> bool {
    let around = taking.surroundings;
    let is_off = |setting: &Known<bool>| setting.known() == Some(&false);
    let by_tunnel = !route.devices.is_empty() && route.devices.iter().all(|it| it == "tunl0");
    BIRD.contains(&route.protocol.as_str())
        && is_off(&around.bird)
        && is_off(&around.ipip)
        && (route.kind == "blackhole" || by_tunnel)
}

/// Through an interface of a pod or a tunnel that stays: so does the route.
fn goes_elsewhere(route: &HostRoute) -> bool {
    route.devices.iter().any(|it| it.starts_with("cali") || it.strip_suffix(".cali").is_some())
}

fn holds(pool: &IpNet, destination: &IpNet) -> bool {
    match (pool, destination) {
        (IpNet::V4(pool), IpNet::V4(it)) => pool.contains(it),
        (IpNet::V6(pool), IpNet::V6(it)) => pool.contains(it),
        _ => false,
    }
}

const NO_POOLS: &str = "the IP pools are not known: say --pool CIDR if the address was Calico's";

/// Why the route is Calico's, or why that cannot be said.
fn reason(
    taking: &Taking<'_>,
    route: &HostRoute,
    is_felix: bool,
    inside: Option<bool>,
) -> Result<String, String> {
    if route.kind == "blackhole" {
        return match inside {
            Some(true) => Ok("for what no pod has of a block of an IP pool".to_owned()),
            Some(false) => Err("it is in no IP pool".to_owned()),
            None => Err(NO_POOLS.to_owned()),
        };
    }
    if route.gateways.is_empty() {
        return Err("it has no next hop, and Calico's have one".to_owned());
    }
    // A person who named the pools of a machine of which nothing else is known named its routes.
    let Known::Known(nodes) = &taking.surroundings.node_addresses else {
        return match inside {
            Some(true) => Ok("it leads into an IP pool that was named".to_owned()),
            Some(false) => Err("it leads into no IP pool".to_owned()),
            None => Err(NO_POOLS.to_owned()),
        };
    };
    let by_tunnel = |it: &String| TUNNEL_DEVICES.contains(&it.as_str());
    let is_next_hop = route.gateways.iter().all(|it| nodes.contains(it))
        || (inside == Some(true) && route.devices.iter().all(by_tunnel));
    match (is_next_hop, inside, is_felix) {
        (false, _, _) => Err("its next hop is no node of the cluster".to_owned()),
        (true, Some(true), _) => {
            Ok("it leads to another node, for a block of an IP pool".to_owned())
        }
        (true, Some(false), true) => Ok("it leads to another node, and Felix made it".to_owned()),
        (true, Some(false), false) => Err("it leads to no IP pool".to_owned()),
        (true, None, _) => Err(NO_POOLS.to_owned()),
    }
}

/// Whether the rule is Calico's: the one that sends unmarked packets to WireGuard's table.
fn routing_rule(
    taking: &mut Taking<'_>,
    family: IpFamily,
    rule: &RoutingRule,
    routes: &[HostRoute],
) -> bool {
    let is_one_bit = rule
        .mark
        .is_some_and(|(mark, mask)| mark == mask && mark.is_power_of_two() && mark & MARKS == mark);
    if rule.priority != WIREGUARD_PRIORITY || !rule.is_negated || !is_one_bit {
        return false;
    }
    let around = taking.surroundings;
    let name = format!("{}/{}", family_word(family), rule.priority);
    let words = rule.line.split_whitespace().collect::<Vec<_>>().join(" ");
    let what = format!("routing rule {} {words}", family_word(family));
    if !taking.is_unwanted(&around.wireguard) {
        taking.undecided(ResidueKind::RoutingRule, &name, &what, &around.wireguard);
        return false;
    }
    let foreign = routes.iter().filter(|it| it.table == rule.table).find(|it| {
        it.kind != "throw" && !it.devices.iter().all(|it| TUNNEL_DEVICES.contains(&it.as_str()))
    });
    if let Some(route) = foreign {
        let why = format!("its table has a route that is not Calico's: {}", route.line);
        taking.kept(ResidueKind::RoutingRule, &name, what, why);
        return false;
    }
    let excerpt = "priority and mark are those of Calico's WireGuard rule";
    let seen = Seen { what, source: "ip rule show", excerpt };
    let means = Means::RoutingRule { family, line: rule.line.clone() };
    taking.residue(ResidueKind::RoutingRule, &name, seen, means);
    true
}
