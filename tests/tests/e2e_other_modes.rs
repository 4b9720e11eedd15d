//! `kubectl calico-purge node`, live, on a node on which Calico lives and where another mode and backend of it left things: they
//! go, all of them, and nothing that the present mode uses.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;
use tests::story::{Doctor, NODE, Plugin, Pods, Ran, demand, nothing_of_ours};
use tests::testbed::{Dump, Error, Service, Testbed};

/// What the mode of now uses, as the settings of this test say: iptables-nft, IPv4, and Felix's own programs at the driver.
const PRESENT: [&str; 17] = [
    "ip-set/cali40all-ipam-pools",
    "ip-set/cali40masq-ipam-pools",
    "ip-set/cali40all-vxlan-net",
    "ip-set/cali40this-host",
    "ip-set/cali40s:kVMQoXy0mAhGrXuFMXcCqZP",
    "ip-set/cali40ports-ipportset",
    "ip-set/cali4t0",
    "ip-set/felix-4-s-0123456789abcdef",
    "ip-set/felix-masq-ipam-pools",
    "ip-set/felix-all-ipam-pools",
    "rules/felix.rules/nft/v4/filter",
    "rules/felix.rules/nft/v4/nat",
    "rules/felix.rules/nft/v4/mangle",
    "rules/felix.rules/nft/v4/raw",
    "pin/sys/fs/bpf/calico/xdp/prefilter_v1_calico_tmp_A",
    "pin/sys/fs/bpf/xdp_cali_f5078e6c6e",
    "program/eth0/xdp",
];

/// What was left: by nftables, iptables-legacy, IPv6, the BPF data plane, VXLAN for IPv6, WireGuard.
const LEFT: [&str; 34] = [
    "link/vxlan-v6.calico",
    "link/bpfin.cali",
    "route/v6/fd00:76::/122",
    "route/v6/fd00:78::/122",
    "routing-rule/v4/99",
    "routing-rule/v6/99",
    "ip-set/cali60all-ipam-pools",
    "ip-set/cali60masq-ipam-pools",
    "ip-set/cali60s:kVMQoXy0mAhGrXuFMXcCqZP",
    "ip-set/felix-6-s-0123456789abcdef",
    "rules/felix.rules/nft/v6/filter",
    "rules/felix.rules/nft/v6/nat",
    "rules/felix.rules/nft/v6/mangle",
    "rules/felix.rules/nft/v6/raw",
    "rules/felix.rules/legacy/v4/filter",
    "rules/felix.rules/legacy/v4/nat",
    "rules/felix.rules/legacy/v4/mangle",
    "rules/felix.rules/legacy/v4/raw",
    "rules/felix.rules/legacy/v6/filter",
    "rules/felix.rules/legacy/v6/nat",
    "rules/felix.rules/legacy/v6/mangle",
    "rules/felix.rules/legacy/v6/raw",
    "nft-table/ip/calico",
    "nft-table/ip6/calico",
    "nft-table/arp/calico-arp",
    "nft-table/ip/calico-flowtable-probe",
    "pin/sys/fs/bpf/tc/globals/cali_v4_routes",
    "pin/sys/fs/bpf/tc/globals/cali_state3",
    "pin/sys/fs/bpf/tc/globals/cali_v6_nat_fe3",
    "pin/sys/fs/bpf/ctlb/calico_connect_v4",
    "pin/sys/fs/bpf/calico_sendmsg_v4",
    "pin/sys/fs/bpf/tc/0123456789abcdef0123456789abcdef01234567",
    "pin/sys/fs/bpf/tc/cali3f5078e6c6e_igr",
    "program/eth0/tc",
];

/// Directories that others use as well stay, and so does what the seeding made for them.
const STAYS: [&str; 2] = ["pins + /sys/fs/bpf/tc d", "pins + /sys/fs/bpf/tc/globals d"];

/// FelixConfiguration `default` says what Felix uses, for as long as this lives.
struct Settings<'a>(&'a Testbed);

