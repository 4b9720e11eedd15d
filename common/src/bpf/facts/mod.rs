//! What one node shows of its data plane, parsed from the text of `node/bpf.sh`.

mod kernel;
mod kube_proxy;
mod links;
mod nat;
mod programs;
mod reader;
#[cfg(test)]
mod tests;

use core::fmt;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

pub use kernel::{Mount, Reported};
pub use kube_proxy::KubeProxyRules;
pub use links::DataLink;

use crate::snapshot::{Gap, Known, Vantage, parse_probe};
use reader::Reader;

/// Where an API server is reached: what calico-node has in `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address or name, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A protocol of a Service's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// 6
    Tcp,
    /// 17
    Udp,
    /// Any other, by its number.
    Other(u8),
}

impl Protocol {
    /// By the number that IP has for it.
    pub fn from_number(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            other => Self::Other(other),
        }
    }

    /// By its name in rules and Services, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "sctp" => Some(Self::Other(132)),
            _ => None,
        }
    }
}

/// `10.0.0.1:6443`, `[fd00::1]:6443`, `k8s.example:6443`
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What is translated: an address and port that a Service has on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatFrontend {
    /// Address: a ClusterIP, an address of the node, an external one.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// What a NAT table holds for a frontend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Number of backends; 0 drops or refuses.
    pub backends: u32,
}

/// Which data plane a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeDataPlane {
    /// Calico's programs are attached to an interface that is no pod's, and there is a table of Services.
    Bpf,
    /// Nothing of eBPF's is there.
    Iptables,
    /// Programs or pins are there that serve nothing.
    Leftover,
}

/// What one node shows of its data plane.
#[derive(Clone, Debug)]
pub struct BpfFacts {
    /// Where the look was had from.
    pub vantage: Vantage,
    /// Where calico-node looks for the API server. Absent when its environment says nothing.
    pub endpoint: Known<Endpoint>,
    /// `FELIX_BPFENABLED` of calico-node's environment; absent when it is not set.
    pub variable: Known<bool>,
    /// Names of Calico's programs (`cali_…`, `calico_…`) by the interface that they are attached to, tc and tcx.
    pub programs: Known<BTreeMap<String, BTreeSet<String>>>,
    /// The same of everybody else's.
    pub foreign_programs: Known<BTreeMap<String, BTreeSet<String>>>,
    /// Paths of Calico's pins below /sys/fs/bpf; absent when the host has no such file system.
    pub pins: Known<BTreeSet<String>>,
    /// Frontends of the NAT table, as `nat dump` prints it; absent where there is no such table (eBPF is off).
    pub nat: Known<BTreeMap<NatFrontend, Served>>,
    /// Lines of the dump that are no part of the table.
    pub nat_noise: usize,
    /// Frontends that kube-proxy's rules translate (iptables or nftables mode); absent when there are no such rules. The
    /// address of a NodePort is `0.0.0.0` or `::`.
    pub kube_proxy: Known<BTreeSet<NatFrontend>>,
    /// The same by kube-proxy's mode.
    pub kube_proxy_rules: KubeProxyRules,
    /// What calico-node reports of its parts.
    pub readiness: Known<Vec<Reported>>,
    /// /proc/version.
    pub kernel: Known<String>,
    /// Architecture, as `uname -m` prints it.
    pub machine: Known<String>,
    /// Whether the kernel has type information (/sys/kernel/btf/vmlinux).
    pub btf: Known<bool>,
    /// Mounts of the BPF file system, cgroup v2, /sys and /sys/fs, as seen from the vantage.
    pub mounts: Known<Vec<Mount>>,
    /// Kernel parameters by their paths below /proc/sys.
    pub sysctl: Known<BTreeMap<String, String>>,
    /// Lockdown of the kernel: `none`, `integrity`, `confidentiality`.
    pub lockdown: Known<String>,
    /// What the kernel was built with (`CONFIG_…` to `y`, `m`, `is not set`).
    pub kconfig: Known<BTreeMap<String, String>>,
    /// Network devices, sorted by name.
    pub links: Known<Vec<DataLink>>,
    /// Addresses by device.
    pub addresses: Known<BTreeMap<String, Vec<IpAddr>>>,
    /// Devices that default routes use.
    pub default_routes: Known<BTreeSet<String>>,
    /// Which of kube-proxy's ports (10256, 10249) something listens on.
    pub listeners: Known<BTreeSet<u16>>,
    /// kube-proxy's processes; unknown in calico-node, which sees its own only.
    pub kube_proxy_processes: Known<usize>,
    /// Virtual services of IPVS.
    pub virtual_services: Known<usize>,
    /// Servers of the node's own kubeconfigs, by the files' paths; unknown in calico-node.
    pub servers: Known<Vec<(String, String)>>,
    /// What makes no sense in the text.
    pub faults: Vec<Gap>,
}

