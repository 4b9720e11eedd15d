//! What Felix is told on a node: its environment, then FelixConfiguration `node.NAME`, then those that select the node, then
//! `default`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::selector;
use crate::bpf::{Situation, text};
use crate::snapshot::{Gap, GapReason, Known};

/// The switch.
pub(super) const BPF_ENABLED: &str = "bpfEnabled";
/// Whether Felix removes kube-proxy's rules.
pub(super) const CLEANUP: &str = "bpfKubeProxyIptablesCleanupEnabled";
/// Where Felix answers in kube-proxy's place.
pub(super) const HEALTHZ_PORT: &str = "bpfKubeProxyHealthzPort";
/// Which connections are translated where they are opened.
pub(super) const CONNECT_TIME: &str = "bpfConnectTimeLoadBalancing";
/// The same of releases before v3.27.
pub(super) const CONNECT_TIME_ENABLED: &str = "bpfConnectTimeLoadBalancingEnabled";

/// Container of calico-node's pod that Felix is in.
const CONTAINER: &str = "calico-node";

/// What Felix is told of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Who says so.
    pub by: String,
}

/// What Felix on `node` is told of `field`; absent when nobody says anything, so that its default holds.
pub(super) fn setting(situation: &Situation<'_>, node: &str, field: &str) -> Known<Setting> {
    match from_environment(situation, Some(node), field) {
        Known::Absent => {}
        told => return told,
    }
    let all = match &situation.felix {
        Known::Known(all) => all,
        Known::Absent => return Known::Absent,
        Known::Unknown(gap) => return Known::Unknown(gap.clone()),
    };
    let own = format!("node.{node}");
    if let Some(own) = all.iter().find(|it| name(it) == own)
        && let Some(told) = of(own, field)
    {
        return Known::Known(told);
    }
    match selecting(situation, all, node) {
        Known::Known(object) => match of(object, field) {
            Some(told) => Known::Known(told),
            None => of_default(situation, field),
        },
        Known::Absent => of_default(situation, field),
        Known::Unknown(gap) => Known::Unknown(gap),
    }
}

/// Nodes on which Felix leaves kube-proxy's rules alone, or may, whatever FelixConfiguration `default` says.
pub fn nodes_that_keep_rules(situation: &Situation<'_>) -> BTreeSet<String> {
    let by_default = "FelixConfiguration default";
    let keeps = |node: &&String| match setting(situation, node, CLEANUP) {
        Known::Known(told) => told.by != by_default && told.value != true,
        Known::Absent => false,
        Known::Unknown(_) => true,
    };
    situation.nodes.keys().filter(keeps).cloned().collect()
}

/// What Felix is told of `field` where no node has anything of its own.
pub(super) fn of_default(situation: &Situation<'_>, field: &str) -> Known<Setting> {
    match from_environment(situation, None, field) {
        Known::Absent => {}
        told => return told,
    }
    situation.felix_named("default").and_then(|object| Known::from_option(of(object, field)))
}

/// FelixConfigurations beside `default` that say something about eBPF: their names, and what they are about.
pub(super) fn overrides(all: &[Value]) -> Vec<String> {
    let is_override = |it: &&Value| {
        let spec = it.pointer("/spec").and_then(Value::as_object);
        name(it) != "default"
            && spec.is_some_and(|spec| {
                spec.iter().any(|(key, value)| key.starts_with("bpf") && !value.is_null())
            })
    };
    all.iter().filter(is_override).map(|it| name(it).to_owned()).collect()
}

fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

fn of(object: &Value, field: &str) -> Option<Setting> {
    let value = object.get("spec")?.get(field).filter(|it| !it.is_null())?;
    let by = format!("FelixConfiguration {}", name(object));
    Some(Setting { value: value.clone(), by })
}

/// The oldest object that selects the node.
fn selecting<'v>(situation: &Situation<'_>, all: &'v [Value], node: &str) -> Known<&'v Value> {
    let mut scoped: Vec<&Value> =
        all.iter().filter(|it| text(it, "/spec/nodeSelector").is_some()).collect();
    if scoped.is_empty() {
        return Known::Absent;
    }
    let found = situation.snapshot.nodes.items.iter().find(|it| it.metadata.name == node);
    let Some(found) = found else {
        return unknown("the labels of the node were not read");
    };
    scoped.sort_by_key(|it| (text(it, "/metadata/creationTimestamp"), name(it)));
    for object in scoped {
        let selector = text(object, "/spec/nodeSelector").unwrap_or_default();
        match selector::selects(selector, &found.metadata.labels) {
            Some(true) => return Known::Known(object),
            Some(false) => {}
            None => {
                return unknown(&format!("what the selector {selector:?} means is not known here"));
            }
        }
    }
    Known::Absent
}

fn unknown<T>(why: &str) -> Known<T> {
    Known::Unknown(Gap::new("cluster/felixconfigurations", GapReason::Undecodable, why))
}

/// calico-node's environment: as the process has it where it was looked at, else as the DaemonSet gives it.
fn from_environment(situation: &Situation<'_>, node: Option<&str>, field: &str) -> Known<Setting> {
    let variable = format!("FELIX_{}", field.to_ascii_uppercase());
    let setting =
        |value: Value| Setting { value, by: format!("{variable} of calico-node's environment") };
    let facts = node.and_then(|it| situation.nodes.get(it)).and_then(|it| it.known());
    if let Some(facts) = facts.filter(|_| field == BPF_ENABLED)
        && facts.variable.gap().is_none()
    {
        return facts.variable.clone().map(|on| setting(on.into()));
    }
    let template = situation.calico_node.as_ref().map(|it| {
        it.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten()
    });
    let mut containers = match template {
        Known::Known(containers) => containers,
        Known::Absent => return Known::Absent,
        Known::Unknown(gap) => return Known::Unknown(gap),
    };
    let container = containers.find(|it| it["name"] == CONTAINER);
    let env = container.and_then(|it| it["env"].as_array());
    let found = env.into_iter().flatten().find(|it| it["name"] == variable.as_str());
    match found {
        None => Known::Absent,
        Some(it) if it.get("valueFrom").is_some() => {
            unknown(&format!("{variable} of calico-node comes from another object"))
        }
        Some(it) => match it["value"].as_str() {
            None | Some("") => Known::Absent,
            Some(value) => Known::Known(setting(typed(value))),
        },
    }
}

fn typed(text: &str) -> Value {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "t" | "on" => true.into(),
        "false" | "0" | "no" | "n" | "f" | "off" => false.into(),
        _ => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
    }
}
