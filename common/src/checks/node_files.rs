//! What checks ask about Calico's files on a node, and about what they should say.

use super::Context;
use crate::calico::names::{CNI_BIN_DIR, CNI_CONFIG_DIR};
use crate::slim::TemplateSpec;
use crate::snapshot::{
    FileEntry, Gap, GapReason, HostFacts, Known, NetworkConfiguration, RuntimeConfig, Vantage,
};

/// k3s unpacks its programs into a directory per release; `current` is a link to it.
const K3S_DATA: &str = "/var/lib/rancher/k3s/data/";

impl<'a> Context<'a> {
    /// The network configurations of `node`, without those of our own, in the order in which the runtime takes them.
    pub(super) fn configurations(&self, node: &str) -> Known<Vec<&'a NetworkConfiguration>> {
        self.config_files(node)
            .and_then(|facts| facts.conflists.as_ref())
            .map(|all| all.iter().filter(|it| !it.is_own()).collect())
    }

    /// What was seen on `node`, when it was seen in the directory of network configurations that this install uses: on the
    /// host, the probe looks in the usual one; calico-node mounts the right one.
    pub(super) fn config_files(&self, node: &str) -> Known<&'a HostFacts> {
        self.snapshot.host(node).and_then(|facts| {
            if facts.vantage != Vantage::Host || self.config_dir() == CNI_CONFIG_DIR {
                return Known::Known(facts);
            }
            let what = format!("nodes/{node}/probe.txt#ls-cni-net.d");
            let why = format!("the host's probe does not look in {}", self.config_dir());
            Known::Unknown(Gap::new(what, GapReason::NotAsked, why))
        })
    }

    /// Calico's plugins and others on `node`, when their directory is the one that the probe lists.
    pub(super) fn plugins(&self, node: &str) -> Known<&'a [FileEntry]> {
        self.snapshot.host(node).and_then(|facts| {
            if self.bin_dir() == CNI_BIN_DIR {
                return facts.cni_bin_dir.as_ref().map(Vec::as_slice);
            }
            let what = format!("nodes/{node}/probe.txt#ls-cni-bin");
            let why = format!("the probe does not look in {}", self.bin_dir());
            Known::Unknown(Gap::new(what, GapReason::NotAsked, why))
        })
    }

    /// Whether the configuration that the runtime takes on `node` calls `plugin`; none when that is not to be seen. What the
    /// plugins of other networks call themselves is not known.
    pub(super) fn calls(&self, node: &str, plugin: &str) -> Option<bool> {
        let all = self.configurations(node);
        let first = all.known()?.first().filter(|it| it.problem.is_none())?;
        if first.plugins.iter().any(|it| it == plugin) {
            return Some(true);
        }
        let ipam = first.calico.as_ref()?.ipam.as_deref();
        Some(ipam == Some(plugin))
    }

    /// The configuration files of the container runtime that runs on `node`.
    pub(super) fn runtime_files(&self, node: &str) -> Vec<&'a RuntimeConfig> {
        let nodes = &self.snapshot.nodes.items;
        let version = nodes
            .iter()
            .find(|it| it.metadata.name == node)
            .map_or("", |it| it.status.node_info.container_runtime_version.as_str());
        // Those of another one may have been left behind.
        let word = match version.split_once("://") {
            Some(("containerd", _)) => "/containerd/",
            Some(("cri-o", _)) => "/crio/",
            _ => return Vec::new(),
        };
        let files = self.snapshot.host(node).and_then(|facts| facts.runtime_config.as_ref());
        files
            .known()
            .into_iter()
            .flat_map(|all| all.iter())
            .filter(|it| it.file.contains(word))
            .collect()
    }

    /// True when /var/lib/calico/nodename was seen on the host itself. calico-node may see another one than the host's.
    pub(super) fn host_has_nodename(&self, node: &str) -> bool {
        let host = self.snapshot.host(node);
        host.known().is_some_and(|facts| {
            facts.vantage == Vantage::Host
                && facts.nodename.known().is_some_and(|name| !name.is_empty())
        })
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
