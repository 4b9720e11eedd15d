//! What Felix is told, and what that makes of the dump of a machine with everything that Calico leaves.

use std::collections::BTreeSet;

use super::*;
use crate::calico::{FelixConfiguration, FelixSpec, IpPool};
use crate::plan::RulesBackend;
use crate::slim::{
    DaemonSet, EnvironmentOrigin, EnvironmentSource, EnvironmentVariable, LocalReference,
    TemplateContainer,
};
use crate::snapshot::{
    Coverage, Flavour, Install, InstallMethod, Known, Listing, Snapshot, SnapshotBuilder,
};

const SEEDED: &str = include_str!("testdata/seeded.txt");
const ALIKE: &str = include_str!("testdata/alike.txt");

/// calico-node everywhere, one IPv4 pool without encapsulation.
fn cluster() -> Snapshot {
    let mut it = SnapshotBuilder::new().finish(jiff::Timestamp::UNIX_EPOCH);
    let mut set = DaemonSet::default();
    set.metadata.name = "calico-node".into();
    set.metadata.namespace = "kube-system".into();
    set.metadata.generation = Some(3);
    set.status.observed_generation = Some(3);
    set.status.desired_number_scheduled = 2;
    set.status.updated_number_scheduled = 2;
    let endpoint = LocalReference { name: "kubernetes-services-endpoint".into() };
    let usual = EnvironmentOrigin { config_map_ref: Some(endpoint), secret_ref: None };
    let container = TemplateContainer { env_from: vec![usual], ..TemplateContainer::default() };
    set.spec.template.spec.containers.push(container);
    it.daemon_sets.items.push(set);
    it.install = Known::Known(Install {
        method: InstallMethod::Manifest,
        namespace: "kube-system".into(),
        daemon_set: "calico-node".into(),
        version: None,
        encapsulation: None,
        cni_service_account: String::new(),
        cni_config_dir: String::new(),
        cni_bin_dir: String::new(),
        namespaces: vec!["kube-system".into()],
    });
    it.flavour = Known::Known(Flavour::CrdV1);
    it.ip_pools = Listing { coverage: Coverage::All, ..Listing::default() };
    it.ip_pools.items.push(pool("10.213.0.0/16", "Never", ""));
    it
}

fn pool(cidr: &str, vxlan: &str, ipip: &str) -> IpPool {
    let mut pool = IpPool::default();
    pool.spec.cidr = cidr.into();
    pool.spec.vxlan_mode = vxlan.into();
    pool.spec.ipip_mode = ipip.into();
    pool
}

fn with_env(name: &str, value: &str) -> Snapshot {
    let mut cluster = cluster();
    let variable = EnvironmentVariable {
        name: name.into(),
        value: value.into(),
        value_from: value.is_empty().then(EnvironmentSource::default),
    };
    cluster.daemon_sets.items[0].spec.template.spec.containers[0].env.push(variable);
    cluster
}

fn stored(name: &str, spec: FelixSpec) -> FelixConfiguration {
    let mut it = FelixConfiguration { spec, ..FelixConfiguration::default() };
    it.metadata.name = name.into();
    it
}

/// Iptables of the newer kind, as a setting says.
fn nft() -> FelixSpec {
    FelixSpec {
        iptables_backend: Some("NFT".into()),
        nftables_mode: Some("Disabled".into()),
        ..FelixSpec::default()
    }
}

fn around(cluster: &Snapshot, all: Vec<FelixConfiguration>, text: &str) -> Surroundings {
    let felix = FelixSettings::of(cluster, &Known::Known(all), "node2");
    let facts = ResidueFacts::from_scan("node2", text.as_bytes());
    Surroundings::of(cluster, "node2", Scope::OtherMode, &[]).told_by(&felix, cluster, &facts)
}

fn found(cluster: &Snapshot, spec: FelixSpec, text: &str) -> Inventory {
    let around = around(cluster, vec![stored("default", spec)], text);
    take_inventory(&ResidueFacts::from_scan("node2", text.as_bytes()), &around)
}

fn ids(found: &Inventory) -> BTreeSet<String> {
    found.residues.iter().map(|it| it.id.0.clone()).collect()
}

