//! Pours records into a [`Snapshot`]. It cannot fail: what makes no sense becomes a gap.

use jiff::Timestamp;

use super::{ClusterIdentity, Gap, GapReason, Known, Listing, Record, Sink, Snapshot};

/// Assembles a snapshot from records and gaps.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    gaps: Vec<Gap>,
}

impl SnapshotBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The picture as of `taken`.
    pub fn finish(self, taken: Timestamp) -> Snapshot {
        let not_asked = |what: &str| Gap::new(what, GapReason::NotAsked, "not read");
        Snapshot {
            taken,
            cluster: ClusterIdentity {
                uid: Known::Unknown(not_asked("cluster/namespaces.json")),
                server_version: Known::Unknown(not_asked("cluster/api/version.json")),
                context: None,
            },
            flavour: Known::Unknown(not_asked("cluster/api/apis.json")),
            install: Known::Unknown(not_asked("cluster/daemonsets.apps.json")),
            nodes: Listing::default(),
            namespaces: Listing::default(),
            pods: Listing::default(),
            events: Listing::default(),
            daemon_sets: Listing::default(),
            deployments: Listing::default(),
            service_accounts: Listing::default(),
            config_maps: Listing::default(),
            cluster_information: Listing::default(),
            ip_pools: Listing::default(),
            signing_keys: Known::Unknown(not_asked("cluster/api/openid-v1-jwks.json")),
            hosts: std::collections::BTreeMap::new(),
            gaps: self.gaps,
        }
    }
}

impl Sink for SnapshotBuilder {
    fn record(&mut self, _record: &Record) {}

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }
}
