//! I1: without kube-proxy every node is on eBPF. Where neither is, no Service answers, or soon will.

use super::{Holds, Picture, Real, Rule, error, named, not_applicable};
use crate::bpf::kube_proxy::KubeProxyState;

pub(super) static RULE: Rule =
    Rule { id: "I1", title: "while kube-proxy is off, eBPF is on on every node", judge };

fn judge(picture: &Picture<'_>) -> Holds {
    let unserved = picture
        .nodes_that(|node| !matches!(node.real, Real::On | Real::Unknown(_) | Real::WithoutCalico));
    match picture.kube_proxy.serves() {
        Some(true) => not_applicable("kube-proxy serves"),
        Some(false) if !unserved.is_empty() => {
            let what = format!("kube-proxy is off, and eBPF is not on on {}", named(&unserved));
            error(vec![what, consequence(picture, &unserved)], todo(picture))
        }
        Some(false) => match (picture.unseen(), picture.nodes.is_empty()) {
            (Some(gap), _) => Holds::Unknown(gap),
            (None, true) => not_applicable("there is no node"),
            (None, false) => Holds::Yes,
        },
        None if unserved.is_empty() && picture.unseen().is_none() && !picture.nodes.is_empty() => {
            Holds::Yes
        }
        None => match picture.kube_proxy {
            KubeProxyState::Unknown(gap) => Holds::Unknown(gap.clone()),
            _ => not_applicable("kube-proxy serves"),
        },
    }
}

/// Rules that kube-proxy left go on to work, until a Service changes.
fn consequence(picture: &Picture<'_>, unserved: &[&str]) -> String {
    let has_rules = |name: &&&str| {
        let rules = picture.nodes.get(**name).and_then(|it| it.rules.known());
        rules.is_some_and(|it| *it > 0)
    };
    if unserved.iter().all(|name| has_rules(&name)) {
        "the rules that kube-proxy left there still translate Services, but follow no change of them".to_owned()
    } else {
        "nothing translates Services there, or nothing that was seen".to_owned()
    }
}

fn todo(picture: &Picture<'_>) -> &'static str {
    match picture.kube_proxy {
        KubeProxyState::Stopped => "start kube-proxy again: kubectl calico-ebpf kube-proxy on",
        _ => {
            "bring kube-proxy back, in the way of your distribution: kubectl calico-ebpf kube-proxy status"
        }
    }
}