impl<'a> Settings<'a> {
    fn make(testbed: &'a Testbed) -> Result<Self, Error> {
        let made = Self(testbed);
        made.patch(r#"{"spec":{"iptablesBackend":"NFT","nftablesMode":"Disabled"}}"#)?;
        Ok(made)
    }

    fn patch(&self, patch: &str) -> Result<(), Error> {
        let felix = ["patch", "felixconfigurations.crd.projectcalico.org", "default"];
        self.0.kubectl(&[&felix[..], &["--type=merge", "-p", patch]].concat()).map(drop)
    }
}

impl Drop for Settings<'_> {
    fn drop(&mut self) {
        drop(self.patch(r#"{"spec":{"iptablesBackend":null,"nftablesMode":null}}"#));
    }
}

/// Nothing is there that was not there before, and nothing is missing.
fn is_as(before: &Dump, now: &Dump) -> Result<(), Error> {
    let mut differences = before.differences(now);
    differences.retain(|it| !STAYS.iter().any(|stays| it.starts_with(stays)));
    demand(differences.is_empty(), "the host is as before", &differences)
}

fn document(ran: &Ran) -> Result<Value, Error> {
    serde_json::from_str(&ran.stdout).map_err(|error| Error::Odd {
        what: format!("purge's document: {}{}", ran.stdout, ran.stderr),
        why: error.to_string(),
    })
}

/// What the steps of the plan resolve, each with its step after one that saves it.
fn removed(document: &Value) -> Result<BTreeSet<String>, Error> {
    let steps = document["plan"]["steps"].as_array().cloned().unwrap_or_default();
    let first = steps.first().map(|it| it["id"].as_str().unwrap_or_default().to_owned());
    let is_saved = first.is_some_and(|id| id.starts_with("back-up/"));
    demand(is_saved, "what is there is saved first", &steps)?;
    let resolved = steps.iter().filter_map(|step| step["resolves"].as_array().cloned());
    let ids = resolved.flatten().filter_map(|id| id.as_str().map(ToOwned::to_owned));
    Ok(ids.collect())
}

fn by_kind(names: &BTreeSet<String>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.split('/').next().unwrap_or(name)).or_default() += 1;
    }
    counts
}

#[test]
fn what_another_mode_left_goes_and_the_present_one_is_untouched() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("other modes")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?;
    testbed.repair_node(node)?;
    let (purge, doctor) = (Plugin::purge(&testbed)?, Doctor::new(&testbed)?);
    let _settings = Settings::make(&testbed)?;
    // It would write its rules anew every 30 s, and dumps would differ.
    let proxy = testbed.stop_service(node, Service::KubeProxy)?;
    let beside = testbed.beside(node)?;
    beside.seed(&PRESENT)?;
    let before = Dump::of(&testbed, node)?;
    let ran = purge.run(&["node", NODE, "--yes"])?;
    let is_well = ran.code == 0 && ran.stdout.contains("There is nothing stale.");
    demand(is_well, "what is in use is not stale", &ran)?;
    is_as(&before, &Dump::of(&testbed, node)?)?;

    let names: BTreeSet<String> = beside.seed(&LEFT)?.into_iter().collect();
    let seeded = Dump::of(&testbed, node)?;
    let ran = purge.run(&["node", NODE, "--dry-run"])?;
    let is_told = ran.stdout.contains("another mode or backend");
    demand(ran.code == 0 && is_told, "a dry run says what it does not look for", &ran)?;
    // Control: without the scan, everything stays, and the demand fails.
    let ran = doctor.run(&["fix", "--yes"])?;
    demand(ran.code == 0, "fix has nothing to do", &ran)?;
    let now = Dump::of(&testbed, node)?;
    demand(
        is_as(&before, &now).is_err() && now == seeded,
        "without the scan all of it stays",
        &(),
    )?;

    let began = Instant::now();
    let ran = purge.run(&["node", NODE, "--yes", "-o", "json"])?;
    demand(ran.code == 0, "purge node exits 0", &ran)?;
    let took = began.elapsed().as_secs();
    let removed = removed(&document(&ran)?)?;
    let missed: Vec<&String> = names.difference(&removed).collect();
    let besides: Vec<&String> = removed.difference(&names).collect();
    demand(names == removed, "what was left is what was removed", &(missed, besides))?;
    is_as(&before, &Dump::of(&testbed, node)?)?;
    println!("{} things of other modes gone after {took} s: {:?}", names.len(), by_kind(&names));
    demand(node.has("/sys/class/net/vxlan.calico")?, "the pool uses VXLAN: its device stays", &())?;

    let ran = purge.run(&["node", NODE, "--yes"])?;
    let is_well = ran.code == 0 && ran.stdout.contains("There is nothing stale.");
    demand(is_well, "a second run finds nothing", &ran)?;
    is_as(&before, &Dump::of(&testbed, node)?)?;
    nothing_of_ours(&testbed)?;
    beside.end()?;
    proxy.undo()?;
    let pods = Pods::new(&testbed, "other-modes")?;
    pods.create("comer", NODE)?;
    pods.wait_running(&["comer"])
}
