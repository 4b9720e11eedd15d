//! Tests of reading CNI configurations, through a probe's text.

use proptest::prelude::*;

use super::*;
use crate::snapshot::HostFacts;

const CALICO: &str = r#"{"name":"k8s-pod-network","cniVersion":"0.3.1","plugins":[
  {"type":"calico","datastore_type":"kubernetes","nodename":"w1","mtu":0,"ipam":{"type":"calico-ipam"},
   "policy":{"type":"k8s"},"kubernetes":{"kubeconfig":"/etc/cni/net.d/calico-kubeconfig"}},
  {"type":"portmap","snat":true},{"type":"bandwidth"}]}"#;

/// A probe's text with a listing of these files and their contents.
fn probe(files: &[(&str, &str)]) -> String {
    let mut text = "@@ls-cni-net.d rc=0 ms=1\n".to_owned();
    for (name, _) in files {
        text.push_str(&format!("-rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 {name}\n"));
    }
    text.push_str("@@end\n");
    for (name, content) in files {
        text.push_str(&format!("@@{} rc=0 ms=1\n{content}\n@@end\n", section_id(name)));
    }
    text
}

fn conflists(text: &str) -> Vec<NetworkConfiguration> {
    let facts = HostFacts::from_probe("w1", text.as_bytes()).0;
    facts.conflists.known().unwrap().clone()
}

