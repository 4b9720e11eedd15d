//! What Felix is told to make on a node: environment of calico-node, FelixConfigurations, IP pools, and what is there.

use super::facts::{ResidueFacts, SavedRules};
use super::{FelixBackend, Surroundings};
use crate::calico::{FelixConfiguration, FelixSpec};
use crate::plan::{IpFamily, NftFamily, RulesBackend};
use crate::slim::{DaemonSet, TemplateContainer};
use crate::snapshot::{Flavour, Gap, GapReason, Known, Snapshot};

/// Where facts about calico-node come from, and those about its settings.
const DAEMON_SETS: &str = "cluster/daemonsets.apps.json";
const CONFIGURATIONS: &str = "cluster/felixconfigurations.json";
/// ConfigMap that every manifest takes environment from: it holds the API server's address.
const SERVICES_ENDPOINT: &str = "kubernetes-services-endpoint";
/// What Felix jumps to from chain FORWARD, for as long as it programs iptables.
const FORWARD: &str = "cali-FORWARD";

/// Settings of Felix on one node. Absent is a setting that nobody made: Felix decides.
#[derive(Clone, Debug)]
pub struct FelixSettings {
    /// Whether its BPF data plane is on; off when nobody says so.
    bpf: Known<bool>,
    /// Whether WireGuard is on, for either family; off when nobody says so.
    wireguard: Known<bool>,
    /// Whether there is VXLAN, whatever the pools say.
    vxlan: Known<bool>,
    /// Whether there is IP-in-IP, whatever the pools say.
    ipip: Known<bool>,
    /// Whether IPv6 is programmed.
    ipv6: Known<bool>,
    /// Whether nftables are programmed instead of iptables.
    nftables: Known<bool>,
    /// The implementation of iptables.
    iptables: Known<RulesBackend>,
    /// Whether BIRD runs.
    bird: Known<bool>,
}

impl FelixSettings {
    /// What is said about `node`. The environment wins over what is stored, and what is said of a node over what is said of all.
    pub fn of(snapshot: &Snapshot, stored: &Known<Vec<FelixConfiguration>>, node: &str) -> Self {
        let told =
            Told { environment: environment(snapshot), stored: stored_in(snapshot, stored), node };
        let flag = |variable: &str, field: fn(&FelixSpec) -> Option<bool>| {
            told.setting(variable, field, truth)
        };
        let either = [
            flag("FELIX_WIREGUARDENABLED", |it| it.wireguard_enabled),
            flag("FELIX_WIREGUARDENABLEDV6", |it| it.wireguard_enabled_v6),
        ];
        Self {
            bpf: or_off(flag("FELIX_BPFENABLED", |it| it.bpf_enabled)),
            wireguard: any(either.map(or_off)),
            vxlan: flag("FELIX_VXLANENABLED", |it| it.vxlan_enabled),
            ipip: flag("FELIX_IPINIPENABLED", |it| it.ipip_enabled),
            ipv6: flag("FELIX_IPV6SUPPORT", |it| it.ipv6_support),
            nftables: told.word("FELIX_NFTABLESMODE", |it| it.nftables_mode.clone(), nftables),
            iptables: told.word(
                "FELIX_IPTABLESBACKEND",
                |it| it.iptables_backend.clone(),
                iptables,
            ),
            bird: told.bird(),
        }
    }
}

impl Surroundings {
    /// With what Felix is told, and with what it has made on this host, which tells what it chose where the choice was its own.
    #[must_use]
    pub fn told_by(self, felix: &FelixSettings, snapshot: &Snapshot, facts: &ResidueFacts) -> Self {
        let (v4, v6) = (Pools::of(snapshot, false), Pools::of(snapshot, true));
        let without_bpf = |wanted: Known<bool>| match (&felix.bpf, wanted) {
            // The BPF data plane forwards node ports through the same device.
            (Known::Known(true), _) => Known::Known(true),
            (Known::Known(false), wanted) => wanted,
            (other, _) => undecided(other),
        };
        let ipv6 = match (&felix.bpf, &felix.ipv6) {
            (Known::Known(false), Known::Known(is)) => Known::Known(*is),
            (Known::Known(_), other) | (other, _) => undecided(other),
        };
        Self {
            vxlan: without_bpf(tunnel(&felix.vxlan, v4.vxlan, &v4)),
            vxlan_v6: without_bpf(tunnel(&felix.vxlan, v6.vxlan, &v6)),
            ipip: tunnel(&felix.ipip, v4.ipip, &v4),
            wireguard: felix.wireguard.clone(),
            bpf: felix.bpf.clone(),
            ipv6,
            bird: felix.bird.clone(),
            backend: backend(felix, facts),
            ..self
        }
    }
}

