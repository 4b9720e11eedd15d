//! What on a host is Calico's by its name alone. What is not known here is not removed, whatever a plan says: the last
//! fence between a mistake in a plan and somebody else's host.

use super::NftFamily;

/// Directories that only Calico has (see [`is_calico_tree`] for those whose place varies).
const TREES: &[&str] = &[
    "/var/lib/calico",
    "/run/calico",
    "/var/run/calico",
    "/var/log/calico",
    "/run/nodeagent",
    "/var/run/nodeagent",
    "/etc/calico/csi",
    "/var/lib/kubelet/plugins/csi.tigera.io",
    "/var/lib/kubelet/plugins_registry/csi.tigera.io-reg.sock",
    "/var/lib/cni/networks/k8s-pod-network",
];

/// What calico-node mounts on a host: where, and its type.
const MOUNTS: &[(&str, &str)] = &[
    ("/run/calico/cgroup", "cgroup2"),
    ("/var/run/calico/cgroup", "cgroup2"),
    ("/run/calico/bpffs", "bpf"),
    ("/var/run/calico/bpffs", "bpf"),
];

/// Where libcni keeps what plugins answered, and the beginning of the names for the network that Calico's conflist
/// names.
const RESULTS: &[&str] =
    &["/var/lib/cni/cache/results/k8s-pod-network-", "/var/lib/cni/results/k8s-pod-network-"];

/// Prefixes of ipsets of Felix, today's and historic ones (felix/ipsets: `cali40`, temporary ones `cali4t`).
const IP_SETS: &[&str] =
    &["cali4", "cali6", "felix-4", "felix-6", "felix-masq-ipam-pools", "felix-all-ipam-pools"];

/// Where BPF file systems are mounted.
const BPF_ROOTS: &[&str] = &["/sys/fs/bpf/", "/run/calico/bpffs/", "/var/run/calico/bpffs/"];

/// Directories in a BPF file system that Calico makes, and whose content may be somebody else's as well: it is for the
/// plan to tell.
const SHARED_PIN_DIRECTORIES: &[&str] = &["tc", "tcx", "netkit", "ctlb"];

/// Whether a directory (or a socket, or a cached result of a plugin) is Calico's by its path.
pub fn is_calico_tree(path: &str) -> bool {
    let plain = |it: &str| !it.is_empty() && !it.contains('/') && it != "." && it != "..";
    TREES.contains(&path)
        || RESULTS.iter().any(|it| path.strip_prefix(it).is_some_and(plain))
        // Certificates for etcd, in whatever directory the CNI configuration of this distribution is.
        || path.ends_with("/net.d/calico-tls")
        || path.ends_with("/cni-network/calico-tls")
        // The driver's directory below the kubelet's plugin directory, which varies.
        || path.ends_with("/nodeagent~uds")
}

/// Whether a file system of this type at this mount point is one that calico-node mounts.
pub fn is_calico_mount(path: &str, file_system: &str) -> bool {
    MOUNTS.contains(&(path, file_system))
}

/// Whether an ipset is Calico's by its name.
pub fn is_calico_ip_set(name: &str) -> bool {
    IP_SETS.iter().any(|it| name.starts_with(it))
}

/// Whether a table of nftables is Calico's by its name.
pub fn is_calico_table(family: NftFamily, name: &str) -> bool {
    match family {
        NftFamily::Ip => matches!(name, "calico" | "calico-flowtable-probe"),
        NftFamily::Ip6 => name == "calico",
        NftFamily::Arp => name == "calico-arp",
    }
}

/// Whether a path in a BPF file system may be a pin of Calico's, or a directory for such.
pub fn is_calico_pin(path: &str) -> bool {
    let Some(below) = BPF_ROOTS.iter().find_map(|root| path.strip_prefix(root)) else {
        return false;
    };
    below.split('/').any(|it| {
        let is_hash = it.len() == 40 && it.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let is_hooked = ["_igr", "_egr", "_xdp"].iter().any(|end| it.ends_with(end));
        it.starts_with("cali") || it.starts_with("xdp_cali") || is_hash || is_hooked
    }) || below.split('/').next().is_some_and(|it| SHARED_PIN_DIRECTORIES.contains(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_of_calico_and_their_neighbours() {
        for own in [
            "/var/lib/calico",
            "/etc/cni/net.d/calico-tls",
            "/var/lib/rancher/k3s/agent/etc/cni/net.d/calico-tls",
            "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds",
            "/var/lib/cni/results/k8s-pod-network-0123-eth0",
        ] {
            assert!(is_calico_tree(own), "{own}");
        }
        for foreign in [
            "/",
            "/etc/cni/net.d",
            "/etc/calico",
            "/var/lib/calico/..",
            "/var/lib",
            "/var/lib/cni/networks",
            "/var/lib/cni/results",
            "/var/lib/cni/results/k8s-pod-network-",
            "/var/lib/cni/results/k8s-pod-network-1/../../x",
            "/var/lib/cni/results/cbr0-1-eth0",
            "/opt/cni/bin",
        ] {
            assert!(!is_calico_tree(foreign), "{foreign}");
        }
    }

    #[test]
    fn names_in_the_kernel_and_their_neighbours() {
        assert!(is_calico_ip_set("cali40s:abc") && is_calico_ip_set("felix-masq-ipam-pools"));
        assert!(!is_calico_ip_set("my-cali40") && !is_calico_ip_set("KUBE-CALI40"));
        assert!(is_calico_table(NftFamily::Arp, "calico-arp"));
        assert!(!is_calico_table(NftFamily::Ip, "calico-notes"));
        assert!(!is_calico_table(NftFamily::Ip6, "calico-arp"));
        assert!(is_calico_mount("/run/calico/cgroup", "cgroup2"));
        assert!(!is_calico_mount("/run/calico/cgroup", "tmpfs"));
        assert!(!is_calico_mount("/sys/fs/bpf", "bpf"));
    }

    #[test]
    fn pins_of_calico_and_their_neighbours() {
        for own in [
            "/sys/fs/bpf/tc/globals/cali_v4_ct",
            "/sys/fs/bpf/ctlb/calico_connect_v4",
            "/sys/fs/bpf/calico/xdp/x",
            "/sys/fs/bpf/xdp_cali_1",
            "/sys/fs/bpf/tc/0123456789abcdef0123456789abcdef01234567",
            "/sys/fs/bpf/tcx/eth0_ingress",
            "/run/calico/bpffs/cali_v4_ct",
        ] {
            assert!(is_calico_pin(own), "{own}");
        }
        for foreign in ["/sys/fs/bpf", "/sys/fs/bpf/cilium", "/etc/calico", "/sys/fs/bpf/ip/x"] {
            assert!(!is_calico_pin(foreign), "{foreign}");
        }
    }
}
