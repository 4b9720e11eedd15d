//! Evidence: who said what.

use serde::Serialize;

/// One observation that supports a finding. The excerpt is foreign text: printers escape it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Evidence {
    /// Where it was seen: `node2: /etc/cni/net.d/calico-kubeconfig`, `event FailedKillPod shop/web-1`.
    pub source: String,
    /// What was seen there, shortened to what matters.
    pub excerpt: String,
}

impl Evidence {
    /// An observation.
    pub fn new(source: impl Into<String>, excerpt: impl Into<String>) -> Self {
        Self { source: source.into(), excerpt: excerpt.into() }
    }
}