fn only(name: &str, content: &str) -> NetworkConfiguration {
    let mut all = conflists(&probe(&[(name, content)]));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn calicos_own_is_read() {
    let read = only("10-calico.conflist", CALICO);
    assert_eq!(read.problem, None);
    assert_eq!(read.network.as_deref(), Some("k8s-pod-network"));
    assert_eq!(read.cni_version.as_deref(), Some("0.3.1"));
    assert_eq!(read.plugins, ["calico", "portmap", "bandwidth"]);
    let text = |text: &str| Some(text.to_owned());
    let expected = CalicoPlugin {
        nodename: text("w1"),
        kubeconfig: text("/etc/cni/net.d/calico-kubeconfig"),
        ipam: text("calico-ipam"),
        datastore: text("kubernetes"),
        mtu: Some(0),
        api_group: None,
        policy: text("k8s"),
    };
    assert_eq!(read.calico, Some(expected));
    assert!(read.is_calico() && !read.is_own() && read.placeholders.is_empty());
    assert!(read.sha256.gap().is_some(), "the probe held no sums");
}

#[test]
fn the_order_is_that_of_bytes() {
    let names = [
        "99-loopback.conf",
        "10-flannel.conflist",
        "10-calico.conflist",
        "100-crio-bridge.conf",
        "00-multus.json",
        "calico-kubeconfig",
        "05-x.conflist.bak",
        "10-calico.conflist.kubectl-calico-01J.bak",
    ];
    let read = conflists(&probe(&names.map(|name| (name, "{}"))));
    assert_eq!(
        read.iter().map(|it| it.file.as_str()).collect::<Vec<_>>(),
        [
            "00-multus.json",
            "10-calico.conflist",
            "10-flannel.conflist",
            "100-crio-bridge.conf",
            "99-loopback.conf"
        ]
    );
}

#[test]
fn what_is_of_no_use_is_told_apart() {
    let problem = |name: &str, content: &str| only(name, content).problem;
    assert_eq!(problem("a.conf", " \n"), Some(ConfigurationProblem::Empty));
    assert!(matches!(
        problem("a.conflist", &CALICO[..200]),
        Some(ConfigurationProblem::NotJson(_))
    ));
    for (name, content) in [
        ("a.conflist", "{}"),
        ("a.conflist", r#"{"plugins":[]}"#),
        ("a.conflist", r#"{"plugins":[{"type":"calico"},{"typ":"x"}]}"#),
        ("a.conflist", r#"{"type":"calico"}"#),
        ("a.conf", CALICO),
        ("a.json", "7"),
    ] {
        assert_eq!(problem(name, content), Some(ConfigurationProblem::NoPlugin), "{content}");
    }
    assert_eq!(problem("a.conf", r#"{"type":"calico"}"#), None);
}

#[test]
fn what_was_not_read_is_not_called_broken() {
    let listing = "@@ls-cni-net.d rc=0 ms=1\n-rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 10-calico.conflist\n@@end\n";
    for section in [
        "",
        "@@conf-10-calico.conflist rc=27 ms=1\nthe file is larger than 262144 bytes\n@@end\n",
        "@@conf-10-calico.conflist rc=1 ms=1\ncat: x: Permission denied\n@@end\n",
        "@@conf-10-calico.conflist rc=1 ms=1\ncat: x: No such file or directory\n@@end\n",
        "@@conf-10-calico.conflist rc=0 ms=1\n{\"na",
    ] {
        let read = conflists(&format!("{listing}{section}")).remove(0);
        assert!(matches!(read.problem, Some(ConfigurationProblem::NotRead(_))), "{section}");
        assert!(!read.is_read() && read.is_calico(), "{section}");
    }
    let facts = |text: &str| HostFacts::from_probe("w1", text.as_bytes()).0.conflists;
    assert!(facts("").gap().is_some());
    let gone = "@@ls-cni-net.d rc=2 ms=1\nls: /etc/cni/net.d: No such file or directory\n@@end\n";
    assert_eq!(facts(gone), Known::Absent);
}

#[test]
fn leftover_placeholders_are_seen_even_where_they_break_the_file() {
    let read = only(
        "10-calico.conflist",
        r#"{"name":"n","plugins":[{"type":"calico","mtu":__CNI_MTU__,"nodename":"__KUBERNETES_NODE_NAME__","x":"__CNI_MTU__","y":"__proto__"}]}"#,
    );
    assert!(matches!(read.problem, Some(ConfigurationProblem::NotJson(_))));
    assert_eq!(read.placeholders, ["__CNI_MTU__", "__KUBERNETES_NODE_NAME__"]);
    assert!(read.is_calico(), "by its name");
}

#[test]
fn delegates_are_named_as_they_are_written() {
    let thick = r#"{"name":"multus-cni-network","type":"multus-shim","clusterNetwork":"/host/etc/cni/net.d/10-calico.conflist"}"#;
    assert_eq!(only("00-multus.conf", thick).delegates, ["/host/etc/cni/net.d/10-calico.conflist"]);
    let thin = format!(r#"{{"name":"m","type":"multus","delegates":[{CALICO}]}}"#);
    let thin = only("00-multus.conf", &thin);
    assert_eq!(thin.delegates, ["calico", "portmap", "bandwidth", "k8s-pod-network"]);
    assert!(!thin.is_calico());
}

#[test]
fn sums_are_those_of_their_files() {
    let sum = "AB".repeat(32);
    let files = [("10-calico.conflist", CALICO), ("a b.conf", "{}"), ("c.conf", "{}")];
    let sums = format!(
        "@@sha256-cni-net.d rc=1 ms=1\n{sum}  /etc/cni/net.d/10-calico.conflist\n{sum} */host/etc/a b.conf\n\
         \\{sum}  /x/c\\nd.conf\nsha256sum: /x/c.conf: Permission denied\n@@end\n"
    );
    let read = |sums: String| conflists(&format!("{}{sums}", probe(&files)));
    // A sum that could not be made spoils the exit code, not the other sums.
    let lower = Known::Known(sum.to_lowercase());
    let found = read(sums.clone());
    assert_eq!((&found[0].sha256, &found[1].sha256), (&lower, &lower));
    assert!(found[2].sha256.gap().is_some());
    assert!(read(String::new()).iter().all(|it| it.sha256.gap().is_some()));
}

#[test]
fn names_that_look_alike_in_the_probe_are_not_mixed_up() {
    let text = probe(&[("a b.conf", CALICO), ("a_b.conf", "{}"), ("c.conf", "")]);
    let read = conflists(&text);
    assert!(!read[0].is_read() && !read[1].is_read() && read[2].is_read());
}

proptest! {
    #[test]
    fn any_content_is_accepted(content in ".{0,200}", name in "[a-z .@]{0,9}\\.(conf|conflist|json)") {
        drop(HostFacts::from_probe("w1", probe(&[(&name, &content)]).as_bytes()));
    }
}
