//! A node without Calico, what is seeded there, and that all of it is seen in a dump and goes again.
#![cfg(all(unix, feature = "e2e"))]

use tests::story::demand;
use tests::testbed::{Abandoned, Dump, Error, Service, Testbed};

/// Where a dump shows a residue of this name: the section, and words of a line.
fn place(name: &str) -> (&'static str, &str) {
    let (kind, rest) = name.split_once('/').unwrap_or((name, ""));
    let is_v6 = rest.split('/').any(|it| it == "v6");
    let last = rest.rsplit('/').next().unwrap_or(rest);
    let behind = |count: usize| rest.splitn(count + 1, '/').last().unwrap_or(rest);
    let rules = match (rest.starts_with("nft/"), is_v6) {
        (true, false) => "iptables nft",
        (true, true) => "ip6tables nft",
        (false, false) => "iptables legacy",
        (false, true) => "ip6tables legacy",
    };
    match kind {
        "file" | "directory" => ("files", rest),
        "mount" => ("mounts", rest),
        "link" => ("links", rest),
        "route" => {
            let destination = behind(1).split(' ').next().unwrap_or_default();
            (if is_v6 { "routes -6" } else { "routes -4" }, destination)
        }
        "routing-rule" => {
            (if is_v6 { "routing rules -6" } else { "routing rules -4" }, "not from all fwmark")
        }
        "chain" => (rules, last),
        "rule" => (rules, behind(4)),
        "nft-table" => ("nftables", last),
        "ip-set" => ("ipsets", rest),
        "program" => ("programs", "eth0"),
        "pin" => ("pins", rest),
        _ => ("node", rest),
    }
}

#[test]
fn residues_are_seeded_and_seen_and_go() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("residues_are_seeded")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let abandoned = testbed.abandon(&node)?;
    let proxy = testbed.stop_service(&node, Service::KubeProxy)?;
    let clean = Dump::of(&testbed, &node)?;
    let names = abandoned.seed()?;
    let seeded = Dump::of(&testbed, &node)?;
    let new = clean.differences(&seeded);
    println!("{} residues make {} of {} lines", names.len(), new.len(), seeded.len());
    let unseen: Vec<&String> = names
        .iter()
        .filter(|name| {
            let (section, words) = place(name);
            !new.iter().any(|it| it.starts_with(&format!("{section} + ")) && it.contains(words))
        })
        .collect();
    demand(unseen.is_empty(), "every residue is in the dump", &unseen)?;
    abandoned.clear()?;
    all_went(&clean, &Dump::of(&testbed, &node)?)?;
    is_right_after(&testbed, abandoned, proxy)
}

#[test]
fn look_alikes_are_seeded_and_go() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("look_alikes_are_seeded")? else { return Ok(()) };
    let node = testbed.lease_node()?;
    let abandoned = testbed.abandon(&node)?;
    let proxy = testbed.stop_service(&node, Service::KubeProxy)?;
    let clean = Dump::of(&testbed, &node)?;
    let names = abandoned.seed_look_alikes()?;
    let seeded = Dump::of(&testbed, &node)?;
    let again = Dump::of(&testbed, &node)?;
    demand(seeded == again, "two dumps are equal", &seeded.differences(&again))?;
    println!(
        "{} look-alikes make {} of {} lines",
        names.len(),
        clean.differences(&seeded).len(),
        seeded.len()
    );
    abandoned.clear()?;
    all_went(&clean, &Dump::of(&testbed, &node)?)?;
    is_right_after(&testbed, abandoned, proxy)
}

/// What others make as well and keep: directories of libcni, whose results for `lo` come and go with any pod, and the mount that
/// `ip netns` makes once.
const STAYS: [&str; 6] = [
    "files + /var/lib/cni d",
    "files + /var/lib/cni/results d",
    "files + /var/lib/cni/cache d",
    "files + /var/lib/cni/cache/results d",
    "mounts + /netns /run/netns tmpfs",
    "/var/lib/cni/results/cni-loopback-",
];

fn all_went(clean: &Dump, after: &Dump) -> Result<(), Error> {
    let mut differences = clean.differences(after);
    differences.retain(|it| {
        let stays = |what: &&str| {
            if what.starts_with('/') { it.contains(*what) } else { it.starts_with(*what) }
        };
        !STAYS.iter().any(stays)
    });
    demand(differences.is_empty(), "all of it went", &differences)
}

/// The node gets Calico back.
fn is_right_after(
    testbed: &Testbed,
    abandoned: Abandoned<'_>,
    proxy: tests::testbed::Fault,
) -> Result<(), Error> {
    proxy.undo()?;
    let node = abandoned.node().clone();
    abandoned.end()?;
    demand(node.has(tests::testbed::CONFLIST)?, "the conflist is back", &())?;
    testbed.wait_ready()
}