/// Ids that begin so: residues, and things of which nobody could tell.
fn counts(found: &Inventory, start: &str) -> (usize, usize) {
    let undecided = found.undecided.iter().filter(|it| it.id.0.starts_with(start)).count();
    (ids(found).iter().filter(|it| it.starts_with(start)).count(), undecided)
}

#[test]
fn what_is_said_of_a_node_wins_over_what_is_said_of_all_and_the_environment_over_both() {
    let bpf = |on| FelixSpec { bpf_enabled: Some(on), ..FelixSpec::default() };
    let told = |cluster: &Snapshot, all| around(cluster, all, SEEDED).bpf;
    assert_eq!(told(&cluster(), vec![]), Known::Known(false), "that is Felix's own choice");
    assert_eq!(told(&cluster(), vec![stored("default", bpf(true))]), Known::Known(true));
    let own = || vec![stored("default", bpf(true)), stored("node.node2", bpf(false))];
    assert_eq!(told(&cluster(), own()), Known::Known(false));
    let other = vec![stored("default", bpf(false)), stored("node.node1", bpf(true))];
    assert_eq!(told(&cluster(), other), Known::Known(false), "another node's");
    assert_eq!(told(&with_env("FELIX_BPFENABLED", "true"), own()), Known::Known(true));
    assert_eq!(told(&with_env("felix_BpfEnabled", "True"), own()), Known::Known(true));
}

#[test]
fn what_cannot_be_read_decides_nothing() {
    let unknown = |cluster: &Snapshot, all: Vec<FelixConfiguration>| {
        let told = around(cluster, all, SEEDED);
        let found = take_inventory(&ResidueFacts::from_scan("node2", SEEDED.as_bytes()), &told);
        assert!(counts(&found, "pin/").0 == 0 && counts(&found, "chain/").0 == 0, "{told:?}");
        assert!(counts(&found, "pin/").1 == 1, "it is said");
        told.bpf.gap().is_some() && told.backend.gap().is_some()
    };
    let all = || vec![stored("default", nft())];
    assert!(unknown(&with_env("FELIX_BPFENABLED", ""), all()), "it comes from elsewhere");
    assert!(unknown(&with_env("FELIX_BPFENABLED", "maybe"), all()));
    let mut rolling = cluster();
    rolling.daemon_sets.items[0].status.updated_number_scheduled = 1;
    assert!(unknown(&rolling, all()));
    let mut foreign = cluster();
    let container = &mut foreign.daemon_sets.items[0].spec.template.spec.containers[0];
    container.env_from.push(EnvironmentOrigin::default());
    assert!(unknown(&foreign, all()));
    let mut moving = cluster();
    moving.flavour = Known::Known(Flavour::Migrating);
    assert!(unknown(&moving, all()));
    let scoped = FelixSpec {
        node_selector: Some("all()".into()),
        bpf_enabled: Some(true),
        ..FelixSpec::default()
    };
    assert!(unknown(&cluster(), vec![stored("default", nft()), stored("some", scoped)]));
    let felix = FelixSettings::of(&cluster(), &Known::Absent, "node2");
    let facts = ResidueFacts::from_scan("node2", SEEDED.as_bytes());
    let around = Surroundings::of(&cluster(), "node2", Scope::OtherMode, &[]);
    let around = around.told_by(&felix, &cluster(), &facts);
    let without_crds = take_inventory(&facts, &around);
    let backup = "file/etc/cni/net.d/10-canal.conflist.cilium_bak".to_owned();
    assert_eq!(ids(&without_crds), BTreeSet::from([backup]), "nothing that Felix could need");
}

