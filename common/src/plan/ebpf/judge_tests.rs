//! Triggers and look-alikes of what is demanded of kube-proxy's rules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;

use super::super::named;
use crate::bpf::BpfFacts;
use crate::plan::{Condition, Observed, Verdict, judge};
use crate::snapshot::{Gap, GapReason, Known};

const THERE: &str =
    "@@rules.nft.v4 rc=0 ms=1\n:KUBE-SERVICES - [0:0]\n@@end\n@@rules.legacy.v4 rc=0 ms=1\n@@end\n";
/// What Felix leaves, of kube-proxy and of the kubelet; IPv6, which may not be Felix's; and there is no program `nft`.
const GONE: &str = "@@rules.nft.v4 rc=0 ms=1\n:KUBE-POSTROUTING - [0:0]\n:KUBE-EXT-A - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n@@end\n\
    @@rules.legacy.v4 rc=0 ms=1\n@@end\n@@rules.nft.v6 rc=0 ms=1\n:KUBE-SERVICES - [0:0]\n@@end\n\
    @@nft-kube-proxy rc=127 ms=1\nthere is no nft here\n@@end\n";
const HALF: &str = "@@rules.nft.v4 rc=0 ms=1\n@@end\n@@rules.legacy.v4 rc=4 ms=1\nbusy\n@@end\n";

/// Two nodes that show this, of three that calico-node is wanted on or of two.
fn seen(texts: [&str; 2], wanted: u8) -> Observed {
    let of = |(node, text): (&str, &str)| {
        (node.to_owned(), Known::Known(BpfFacts::from_scan(node, text.as_bytes())))
    };
    Observed {
        object: Known::Known(json!({ "status": { "desiredNumberScheduled": wanted } })),
        data_planes: Known::Known(["n1", "n2"].into_iter().zip(texts).map(of).collect()),
        ..Observed::nothing(Timestamp::UNIX_EPOCH)
    }
}

fn gone(except: &[&str]) -> Condition {
    let agent = named("apps", "v1", "daemonsets", "kube-system", "calico-node");
    Condition::KubeProxyRulesGone { agent, except: set(except) }
}

fn kept(nodes: &[&str]) -> Condition {
    let agent = named("apps", "v1", "daemonsets", "kube-system", "calico-node");
    Condition::KubeProxyRulesKept { agent, nodes: set(nodes) }
}

fn set(nodes: &[&str]) -> BTreeSet<String> {
    nodes.iter().map(|it| (*it).to_owned()).collect()
}

fn not_yet(condition: &Condition, seen: &Observed, part: &str) {
    let verdict = judge(condition, seen);
    assert!(matches!(&verdict, Verdict::NotYet(why) if why.contains(part)), "{verdict:?}");
}

#[test]
fn rules_are_gone_when_every_node_shows_so() {
    assert_eq!(judge(&gone(&[]), &seen([GONE, GONE], 2)), Verdict::Met);
    not_yet(&gone(&[]), &seen([GONE, THERE], 2), "n2: Felix has not removed kube-proxy's rules");
    not_yet(&gone(&[]), &seen([THERE, GONE], 2), "chain KUBE-SERVICES is in iptables-nft");
    assert_eq!(judge(&gone(&["n2"]), &seen([GONE, THERE], 2)), Verdict::Met);
    not_yet(&gone(&["n1"]), &seen([GONE, THERE], 2), "n2: ");
}

#[test]
fn what_could_not_be_seen_is_not_gone() {
    not_yet(&gone(&[]), &seen([GONE, HALF], 2), "n2: nodes/n2/bpf.txt#rules.legacy.v4 could not");
    not_yet(
        &gone(&[]),
        &seen([GONE, ""], 2),
        "n2: nodes/n2/bpf.txt#rules.nft.v4 could not be read",
    );
    not_yet(&gone(&[]), &seen([GONE, GONE], 3), "calico-node runs on 2 of 3 nodes");
    let mut unseen = seen([GONE, GONE], 2);
    let gap = Gap::new("nodes/n1/bpf.txt", GapReason::Unreachable, "no route");
    unseen.data_planes = Known::Known(BTreeMap::from([("n1".to_owned(), Known::Unknown(gap))]));
    not_yet(&gone(&[]), &unseen, "n1: nodes/n1/bpf.txt could not be read");
    unseen.data_planes = Known::Absent;
    not_yet(&gone(&[]), &unseen, "no node was looked at");
}

#[test]
fn rules_are_kept_unless_they_are_seen_to_be_gone_where_they_were() {
    assert_eq!(judge(&kept(&["n1", "n2"]), &seen([THERE, THERE], 2)), Verdict::Met);
    assert_eq!(judge(&kept(&["n1", "n2"]), &seen([THERE, HALF], 2)), Verdict::Met);
    assert_eq!(judge(&kept(&["n1"]), &seen([THERE, GONE], 2)), Verdict::Met);
    not_yet(&kept(&["n1", "n2"]), &seen([THERE, GONE], 2), "n2: the rules that kube-proxy had");
}
