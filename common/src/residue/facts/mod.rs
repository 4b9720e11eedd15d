//! What the scan saw on one machine, parsed. Every text here is foreign: nothing in it may end the program, and what makes
//! no sense is a gap.

mod bpf;
mod ip_set;
mod iptables;
mod link;
mod nft;
mod path;
mod reader;
mod route;

use std::collections::{BTreeMap, BTreeSet};

pub use bpf::{AttachedProgram, Pins};
pub use ip_set::IpSet;
pub use iptables::{SavedRule, SavedRules, SavedTable};
pub use link::{HostLink, NetworkNamespaces, OtherEnd};
pub use path::{Configuration, Mount, PathEntry};
pub use route::{HostRoute, RoutingRule};

use crate::plan::{IpFamily, NftTable, RulesBackend};
use crate::snapshot::{Gap, Known, parse_probe};
use reader::{Feature, Reader};

/// The four sets of packet filter rules that a machine may have.
pub const RULE_SETS: [(RulesBackend, IpFamily); 4] = [
    (RulesBackend::Nft, IpFamily::V4),
    (RulesBackend::Nft, IpFamily::V6),
    (RulesBackend::Legacy, IpFamily::V4),
    (RulesBackend::Legacy, IpFamily::V6),
];

/// `v4`, `v6`.
pub fn family_word(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "v4",
        IpFamily::V6 => "v6",
    }
}

/// `nft`, `legacy`.
pub fn backend_word(backend: RulesBackend) -> &'static str {
    match backend {
        RulesBackend::Nft => "nft",
        RulesBackend::Legacy => "legacy",
    }
}

/// Both words: `("nft", "v4")`.
pub(super) fn words_of(backend: RulesBackend, family: IpFamily) -> (&'static str, &'static str) {
    (backend_word(backend), family_word(family))
}

/// Facts of one machine, as far as they are about Calico or about what looks like it.
#[derive(Clone, Debug)]
pub struct ResidueFacts {
    /// What the machine calls itself.
    pub machine: Known<String>,
    /// Files and directories, sorted by path (sections `paths` and `sha256`).
    pub paths: Known<Vec<PathEntry>>,
    /// Network configurations by their paths (sections `conf-…`).
    pub configurations: BTreeMap<String, Known<Configuration>>,
    /// Mounts of Calico's, and BPF file systems.
    pub mounts: Known<Vec<Mount>>,
    /// Network interfaces, sorted by name.
    pub links: Known<Vec<HostLink>>,
    /// Addresses by interface.
    pub addresses: Known<BTreeMap<String, Vec<core::net::IpAddr>>>,
    /// Network namespaces, and in which of them something lives.
    pub namespaces: Known<NetworkNamespaces>,
    /// Routes that may be Calico's, of both families.
    pub routes: Vec<(IpFamily, Known<Vec<HostRoute>>)>,
    /// Rules of policy routing, of both families.
    pub routing_rules: Vec<(IpFamily, Known<Vec<RoutingRule>>)>,
    /// Rules of iptables, in the order of [`RULE_SETS`].
    pub rules: Vec<(RulesBackend, IpFamily, Known<SavedRules>)>,
    /// Tables of nftables of the families in which Calico has some.
    pub nft_tables: Known<Vec<NftTable>>,
    /// Ipsets.
    pub ip_sets: Known<Vec<IpSet>>,
    /// What is in the BPF file systems.
    pub pins: Known<Pins>,
    /// BPF programs attached to interfaces.
    pub programs: Known<Vec<AttachedProgram>>,
    /// Names of Calico's programs that are attached to cgroups.
    pub cgroup_programs: Known<BTreeSet<String>>,
    /// Virtual services of IPVS.
    pub virtual_services: Known<usize>,
    /// What is wrong with the scan's text.
    pub faults: Vec<Gap>,
}

impl ResidueFacts {
    /// Facts from what the scan printed on `node`. It never fails: what cannot be had is unknown.
    pub fn from_scan(node: &str, body: &[u8]) -> Self {
        let (sections, faults) = parse_probe(body);
        let reader = Reader::new(node, &sections, &faults);
        let of_rules = |backend, family| {
            let id = format!("rules.{}.{}", backend_word(backend), family_word(family));
            let feature = match (backend, family) {
                (RulesBackend::Nft, _) => Feature::NfTables,
                (RulesBackend::Legacy, IpFamily::V4) => Feature::IpTables,
                (RulesBackend::Legacy, IpFamily::V6) => Feature::Ip6Tables,
            };
            (backend, family, reader.of_program(&id, feature).map(iptables::parse))
        };
        let of_families = [IpFamily::V4, IpFamily::V6];
        let links = reader.json("ip-link", link::parse);
        Self {
            machine: reader.content("machine").map(|text| text.trim().to_owned()),
            paths: path::read(&reader),
            configurations: path::configurations(&reader),
            mounts: reader.content("mounts").map(path::mounts),
            addresses: reader.json("ip-addr", link::addresses),
            namespaces: link::namespaces(&reader),
            routes: of_families
                .map(|it| {
                    let id = format!("route.{}", family_word(it));
                    (it, reader.content(&id).map(|text| route::routes(it, text)))
                })
                .into(),
            routing_rules: of_families
                .map(|it| {
                    let id = format!("routing-rule.{}", family_word(it));
                    (it, reader.content(&id).map(route::rules))
                })
                .into(),
            rules: RULE_SETS.map(|(backend, family)| of_rules(backend, family)).into(),
            nft_tables: reader.of_program("nft-tables", Feature::NfTables).map(nft::parse),
            ip_sets: reader.of_program("ip-sets", Feature::IpSets).map(ip_set::parse),
            pins: bpf::pins(&reader),
            programs: bpf::programs(&reader, &links),
            cgroup_programs: reader
                .of_program("bpf-cgroups", Feature::CalicoPrograms)
                .map(bpf::cgroup_programs),
            virtual_services: reader.content("ipvs").map(|text| text.lines().count()),
            faults: reader.faults(),
            links,
        }
    }
}