impl BpfFacts {
    /// Facts from what `node/bpf.sh` printed on `node`. It never fails: what cannot be had is unknown.
    pub fn from_scan(node: &str, body: &[u8]) -> Self {
        let (sections, faults) = parse_probe(body);
        let reader = Reader::new(node, &sections, &faults);
        let vantage = match reader.line("vantage") {
            Known::Known("calico-node") => Vantage::CalicoNode,
            _ => Vantage::Host,
        };
        let mounts = reader.content("mounts").map(kernel::mounts);
        let has_bpffs = mounts.as_ref().map(|it| it.iter().any(is_bpffs));
        let pins = programs::pins(&reader, vantage, &has_bpffs);
        let attached = programs::attached(&reader, &pins);
        let rules = kube_proxy::read(&reader);
        let dump = nat::read(&reader, vantage, &has_bpffs);
        Self {
            vantage,
            endpoint: endpoint(&reader),
            variable: reader.line("felix-variable").map(is_true),
            programs: programs::of_calico(&attached, true),
            foreign_programs: programs::of_calico(&attached, false),
            pins,
            nat_noise: dump.known().map_or(0, |it| it.noise),
            nat: dump.map(|it| it.frontends),
            kube_proxy: rules.together(),
            kube_proxy_rules: rules,
            readiness: reader.content("readiness").map(kernel::reported),
            kernel: reader.line("kernel").map(str::to_owned),
            machine: reader.line("machine").map(str::to_owned),
            btf: reader.line("btf").map(|it| it == "yes"),
            mounts,
            sysctl: reader.content("sysctl").map(kernel::pairs),
            lockdown: reader
                .content("lockdown")
                .and_then(|text| Known::from_option(kernel::lockdown(text))),
            kconfig: reader.content("kconfig").map(kernel::pairs),
            links: links::links(&reader),
            addresses: links::addresses(&reader),
            default_routes: links::default_routes(&reader),
            listeners: reader.content("listeners").map(kernel::listeners),
            kube_proxy_processes: reader
                .content("kube-proxy-processes")
                .map(|text| text.lines().count()),
            virtual_services: reader.content("ipvs").map(|text| text.lines().count()),
            servers: reader.content("servers").map(kernel::servers),
            faults: reader.faults(),
        }
    }

    /// Which data plane the node has. What is not attached anywhere forwards nothing: that pins could not be looked at does
    /// not make a node without programs doubtful.
    pub fn state(&self) -> Known<NodeDataPlane> {
        let programs = match &self.programs {
            Known::Known(programs) => programs,
            Known::Absent => &BTreeMap::new(),
            Known::Unknown(gap) => return Known::Unknown(gap.clone()),
        };
        let on_data_interface = programs.keys().any(|name| !is_workload(name));
        match &self.nat {
            Known::Known(_) if on_data_interface => Known::Known(NodeDataPlane::Bpf),
            Known::Unknown(gap) if on_data_interface => Known::Unknown(gap.clone()),
            _ if !programs.is_empty() || self.has_pins() => Known::Known(NodeDataPlane::Leftover),
            _ => Known::Known(NodeDataPlane::Iptables),
        }
    }

    /// What Felix pins for its filter of untracked traffic is there without eBPF as well.
    fn has_pins(&self) -> bool {
        let is_of_data_plane = |pin: &String| !pin.starts_with("/sys/fs/bpf/calico/");
        self.pins.known().is_some_and(|pins| pins.iter().any(is_of_data_plane))
    }
}

/// Beginnings of names of pods' interfaces: Calico's own, and those of the CNI plugins of clouds that it works with.
const WORKLOADS: [&str; 5] = ["cali", "eni", "azv", "gke", "tap"];

/// Whether an interface of this name is a pod's.
pub fn is_workload(name: &str) -> bool {
    WORKLOADS.iter().any(|prefix| name.starts_with(prefix))
}

fn is_bpffs(mount: &Mount) -> bool {
    mount.kind == "bpf" && mount.point == "/sys/fs/bpf"
}

fn endpoint(reader: &Reader<'_>) -> Known<Endpoint> {
    reader.content("endpoint").and_then(|text| {
        let mut lines = text.lines().map(str::trim);
        let host = lines.next().unwrap_or_default().trim_matches(['[', ']']);
        let port = lines.next().unwrap_or_default();
        match (host, port.parse()) {
            ("", _) => Known::Absent,
            (host, Ok(port)) => Known::Known(Endpoint { host: host.to_owned(), port }),
            (_, Err(_)) => {
                let why = format!("{port:?} is no port");
                reader.unknown("endpoint", crate::snapshot::GapReason::Undecodable, &why)
            }
        }
    })
}

/// What Felix takes for true.
fn is_true(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "y" | "t" | "on")
}