/// What the IP pools of a family ask for.
struct Pools {
    vxlan: bool,
    ipip: bool,
    /// Whether all pools were read, and there are any: that there is none at all may be for the moment only.
    are_known: bool,
}

impl Pools {
    fn of(snapshot: &Snapshot, v6: bool) -> Self {
        let pools = &snapshot.ip_pools;
        let asks = |mode: &str| !matches!(mode, "" | "Never");
        let of_family = || pools.items.iter().filter(|it| it.spec.cidr.contains(':') == v6);
        Self {
            vxlan: of_family().any(|it| asks(&it.spec.vxlan_mode)),
            ipip: of_family().any(|it| asks(&it.spec.ipip_mode)),
            are_known: pools.is_whole() && !pools.items.is_empty(),
        }
    }
}

/// Whether there is a tunnel device: because a setting says so, or a pool asks for it.
fn tunnel(setting: &Known<bool>, asked: bool, pools: &Pools) -> Known<bool> {
    match setting {
        _ if asked => Known::Known(true),
        Known::Known(true) => Known::Known(true),
        Known::Unknown(gap) => Known::Unknown(gap.clone()),
        Known::Known(false) | Known::Absent if pools.are_known => Known::Known(false),
        Known::Known(false) | Known::Absent => {
            unknown("cluster/ippools.json", "the IP pools are not known")
        }
    }
}

/// Which of the three Felix programs: of those that it may choose, the one whose marks are there. Where several are, or none is,
/// nobody can say: the others may be older, or newer.
fn backend(felix: &FelixSettings, facts: &ResidueFacts) -> Known<FelixBackend> {
    match &felix.bpf {
        Known::Known(false) => {}
        Known::Known(true) => return Known::Known(FelixBackend::Bpf),
        other => return undecided(other),
    }
    if let Some(gap) = felix.nftables.gap().or_else(|| felix.iptables.gap()) {
        return Known::Unknown(gap.clone());
    }
    let both = [RulesBackend::Nft, RulesBackend::Legacy];
    let may_be_iptables = |it: &RulesBackend| {
        felix.nftables != Known::Known(true)
            && felix.iptables.known().is_none_or(|told| told == it)
            && programs_iptables(facts, *it) != Some(false)
    };
    let mut possible: Vec<FelixBackend> =
        both.into_iter().filter(may_be_iptables).map(FelixBackend::Iptables).collect();
    if felix.nftables != Known::Known(false) && programs_nftables(facts) != Some(false) {
        possible.push(FelixBackend::Nftables);
    }
    match possible.as_slice() {
        [one] if is_seen(facts, *one) => Known::Known(*one),
        [] | [_] => {
            unknown(CONFIGURATIONS, "no rules of Felix are there, so it has not said what it uses")
        }
        _ => unknown(
            CONFIGURATIONS,
            "rules of several kinds are there, and no setting (iptablesBackend, nftablesMode) says which are in use",
        ),
    }
}

fn is_seen(facts: &ResidueFacts, backend: FelixBackend) -> bool {
    match backend {
        FelixBackend::Iptables(it) => programs_iptables(facts, it) == Some(true),
        FelixBackend::Nftables => programs_nftables(facts) == Some(true),
        FelixBackend::Bpf => false,
    }
}

