//! D1: every node is what it is meant to be.

use std::collections::BTreeMap;

use super::{Holds, NodeState, Picture, Real, Rule, error, named};
use crate::bpf::text;
use crate::snapshot::Known;
use serde_json::Value;

pub(super) static RULE: Rule =
    Rule { id: "D1", title: "every node has the data plane that it is meant to have", judge };

fn judge(picture: &Picture<'_>) -> Holds {
    let mut seen: Vec<String> = pending(picture).into_iter().collect();
    let mut todo = Vec::new();
    if !seen.is_empty() {
        todo.push("see what the operator waits for: kubectl get tigerastatus".to_owned());
    }
    let fallbacks = fallbacks(picture);
    if !fallbacks.is_empty() {
        seen.extend(fallbacks);
        todo.push("mend that, or go back: kubectl calico-ebpf disable".to_owned());
    }
    let leftovers = picture.nodes_that(|node| node.real == Real::Leftover);
    if !leftovers.is_empty() {
        let what = format!(
            "programs or tables of eBPF on {}, where it is meant to be off",
            named(&leftovers)
        );
        seen.push(what);
        todo.push(
            "restart calico-node there, one by one: Felix removes them when it starts".to_owned(),
        );
    }
    if !seen.is_empty() {
        return error(seen, todo.join("; "));
    }
    if let Known::Unknown(gap) = picture.wanted {
        return Holds::Unknown(gap.clone());
    }
    if let Some(gap) = picture.unseen() {
        return Holds::Unknown(gap);
    }
    if picture.nodes.is_empty() {
        let why = crate::snapshot::GapReason::NotAsked;
        return Holds::Unknown(crate::snapshot::Gap::new(
            "cluster/nodes.json",
            why,
            "no node was seen",
        ));
    }
    Holds::Yes
}

/// The operator was told, and Felix was not yet.
fn pending(picture: &Picture<'_>) -> Option<String> {
    let wanted = picture.wanted.known()?;
    let told = picture.nodes.values().filter_map(|it| it.wanted.known());
    let differs = told.clone().count() > 0 && told.clone().all(|it| it.on != wanted.on);
    if !differs || !wanted.by.starts_with("Installation") {
        return None;
    }
    let word = if wanted.on { "on" } else { "off" };
    let says = degraded(picture).map(|it| format!("; it says: {it}")).unwrap_or_default();
    Some(format!("{} wants eBPF {word}, and the operator has not told Felix so{says}", wanted.by))
}

/// What the operator complains about.
fn degraded(picture: &Picture<'_>) -> Option<String> {
    let all = picture.situation.tigera_status.known()?;
    let calico = all.iter().find(|it| text(it, "/metadata/name") == Some("calico"))?;
    let conditions = calico.pointer("/status/conditions")?.as_array()?;
    let degraded =
        conditions.iter().find(|it| it["type"] == "Degraded" && it["status"] == "True")?;
    degraded.get("message").and_then(Value::as_str).map(str::to_owned)
}

/// One sentence for each reason.
fn fallbacks(picture: &Picture<'_>) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, node) in picture.nodes {
        if let NodeState { real: Real::Fallback { why }, .. } = node {
            by_reason.entry(why).or_default().push(name);
        }
    }
    let sentence = |(why, nodes): (&str, Vec<&str>)| {
        format!("eBPF is not on on {}, where it is meant to be: {why}", named(&nodes))
    };
    by_reason.into_iter().map(sentence).collect()
}
