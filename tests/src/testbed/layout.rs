//! Names, addresses and folders: where everything of a testbed lies.
//!
//! Several testbeds can run on one machine. Each has a number (`KUBECTL_CALICO_TESTBED_INSTANCE`, 0 unless set) of which all
//! its names, addresses and ports are made.

use super::error::Error;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The highest number a testbed may have: pod addresses are 10.200+N.0.0/16.
pub(crate) const LAST_INSTANCE: u8 = 50;
/// The most nodes of one testbed: their addresses are 10.99.N.11 and up.
pub(crate) const MOST_NODES: u8 = 20;
/// The addresses of services, inside the nodes only; the API server's is the first, 10.96.0.1, as with kubeadm.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The ClusterIP of the Service `kubernetes`.
pub(crate) const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// The API server's address and the pod addresses that manifests name: those of testbed 0.
const FIRST_SERVER: &str = "https://10.99.0.1:6443";
const FIRST_POD_CIDR: &str = "10.200.0.0/16";

/// Where one testbed keeps its things and what it calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    instance: u8,
    state: PathBuf,
    cache: PathBuf,
}

impl Layout {
    /// The layout that the environment asks for:
    /// `KUBECTL_CALICO_TESTBED_INSTANCE` (a number, 0), `KUBECTL_CALICO_TESTBED_STATE` (a folder on a real disk,
    /// /var/lib/kubectl-calico-testbed), `KUBECTL_CALICO_TESTBED_CACHE` (the folder of built artefacts, tests/testbed/.cache).
    pub fn from_environment() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let instance = match variable("KUBECTL_CALICO_TESTBED_INSTANCE") {
            None => 0,
            Some(text) => text.parse().map_err(|_| Error::Odd {
                what: "KUBECTL_CALICO_TESTBED_INSTANCE".to_owned(),
                why: format!("{text:?} is not a number from 0 to {LAST_INSTANCE}"),
            })?,
        };
        let state = variable("KUBECTL_CALICO_TESTBED_STATE")
            .unwrap_or_else(|| "/var/lib/kubectl-calico-testbed".to_owned());
        let cache = variable("KUBECTL_CALICO_TESTBED_CACHE")
            .map_or_else(|| sources().join(".cache"), PathBuf::from);
        Self::new(instance, Path::new(&state), &cache)
    }

    /// The layout of the testbed with this number, below these folders.
    pub fn new(instance: u8, state: &Path, cache: &Path) -> Result<Self, Error> {
        if instance > LAST_INSTANCE {
            return Err(Error::Odd {
                what: "the number of the testbed".to_owned(),
                why: format!("{instance} is more than {LAST_INSTANCE}"),
            });
        }
        Ok(Self { instance, state: state.join(instance.to_string()), cache: cache.to_owned() })
    }

    /// The same folders with another number.
    pub fn with_instance(&self, instance: u8) -> Result<Self, Error> {
        Self::new(instance, self.of_all(), &self.cache)
    }

    /// The number of this testbed.
    pub fn instance(&self) -> u8 {
        self.instance
    }

    /// The folder of everything that `down` removes.
    pub fn run(&self) -> PathBuf {
        self.state.join("run")
    }

    /// The folder that all testbeds of the machine share.
    pub(crate) fn of_all(&self) -> &Path {
        self.state.parent().unwrap_or(Path::new("/"))
    }

    /// Whether another testbed is there, running or not.
    pub fn others_exist(&self) -> bool {
        let states = std::fs::read_dir(self.of_all()).into_iter().flatten().flatten();
        states
            .map(|entry| entry.path())
            .any(|state| state != self.state && state.join("run").exists())
    }

    /// The folder of the lock files, which outlive the testbed.
    pub fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// The folder of built artefacts.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// Keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.run().join("pki")
    }

    /// Records of the running programs.
    pub fn records(&self) -> PathBuf {
        self.run().join("records")
    }

    /// Logs of the control plane.
    pub fn logs(&self) -> PathBuf {
        self.run().join("log")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.run().join("kubeconfig")
    }

    /// Everything of one node: its layer, its stores, its logs.
    pub fn node(&self, name: &str) -> PathBuf {
        self.run().join("nodes").join(name)
    }

    /// The word that all network names of this testbed begin with.
    pub fn prefix(&self) -> String {
        format!("kct{}", self.instance)
    }

    /// The bridge all nodes hang on.
    pub fn bridge(&self) -> String {
        self.prefix()
    }

    /// The network namespace of a node, which is also the name of its link on the machine's side (at most 15 characters).
    pub fn link(&self, node: &str) -> String {
        format!("{}-{node}", self.prefix())
    }

    /// The cgroup, relative to the root of each hierarchy.
    pub fn cgroup(&self) -> String {
        format!("kubectl-calico-testbed-{}", self.instance)
    }

    /// The address of the bridge and of the API server.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.instance, 1)
    }

    /// The address of the node with this number, from 1.
    pub fn node_address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.instance, 10 + number)
    }

    /// The addresses of pods; every node gets a /24 of it.
    pub fn pod_cidr(&self) -> String {
        format!("10.{}.0.0/16", 200 + u16::from(self.instance))
    }

    /// Where the API server is reached from the machine and from the nodes.
    pub fn server(&self) -> String {
        format!("https://{}:6443", self.gateway())
    }

    /// A manifest of testbed 0 with this testbed's own addresses: of the API server and of pods.
    pub(crate) fn localize(&self, manifest: &str) -> String {
        manifest.replace(FIRST_SERVER, &self.server()).replace(FIRST_POD_CIDR, &self.pod_cidr())
    }

    /// The ports of etcd on the loopback address: for clients and for peers.
    pub fn etcd_ports(&self) -> (u16, u16) {
        let first = 23790 + 2 * u16::from(self.instance);
        (first, first + 1)
    }
}