/// Whether chain FORWARD jumps into Felix's; none when that was not seen.
fn programs_iptables(facts: &ResidueFacts, backend: RulesBackend) -> Option<bool> {
    let is_it =
        |it: &&(RulesBackend, IpFamily, Known<SavedRules>)| it.0 == backend && it.1 == IpFamily::V4;
    let rules = facts.rules.iter().find(is_it)?.2.known()?;
    let filter = rules.tables.iter().filter(|it| it.name == "filter");
    let jumps = filter.flat_map(|it| &it.rules);
    let is_there = jumps.into_iter().any(|it| it.chain == "FORWARD" && it.target == FORWARD);
    if !is_there && rules.unreadable.iter().any(|it| it == "filter") {
        return None;
    }
    Some(is_there)
}

fn programs_nftables(facts: &ResidueFacts) -> Option<bool> {
    let tables = facts.nft_tables.known()?;
    Some(tables.iter().any(|it| it.family == NftFamily::Ip && it.name == "calico"))
}

/// What is said, and where.
struct Told<'a> {
    /// Containers of calico-node as all its pods have them.
    environment: Result<&'a [TemplateContainer], Gap>,
    stored: Result<&'a [FelixConfiguration], Gap>,
    node: &'a str,
}

impl Told<'_> {
    fn word<T>(
        &self,
        variable: &str,
        field: fn(&FelixSpec) -> Option<String>,
        meaning: fn(&str) -> Option<Known<T>>,
    ) -> Known<T> {
        match self.setting(variable, field, |word| Some(word.to_owned())) {
            Known::Known(word) => meaning(&word).unwrap_or_else(|| {
                unknown(CONFIGURATIONS, &format!("{variable} or its field is {word:?}"))
            }),
            Known::Absent => Known::Absent,
            Known::Unknown(gap) => Known::Unknown(gap),
        }
    }

    fn setting<T>(
        &self,
        variable: &str,
        field: fn(&FelixSpec) -> Option<T>,
        parse: fn(&str) -> Option<T>,
    ) -> Known<T> {
        match self.variable(variable) {
            Known::Absent => {}
            Known::Unknown(gap) => return Known::Unknown(gap),
            Known::Known(value) => {
                let why = format!("{variable} of calico-node is {value:?}");
                return parse(value).map_or_else(|| unknown(DAEMON_SETS, &why), Known::Known);
            }
        }
        let stored = match &self.stored {
            Ok(stored) => *stored,
            Err(gap) => return Known::Unknown(gap.clone()),
        };
        let named = |name: &str| stored.iter().find(|it| it.metadata.name == name);
        if let Some(own) = named(&format!("node.{}", self.node)).and_then(|it| field(&it.spec)) {
            return Known::Known(own);
        }
        // Which nodes a selector picks is not worked out: what it may say is unknown.
        let scoped =
            stored.iter().find(|it| it.spec.node_selector.is_some() && field(&it.spec).is_some());
        if let Some(scoped) = scoped {
            let name = &scoped.metadata.name;
            return unknown(
                CONFIGURATIONS,
                &format!("FelixConfiguration {name} may be about this node"),
            );
        }
        named("default").and_then(|it| field(&it.spec)).map_or(Known::Absent, Known::Known)
    }

    /// The value of an environment variable, whose name Felix reads in any case of letters.
    fn variable(&self, name: &str) -> Known<&str> {
        let containers = match &self.environment {
            Ok(containers) => *containers,
            Err(gap) => return Known::Unknown(gap.clone()),
        };
        let of_name = |it: &&crate::slim::EnvironmentVariable| it.name.eq_ignore_ascii_case(name);
        let mut found = containers.iter().flat_map(|it| &it.env).filter(of_name);
        let Some(first) = found.next() else { return Known::Absent };
        if first.value_from.is_some() || first.value.is_empty() || found.any(|it| it != first) {
            return unknown(DAEMON_SETS, &format!("what {name} of calico-node is cannot be read"));
        }
        Known::Known(&first.value)
    }

    /// BIRD does not run where calico-node is told so. Usually a ConfigMap says it, which nobody reads here.
    fn bird(&self) -> Known<bool> {
        match self.variable("CALICO_NETWORKING_BACKEND") {
            Known::Known("vxlan") => Known::Known(false),
            Known::Known(_) => Known::Known(true),
            other => undecided(&other),
        }
    }
}

