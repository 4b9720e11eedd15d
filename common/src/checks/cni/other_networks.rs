//! What is known of other network plugins: which ones stand before Calico on purpose, and whose pods run.

use crate::checks::Context;
use crate::slim::Pod;
use crate::snapshot::NetworkConfiguration;

/// Plugins that hand a pod on to others: Multus itself, and the client of its daemon.
const MULTUS: [&str; 2] = ["multus", "multus-shim"];

/// Plugins that change what another one made; alone they make no network.
const CHAINED: [&str; 7] =
    ["istio-cni", "linkerd-cni", "portmap", "bandwidth", "tuning", "firewall", "sbr"];

/// Word in a plugin's type or in its file's name, and words in the names, labels or images of the pods that it belongs to.
const OWNERS: [(&str, &[&str]); 12] = [
    ("cilium", &["cilium"]),
    ("flannel", &["flannel"]),
    ("weave", &["weave"]),
    ("kuberouter", &["kube-router"]),
    ("kube-router", &["kube-router"]),
    ("aws", &["aws-node", "amazon-k8s-cni"]),
    ("azure", &["azure-cns", "azure-cni", "azure-vnet"]),
    ("antrea", &["antrea"]),
    ("ovn-k8s", &["ovnkube", "ovn-kubernetes"]),
    ("kube-ovn", &["kube-ovn"]),
    ("kindnet", &["kindnet"]),
    ("romana", &["romana"]),
];

/// True when the first plugin of `file` delegates to others.
pub(super) fn is_multus(file: &NetworkConfiguration) -> bool {
    file.plugins.first().is_some_and(|plugin| MULTUS.contains(&plugin.as_str()))
}

/// True when one of the delegates is Calico's plugin, or the network or the file of a configuration of Calico.
pub(super) fn delegates_to_calico(
    file: &NetworkConfiguration,
    all: &[&NetworkConfiguration],
) -> bool {
    let calico: Vec<_> = all.iter().filter(|it| it.is_calico()).collect();
    file.delegates.iter().any(|delegate| {
        let name = delegate.rsplit('/').next().unwrap_or(delegate);
        delegate == "calico"
            || calico.iter().any(|it| it.file == name || it.network.as_deref() == Some(delegate))
    })
}

/// True when none of its plugins makes a network.
pub(super) fn calls_only_chained(file: &NetworkConfiguration) -> bool {
    file.plugins.iter().all(|plugin| CHAINED.contains(&plugin.as_str()))
}

/// A pod on `node` of the plugin that `file` belongs to, when one runs. calico-node is none, whatever it runs beside (Canal's
/// pods hold flannel).
pub(super) fn living_owner<'a>(
    context: &Context<'a>,
    node: &str,
    file: &NetworkConfiguration,
) -> Option<&'a Pod> {
    let names_it = |word: &str| {
        file.file.contains(word) || file.plugins.iter().any(|plugin| plugin.contains(word))
    };
    let words: Vec<&str> = OWNERS
        .iter()
        .filter(|(word, _)| names_it(word))
        .flat_map(|(_, words)| words.iter().copied())
        .collect();
    let belongs = |pod: &Pod| {
        let images = pod.spec.containers.iter().map(|it| it.image.as_str());
        let labels = pod.metadata.labels.values().map(String::as_str);
        let mut texts = images.chain(labels).chain([pod.metadata.name.as_str()]);
        texts.any(|text| words.iter().any(|word| text.contains(word)))
    };
    let lives = |pod: &&Pod| {
        pod.spec.node_name == node
            && pod.spec.host_network
            && !pod.is_calico_node()
            && !pod.is_finished()
            && !pod.is_terminating()
    };
    context.snapshot.pods.items.iter().filter(lives).find(|pod| belongs(pod))
}
