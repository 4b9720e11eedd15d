//! Felix and BIRD: whether they are in use, and what they say of themselves.

use super::judge::known;
use super::{AgentStatus, NodeStatus};
use crate::calico::names::{
    CALICO_CONFIG_MAP, NETWORKING_BACKEND_KEY, NETWORKING_BACKEND_VARIABLE,
};
use crate::snapshot::{AgentHealth, HostFacts, Known, Snapshot};

/// Felix is always in use.
pub(super) const FELIX: AgentStatus = AgentStatus { used: Some(true), live: None, ready: None };

/// Adds both to a node's status; its pod is there already.
pub(super) fn add(snapshot: &Snapshot, status: &mut NodeStatus) {
    let facts = snapshot.host(&status.name);
    let runs = status.pod.as_ref().map(|pod| pod.running);
    let used = bird_is_used(snapshot, &facts);
    if runs == Some(false) {
        // That was seen: what does not run is neither alive nor ready. The pod's own problem says why.
        let dead = |used| AgentStatus { used, live: Some(false), ready: Some(false) };
        status.felix = dead(Some(true));
        status.bird = match used {
            Some(false) => AgentStatus { used, ..AgentStatus::default() },
            _ => dead(used),
        };
        return;
    }
    status.felix = FELIX;
    let felix = facts.as_ref().and_then(|it| it.felix.as_ref());
    health("felix", "Felix", felix, status);
    bird(used, &facts, status);
}

fn bird(used: Option<bool>, facts: &Known<&HostFacts>, status: &mut NodeStatus) {
    status.bird.used = used;
    if used == Some(false) {
        return;
    }
    let said = facts.as_ref().and_then(|it| it.bird.as_ref());
    if used.is_none() {
        // It answers, so somebody started it; silence of one that may not be meant to run proves nothing.
        let lives = said.known().is_some_and(|it| it.live == Known::Known(true));
        if !lives {
            let why = "whether BIRD is in use is not known".to_owned();
            status.unknown.push(super::UnknownFact { what: "bird", why });
            return;
        }
        status.bird.used = Some(true);
    }
    health("bird", "BIRD", said, status);
}

/// What it answers, and what follows.
fn health(what: &'static str, name: &str, said: Known<&AgentHealth>, status: &mut NodeStatus) {
    let Some(said) = known(what, said, status) else { return };
    let mut answer = |answer: &Known<bool>| known(what, answer.as_ref(), status).copied();
    let (live, ready) = (answer(&said.live), answer(&said.ready));
    let lacks = match (live, ready) {
        (Some(false), _) => Some("alive"),
        (_, Some(false)) => Some("ready"),
        _ => None,
    };
    if let Some(lacks) = lacks {
        let says = essence(&said.says);
        let colon = if says.is_empty() { "" } else { ": " };
        status.problems.push(format!("{name} is not {lacks}{colon}{says}"));
    }
    let agent = if what == "felix" { &mut status.felix } else { &mut status.bird };
    (agent.live, agent.ready) = (live, ready);
}

/// What calico-node says without what the problem's title says already.
fn essence(says: &str) -> &str {
    let says = says.lines().next_back().unwrap_or_default();
    let says = says.strip_prefix("calico/node is not ready: ").unwrap_or(says);
    [
        "Felix is not live: ",
        "felix is not ready: ",
        "bird/confd is not live: ",
        "BIRD is not ready: ",
    ]
    .into_iter()
    .find_map(|title| says.strip_prefix(title))
    .unwrap_or(says)
}

/// What calico-node was told: on the node, else in its DaemonSet, else in the manifest's ConfigMap.
fn bird_is_used(snapshot: &Snapshot, facts: &Known<&HostFacts>) -> Option<bool> {
    let is_bird = |backend: &str| !matches!(backend, "vxlan" | "none");
    match facts.as_ref().and_then(|it| it.networking_backend.as_ref()) {
        Known::Known(backend) => return Some(is_bird(backend)),
        Known::Absent => return Some(true),
        Known::Unknown(_) => {}
    }
    let install = snapshot.install.known()?;
    let here = |namespace: &str| namespace == install.namespace;
    let set = snapshot
        .daemon_sets
        .items
        .iter()
        .find(|it| here(&it.metadata.namespace) && it.metadata.name == install.daemon_set);
    let literal = set.and_then(|set| set.spec.template.spec.env(NETWORKING_BACKEND_VARIABLE));
    let map = snapshot
        .config_maps
        .items
        .iter()
        .find(|it| here(&it.metadata.namespace) && it.metadata.name == CALICO_CONFIG_MAP);
    let written = map.and_then(|map| map.data.get(NETWORKING_BACKEND_KEY)).map(String::as_str);
    literal.or(written).map(is_bird)
}
