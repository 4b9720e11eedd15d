//! What checks ask about Calico's files on a node, and about what they should say.

use super::Context;
use crate::calico::names::{CNI_BIN_DIR, CNI_CONFIG_DIR};
use crate::slim::TemplateSpec;
use crate::snapshot::{Known, NetworkConfiguration};

/// k3s unpacks its programs into a directory per release; `current` is a link to it.
const K3S_DATA: &str = "/var/lib/rancher/k3s/data/";

impl<'a> Context<'a> {
    /// The network configurations of `node`, without those of our own, in the order in which the runtime takes them.
    pub(super) fn configurations(&self, node: &str) -> Known<Vec<&'a NetworkConfiguration>> {
        self.snapshot
            .host(node)
            .and_then(|facts| facts.conflists.as_ref())
            .map(|all| all.iter().filter(|it| !it.is_own()).collect())
    }

    /// Directory of network configurations on the hosts.
    pub(super) fn config_dir(&self) -> &'a str {
        self.snapshot.install.known().map_or(CNI_CONFIG_DIR, |install| &install.cni_config_dir)
    }

    /// Directory of network plugins on the hosts.
    pub(super) fn bin_dir(&self) -> &'a str {
        self.snapshot.install.known().map_or(CNI_BIN_DIR, |install| &install.cni_bin_dir)
    }

    /// True when the directories that a runtime names (`/opt/cni/bin /usr/lib/cni`) hold the one with Calico's plugins.
    pub(super) fn looks_where_plugins_are(&self, path: &str) -> bool {
        let ours = self.bin_dir();
        let same = |dir: &str| {
            dir.trim_end_matches('/') == ours
                || (dir.starts_with(K3S_DATA) && ours.starts_with(K3S_DATA))
        };
        path.split([' ', ':', ',']).any(same)
    }

    /// The pod template of calico-node, when its DaemonSet was read.
    pub(super) fn calico_template(&self) -> Option<&'a TemplateSpec> {
        let install = self.snapshot.install.known()?;
        let sets = &self.snapshot.daemon_sets.items;
        let is_it = |set: &&crate::slim::DaemonSet| {
            set.metadata.namespace == install.namespace && set.metadata.name == install.daemon_set
        };
        sets.iter().find(is_it).map(|set| &set.spec.template.spec)
    }

    /// Whether Calico's datastore answers the CNI plugin; none when ClusterInformation does not say.
    pub(super) fn datastore_is_ready(&self) -> Option<bool> {
        let all = &self.snapshot.cluster_information.items;
        all.iter().find(|it| it.metadata.name == "default")?.spec.datastore_ready
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::checks::Context;
    use crate::snapshot::SnapshotBuilder;

    #[test]
    fn the_plugins_directory_is_looked_for_in_whatever_form() {
        let snapshot = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
        let context = Context { snapshot: &snapshot, now: snapshot.taken };
        for path in
            ["/opt/cni/bin", "/opt/cni/bin/", "/usr/lib/cni /opt/cni/bin", "/a:/opt/cni/bin"]
        {
            assert!(context.looks_where_plugins_are(path), "{path}");
        }
        for path in ["/usr/lib/cni", "/opt/cni", "", "/opt/cni/bin2"] {
            assert!(!context.looks_where_plugins_are(path), "{path}");
        }
    }
}
