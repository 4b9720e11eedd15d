//! The cluster as a whole in a word.

use super::{NodeState, Picture, Real};

/// What the data plane of a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterClass {
    /// eBPF is on nowhere, as it is meant to be, and kube-proxy serves.
    Off,
    /// eBPF is on everywhere, and kube-proxy is gone.
    On,
    /// eBPF is on everywhere, and kube-proxy serves beside it.
    OnWithKubeProxy,
    /// eBPF is on on some nodes only; kube-proxy serves the others.
    Mixed,
    /// eBPF is meant to be on, and about to be.
    Enabling,
    /// Some nodes have neither eBPF nor kube-proxy, or eBPF is meant to be on and is nowhere.
    Broken,
    /// Not enough could be seen.
    Unknown,
}

impl ClusterClass {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "Off",
            Self::On => "On",
            Self::OnWithKubeProxy => "OnWithKubeProxy",
            Self::Mixed => "Mixed",
            Self::Enabling => "Enabling",
            Self::Broken => "Broken",
            Self::Unknown => "Unknown",
        }
    }
}

/// Judged by the nodes that could be seen.
pub(super) fn of(picture: &Picture<'_>) -> ClusterClass {
    let seen = |it: &&NodeState| !matches!(it.real, Real::Unknown(_) | Real::WithoutCalico);
    let seen: Vec<&NodeState> = picture.nodes.values().filter(seen).collect();
    let on = seen.iter().filter(|it| it.real == Real::On).count();
    let falls_back = seen.iter().any(|it| matches!(it.real, Real::Fallback { .. }));
    let is_wanted = picture.wanted.known().is_some_and(|it| it.on);
    let changes = picture.run_goes_on();
    match (on, picture.kube_proxy.serves()) {
        _ if seen.is_empty() => ClusterClass::Unknown,
        (on, Some(false)) if on < seen.len() => ClusterClass::Broken,
        (on, serves) if on == seen.len() => match serves {
            Some(true) => ClusterClass::OnWithKubeProxy,
            Some(false) => ClusterClass::On,
            None => ClusterClass::Unknown,
        },
        (0, _) if falls_back && !changes => ClusterClass::Broken,
        (0, _) if falls_back || is_wanted => ClusterClass::Enabling,
        (0, Some(_)) => ClusterClass::Off,
        (0, None) => ClusterClass::Unknown,
        _ if changes => ClusterClass::Enabling,
        _ => ClusterClass::Mixed,
    }
}