/// Containers of calico-node's template. While pods with another template may run, they tell nothing.
fn environment(snapshot: &Snapshot) -> Result<&[TemplateContainer], Gap> {
    let gap =
        |detail: String| Gap::new(DAEMON_SETS, GapReason::Other("Undecided".to_owned()), detail);
    let install = match &snapshot.install {
        Known::Known(install) => install,
        Known::Unknown(gap) => return Err(gap.clone()),
        Known::Absent => return Err(gap("there is no DaemonSet calico-node".to_owned())),
    };
    let is_it = |it: &&DaemonSet| {
        it.metadata.namespace == install.namespace && it.metadata.name == install.daemon_set
    };
    let set = snapshot.daemon_sets.items.iter().find(is_it);
    let Some(set) = set.filter(|_| install.namespaces.len() == 1) else {
        return Err(gap("there is not exactly one DaemonSet calico-node".to_owned()));
    };
    let status = &set.status;
    let is_newest = status.observed_generation.is_some()
        && status.observed_generation == set.metadata.generation
        && status.updated_number_scheduled == status.desired_number_scheduled;
    if !is_newest {
        return Err(gap(format!("DaemonSet {} is not rolled out", install.daemon_set)));
    }
    let spec = &set.spec.template.spec;
    let is_foreign = |it: &TemplateContainer| {
        it.env_from.iter().any(|from| {
            let map = from.config_map_ref.as_ref().map(|it| it.name.as_str());
            map != Some(SERVICES_ENDPOINT) || from.secret_ref.is_some()
        })
    };
    if spec.containers.iter().any(is_foreign) {
        return Err(
            gap("calico-node takes environment from an object that is not read".to_owned()),
        );
    }
    Ok(&spec.containers)
}

/// What is stored, unless two groups of the API may hold it, or none.
fn stored_in<'a>(
    snapshot: &Snapshot,
    stored: &'a Known<Vec<FelixConfiguration>>,
) -> Result<&'a [FelixConfiguration], Gap> {
    let gap = |why: &str| Gap::new(CONFIGURATIONS, GapReason::Other("Undecided".to_owned()), why);
    match (&snapshot.flavour, stored) {
        (Known::Known(Flavour::Migrating), _) => {
            Err(gap("Calico's objects are being moved to another API group"))
        }
        (_, Known::Known(all)) => Ok(all),
        (_, Known::Absent) => Err(gap("FelixConfiguration is not served")),
        (_, Known::Unknown(gap)) => Err(gap.clone()),
    }
}

/// As Felix reads a boolean, as far as nobody can doubt it.
fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

fn nftables(word: &str) -> Option<Known<bool>> {
    match word.to_ascii_lowercase().as_str() {
        "enabled" => Some(Known::Known(true)),
        "disabled" => Some(Known::Known(false)),
        "auto" => Some(Known::Absent),
        _ => None,
    }
}

fn iptables(word: &str) -> Option<Known<RulesBackend>> {
    match word.to_ascii_lowercase().as_str() {
        "nft" => Some(Known::Known(RulesBackend::Nft)),
        "legacy" => Some(Known::Known(RulesBackend::Legacy)),
        "auto" => Some(Known::Absent),
        _ => None,
    }
}

fn or_off(setting: Known<bool>) -> Known<bool> {
    if setting == Known::Absent { Known::Known(false) } else { setting }
}

fn any(all: [Known<bool>; 2]) -> Known<bool> {
    match all {
        [Known::Known(a), Known::Known(b)] => Known::Known(a || b),
        [Known::Known(true), _] | [_, Known::Known(true)] => Known::Known(true),
        [a, b] => undecided(if a.gap().is_some() { &a } else { &b }),
    }
}

/// Nothing is known where `setting` does not say anything.
fn undecided<T, U>(setting: &Known<T>) -> Known<U> {
    match setting {
        Known::Unknown(gap) => Known::Unknown(gap.clone()),
        Known::Known(_) | Known::Absent => unknown(CONFIGURATIONS, "no setting says so"),
    }
}

fn unknown<T>(what: &str, why: &str) -> Known<T> {
    Known::Unknown(Gap::new(what, GapReason::Other("Undecided".to_owned()), why))
}