/// The names of the first `count` nodes.
pub(crate) fn node_names(count: u8) -> Vec<String> {
    (1..=count).map(|number| format!("node{number}")).collect()
}

/// The number of a node in its name.
pub(crate) fn node_number(name: &str) -> Result<u8, Error> {
    name.strip_prefix("node")
        .and_then(|number| number.parse().ok())
        .filter(|number| (1..=MOST_NODES).contains(number))
        .ok_or_else(|| Error::Odd {
            what: format!("the node name {name:?}"),
            why: format!("nodes are called node1 to node{MOST_NODES}"),
        })
}

/// The folder tests/testbed of the source tree that this was built from.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testbed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_testbeds_share_a_name_or_an_address() {
        let layouts: Vec<Layout> = (0..=LAST_INSTANCE)
            .map(|n| Layout::new(n, Path::new("/s"), Path::new("/c")).unwrap())
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for layout in &layouts {
            let (client, peer) = layout.etcd_ports();
            let names = [
                layout.bridge(),
                layout.link("node1"),
                layout.cgroup(),
                layout.server(),
                layout.pod_cidr(),
                layout.run().display().to_string(),
                client.to_string(),
                peer.to_string(),
            ];
            for name in names {
                assert!(seen.insert(name.clone()), "{name} twice");
            }
            assert!(
                layout.link("node20").len() <= 15,
                "Linux cuts link names off at 15 characters"
            );
        }
        assert!(Layout::new(LAST_INSTANCE + 1, Path::new("/s"), Path::new("/c")).is_err());
    }

    #[test]
    fn node_names_carry_their_number() {
        assert_eq!(node_names(2), ["node1", "node2"]);
        assert_eq!(node_number("node12").unwrap(), 12);
        for wrong in ["node0", "node21", "node", "worker1", "../etc"] {
            assert!(node_number(wrong).is_err(), "{wrong}");
        }
    }
}
