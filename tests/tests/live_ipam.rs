//! The story that `kubectl calico-ipam` exists for, on a real Kubernetes: who has which address, and what nobody uses any more.
//! What Calico's allocator would have written is written by the test; API server, pods and their addresses are real.

#![cfg(unix)]

use std::net::Ipv4Addr;

use serde_json::Value;
use tests::story::{Addresses, Owner, Plugin, Pods, demand};
use tests::testbed::{Error, Testbed};

/// Kind of pools.
const POOLS: &str = "ippools.crd.projectcalico.org";
/// Sandbox ids of the owners.
const SANDBOXES: [char; 2] = ['a', 'b'];

#[test]
fn every_address_is_accounted_for() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("live ipam story")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let pods = Pods::new(&testbed, "addresses")?;
    pods.create("lives", "node1")?;
    pods.wait_running(&["lives"])?;
    let address = pods.kubectl(&["get", "pod", "lives", "-o", "jsonpath={.status.podIP}"])?;
    let cidr = testbed.field(&["node", "node1"], "{.spec.podCIDR}")?;
    let ordinal = ordinal(&cidr, &address)?;
    let [lives, gone] = SANDBOXES.map(|it| it.to_string().repeat(64));
    // A free place that is not the first one, which is the tunnel's.
    let other = if ordinal == 200 { 201 } else { 200 };
    let mut seeded = Addresses::new(&testbed);
    seeded.block(
        &cidr,
        "node1",
        &[
            Owner::pod(ordinal, "node1", "addresses", "lives", &lives),
            Owner::pod(other, "node1", "addresses", "gone", &gone),
        ],
    )?;
    let before = seeded.versions()?;
    let ipam = Plugin::ipam(&testbed)?;
    let shown = document(&ipam, &["show", "--blocks", "-o", "json"], 0)?;
    demand(shown["pools"][0]["used"] == 2, "both addresses are counted", &shown["pools"])?;
    demand(shown["blocks"][0]["cidr"] == *cidr, "in their block", &shown["blocks"])?;
    let table = ipam.run(&["show", "--compat", "calicoctl"])?;
    let pool = testbed.field(&[POOLS, "default-ipv4-ippool"], "{.spec.cidr}")?;
    let line = format!("| IP Pool  | {pool} |     65536 | 2 (0%)     | 65534 (100%) |");
    demand(table.stdout.lines().any(|it| it == line), "calicoctl's table", &table)?;

    let leaked = replaced(&cidr, other)?;
    let asked = ["ip", address.as_str(), leaked.as_str(), "-o", "json"];
    let found = document(&ipam, &asked, 0)?;
    let judged = |found: &Value, place: usize| found["addresses"][place]["judgement"].clone();
    demand(judged(&found, 0) == "used", "the pod's address is its own", &found)?;
    demand(judged(&found, 1) == "leaked", "the other one is nobody's", &found)?;
    demand(
        found["addresses"][0]["users"][0]["name"] == "addresses/lives",
        "who shows it",
        &found["addresses"][0],
    )?;
    let why = document(&ipam, &["why", "node/node1", "-o", "json"], 0)?;
    demand(why["answers"][0]["way"] == "own-block", "there is room on the node", &why)?;
    ranges(&ipam, &cidr)?;
    demand(seeded.versions()? == before, "reading changes nothing and creates nothing", &before)?;

    // Control: the same question once the pod is gone. What made its address used was the pod, and nothing else.
    pods.kubectl(&["delete", "pod", "lives", "--grace-period=1", "--timeout=120s"])?;
    let found = document(&ipam, &asked, 0)?;
    demand(judged(&found, 0) == "leaked", "without its pod it is leaked as well", &found)
}

/// The testbed's ranges are apart; one that is named and is not, is found.
fn ranges(ipam: &Plugin, inside: &str) -> Result<(), Error> {
    let apart = document(ipam, &["overlap", "-o", "json"], 0)?;
    demand(apart["overlaps"].as_array().is_some_and(Vec::is_empty), "ranges are apart", &apart)?;
    let also = ["overlap", "--also", inside, "-o", "json"];
    let found = document(ipam, &also, 3)?;
    demand(found["overlaps"][0]["type"] == "given", "a range inside the pool", &found)
}

/// What it printed, having ended with `code`.
fn document(ipam: &Plugin, words: &[&str], code: i32) -> Result<Value, Error> {
    let ran = ipam.run(words)?;
    demand(ran.code == code, "the exit code", &ran)?;
    serde_json::from_str(&ran.stdout).map_err(|error| Error::Odd {
        what: format!("the document of {words:?}"),
        why: error.to_string(),
    })
}

fn first(cidr: &str) -> Result<u32, Error> {
    number(cidr.split('/').next().unwrap_or_default())
}

fn number(address: &str) -> Result<u32, Error> {
    address
        .parse::<Ipv4Addr>()
        .map(u32::from)
        .map_err(|error| Error::Odd { what: format!("address {address}"), why: error.to_string() })
}

fn ordinal(cidr: &str, address: &str) -> Result<usize, Error> {
    let ordinal = number(address)?.saturating_sub(first(cidr)?);
    Ok(usize::try_from(ordinal).unwrap_or(usize::MAX))
}

fn replaced(cidr: &str, ordinal: usize) -> Result<String, Error> {
    let ordinal = u32::try_from(ordinal).unwrap_or_default();
    Ok(Ipv4Addr::from(first(cidr)?.saturating_add(ordinal)).to_string())
}