#[test]
fn a_node_that_uses_a_tunnel_keeps_its_device() {
    let links = |cluster: &Snapshot, spec| {
        let found = found(cluster, spec, SEEDED);
        ["link/vxlan.calico", "link/vxlan-v6.calico"].map(|it| ids(&found).contains(it))
    };
    assert_eq!(links(&cluster(), nft()), [true, true]);
    for mode in ["Always", "CrossSubnet", "SomethingNew"] {
        let mut uses = cluster();
        uses.ip_pools.items.push(pool("10.214.0.0/16", mode, ""));
        assert_eq!(links(&uses, nft()), [false, true], "{mode}");
        uses.ip_pools.items.push(pool("fd00:213::/64", mode, ""));
        assert_eq!(links(&uses, nft()), [false, false], "{mode}");
    }
    let wanted = FelixSpec { vxlan_enabled: Some(true), ..nft() };
    assert_eq!(links(&cluster(), wanted), [false, false]);
    // The BPF data plane forwards through it; pools that were not all read may ask for it; none at all is for the moment.
    assert_eq!(links(&cluster(), FelixSpec { bpf_enabled: Some(true), ..nft() }), [false, false]);
    let mut partly = cluster();
    partly.ip_pools.coverage = Coverage::Selected(vec!["x".into()]);
    assert_eq!(links(&partly, nft()), [false, false]);
    let mut none = cluster();
    none.ip_pools.items.clear();
    assert_eq!(links(&none, nft()), [false, false]);
}

#[test]
fn rules_go_that_felix_does_not_program_and_no_others() {
    let seen = found(&cluster(), nft(), SEEDED);
    for (start, some) in [
        ("chain/legacy/v4", true),
        ("rule/legacy/v6", true),
        ("nft-table/ip/calico", true),
        ("pin/sys/fs/bpf/tc", true),
        ("routing-rule/", true),
        ("link/bpfin.cali", true),
        ("chain/nft", false),
        ("rule/nft", false),
        ("ip-set/", false),
        ("pin/sys/fs/bpf/calico/", false),
        ("link/cali", false),
        ("directory/", false),
        ("route/v4/10.213.78", false),
        ("route/v4/10.213.79", false),
    ] {
        assert_eq!(counts(&seen, start).0 > 0, some, "{start}");
    }
    assert_eq!(seen.undecided, []);
    // IPv6 is off: what there is of it is of another time.
    let without = found(&cluster(), FelixSpec { ipv6_support: Some(false), ..nft() }, SEEDED);
    assert!(counts(&without, "chain/nft/v6").0 > 0 && counts(&without, "chain/nft/v4").0 == 0);
    assert!(counts(&without, "ip-set/cali60").0 > 0 && counts(&without, "ip-set/cali40").0 == 0);
    // With nftables, neither implementation of iptables is in use.
    let spec = FelixSpec { nftables_mode: Some("Enabled".into()), ..FelixSpec::default() };
    let seen = found(&cluster(), spec, SEEDED);
    assert!(counts(&seen, "chain/nft").0 > 0 && counts(&seen, "chain/legacy").0 > 0);
    assert!(counts(&seen, "nft-table/").0 == 0 && counts(&seen, "ip-set/").0 > 0);
}

#[test]
fn where_felix_chose_only_what_is_there_can_tell() {
    let open = || FelixSpec { iptables_backend: Some("Auto".into()), ..FelixSpec::default() };
    let seen = found(&cluster(), open(), SEEDED);
    assert_eq!(counts(&seen, "chain/"), (0, 4), "all four are there: nobody can say");
    assert!(counts(&seen, "nft-table/").1 > 0);
    // Rules of one kind alone are the ones in use.
    let only_nft = SEEDED
        .replace("-A FORWARD -m comment --comment \"cali:wUHhoiAYhphO9Mso\" -j cali-FORWARD", "");
    let start = SEEDED.find("@@rules.legacy.v4").unwrap();
    let text =
        format!("{}{}", &SEEDED[..start], &only_nft[only_nft.find("@@rules.legacy.v4").unwrap()..]);
    let disabled = FelixSpec { nftables_mode: Some("Disabled".into()), ..open() };
    let told = around(&cluster(), vec![stored("default", disabled)], &text);
    assert_eq!(told.backend, Known::Known(FelixBackend::Iptables(RulesBackend::Nft)));
    // A setting that nothing on the node bears out: Felix does not do what it is told, or not yet.
    let legacy = FelixSpec { iptables_backend: Some("Legacy".into()), ..nft() };
    let told = around(&cluster(), vec![stored("default", legacy)], &text);
    assert!(told.backend.gap().is_some());
}

#[test]
fn what_only_looks_like_another_modes_stays() {
    for spec in [nft(), FelixSpec::default(), FelixSpec { ipv6_support: Some(false), ..nft() }] {
        assert_eq!(ids(&found(&cluster(), spec, ALIKE)), BTreeSet::new());
    }
}
