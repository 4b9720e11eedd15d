//! kube-proxy of a cluster: whether it serves, whose it is, and how it is stopped.

mod distributions;
#[cfg(test)]
mod tests;
mod way;

pub use distributions::Distribution;
pub use way::{KubeProxyWay, how_to_bring_back, how_to_disable};

use super::{KUBE_PROXY, Situation, is_mirror};
use crate::snapshot::{Gap, GapReason, Known};
use serde_json::Value;

/// kube-proxy's port for metrics, on which nobody else listens.
const METRICS_PORT: u16 = 10249;

/// Whether kube-proxy serves, and how it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeProxyState {
    /// As pods of a DaemonSet.
    Running,
    /// Its DaemonSet wants no pods, and there are none.
    Stopped,
    /// As pods of files on the nodes.
    StaticPod,
    /// As a part of another program of the nodes.
    InProcess,
    /// Nowhere.
    Absent,
    /// Not all that would tell could be read.
    Unknown(Gap),
}

impl KubeProxyState {
    /// Whether it translates Services; none when that is not known.
    pub fn serves(&self) -> Option<bool> {
        match self {
            Self::Running | Self::StaticPod | Self::InProcess => Some(true),
            Self::Stopped | Self::Absent => Some(false),
            Self::Unknown(_) => None,
        }
    }

    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::StaticPod => "static-pod",
            Self::InProcess => "in-process",
            Self::Absent => "absent",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Which distribution's kube-proxy this is.
pub fn kind(situation: &Situation<'_>) -> &'static Distribution {
    Distribution::of(&situation.snapshot.nodes.items)
}

/// Whether kube-proxy serves in this cluster.
pub fn state(situation: &Situation<'_>) -> KubeProxyState {
    let pods = match situation.kube_proxy_pods() {
        Known::Known(pods) => pods,
        Known::Absent => return KubeProxyState::Unknown(not_read("cluster/pods.json", "pods")),
        Known::Unknown(gap) => return KubeProxyState::Unknown(gap),
    };
    if pods.iter().any(|pod| !is_mirror(pod)) {
        return KubeProxyState::Running;
    }
    if !pods.is_empty() {
        return KubeProxyState::StaticPod;
    }
    match &situation.kube_proxy {
        Known::Known(set) if wanted(set) > 0 => KubeProxyState::Running,
        Known::Known(_) => KubeProxyState::Stopped,
        Known::Absent => without_its_daemon_set(situation),
        Known::Unknown(gap) => KubeProxyState::Unknown(gap.clone()),
    }
}

/// Pods that its DaemonSet wants. One that was just changed has not counted anew: then it is not stopped yet.
fn wanted(set: &Value) -> i64 {
    let number = |path| set.pointer(path).and_then(Value::as_i64);
    let is_counted = number("/status/observedGeneration") >= number("/metadata/generation");
    let wanted = number("/status/desiredNumberScheduled").unwrap_or(0);
    if is_counted { wanted } else { wanted.max(1) }
}

/// Some distributions have it elsewhere, or within a program of theirs.
fn without_its_daemon_set(situation: &Situation<'_>) -> KubeProxyState {
    let sets = match &situation.daemon_sets {
        Known::Known(sets) => sets.as_slice(),
        Known::Absent => &[],
        Known::Unknown(gap) => return KubeProxyState::Unknown(gap.clone()),
    };
    let mut others = sets.iter().filter(|set| set.metadata.name.contains(KUBE_PROXY)).peekable();
    if others.peek().is_some() {
        let runs = others.any(|set| set.status.desired_number_scheduled > 0);
        return if runs { KubeProxyState::Running } else { KubeProxyState::Stopped };
    }
    let mut missing = None;
    for facts in situation.nodes.values() {
        match facts.as_ref().and_then(|it| it.listeners.as_ref()) {
            Known::Known(ports) if ports.contains(&METRICS_PORT) => {
                return KubeProxyState::InProcess;
            }
            Known::Unknown(gap) => missing = missing.or(Some(gap)),
            _ => {}
        }
    }
    match missing {
        Some(gap) => KubeProxyState::Unknown(gap),
        None if situation.nodes.is_empty() => {
            KubeProxyState::Unknown(not_read("cluster/nodes.json", "nodes"))
        }
        None => KubeProxyState::Absent,
    }
}

fn not_read(what: &str, kind: &str) -> Gap {
    Gap::new(what, GapReason::NotAsked, format!("{kind} were not read"))
}
