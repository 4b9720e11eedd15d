//! I8: no device of IPVS. It owns every ClusterIP locally, and cuts the node off once eBPF is on.

use super::super::NodeState;
use super::{Holds, Picture, Rule, error, named, off};
use crate::bpf::{BpfFacts, text};
use crate::snapshot::Known;
use serde_json::Value;

/// The device that kube-proxy makes for IPVS.
const DEVICE: &str = "kube-ipvs0";

pub(super) static RULE: Rule = Rule { id: "I8", title: "no node has anything of IPVS", judge };

fn judge(picture: &Picture<'_>) -> Holds {
    if !picture.is_about_ebpf() {
        return off();
    }
    let mut found: Vec<&str> = Vec::new();
    let mut missing = None;
    for (name, NodeState { real, .. }) in picture.nodes {
        if *real == super::Real::WithoutCalico {
            continue;
        }
        match picture.situation.nodes.get(name).map(|facts| facts.as_ref().and_then(ipvs)) {
            Some(Known::Known(true)) => found.push(name),
            Some(Known::Unknown(gap)) => missing = missing.or(Some(gap)),
            _ => {}
        }
    }
    let mut seen = Vec::new();
    if !found.is_empty() {
        seen.push(format!("IPVS holds addresses of Services on {}", named(&found)));
    }
    if picture.kube_proxy.serves() == Some(true) && is_mode(picture) {
        seen.push("kube-proxy is in mode ipvs".to_owned());
    }
    if !seen.is_empty() {
        return error(
            seen,
            "set mode: iptables in ConfigMap kube-system/kube-proxy, then restart kube-proxy and boot the nodes anew, one by one",
        );
    }
    missing.map_or(Holds::Yes, Holds::Unknown)
}

fn ipvs(facts: &BpfFacts) -> Known<bool> {
    let device = facts.links.as_ref().map(|all| all.iter().any(|it| it.name == DEVICE));
    let services = facts.virtual_services.as_ref().map(|it| *it > 0);
    match (device, services) {
        (Known::Known(true), _) | (_, Known::Known(true)) => Known::Known(true),
        (Known::Unknown(gap), _) | (_, Known::Unknown(gap)) => Known::Unknown(gap),
        _ => Known::Known(false),
    }
}

fn is_mode(picture: &Picture<'_>) -> bool {
    let config = picture.situation.kube_proxy_config.known();
    let config = config.and_then(|it| text(it, "/data/config.conf"));
    let config = config.and_then(|it| crate::yaml::from_str::<Value>(it).ok());
    config.is_some_and(|it| it.get("mode").and_then(Value::as_str) == Some("ipvs"))
}
