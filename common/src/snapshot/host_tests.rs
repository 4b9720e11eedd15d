//! Facts of hosts.

use super::host::{HostFacts, Vantage};
use super::{GapReason, Known};

fn facts(text: &str) -> HostFacts {
    HostFacts::from_probe("w1", text.as_bytes()).0
}

const LISTING: &str = "@@ls-cni-net.d rc=0 ms=1\n-rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 10-calico.conflist\n@@end\n";
const NO_BIN: &str =
    "@@ls-cni-bin rc=2 ms=1\nls: cannot access '/opt/cni/bin': No such file or directory\n@@end\n";
const NO_CONFIG: &str = "@@calico-kubeconfig rc=1 ms=1\ncat: x: No such file or directory\n@@end\n";

#[test]
fn absent_is_what_the_host_does_not_have() {
    let facts = facts(&format!("{LISTING}{NO_BIN}{NO_CONFIG}"));
    assert_eq!(facts.vantage, Vantage::Host);
    assert_eq!(facts.cni_kubeconfig, Known::Absent);
    assert_eq!(facts.binary("calico"), Known::Absent);
    assert!(facts.conflist().known().is_some());
}

#[test]
fn calico_node_does_not_see_the_plugins() {
    let from_pod = "@@vantage rc=0 ms=0\ncalico-node\n@@end\n";
    let facts_with = facts(&format!("{from_pod}{LISTING}{NO_BIN}{NO_CONFIG}"));
    assert_eq!(facts_with.binary("calico").gap().map(|gap| &gap.why), Some(&GapReason::NotAsked));
    assert_eq!(facts_with.cni_kubeconfig, Known::Absent);
    let unmounted = facts(&format!("{from_pod}{NO_CONFIG}"));
    assert!(unmounted.cni_kubeconfig.gap().is_some(), "net.d may not be mounted");
}

#[test]
fn what_failed_otherwise_is_unknown() {
    let why = |text: &str| facts(text).cni_kubeconfig.gap().map(|gap| gap.why.clone());
    assert_eq!(why(""), Some(GapReason::NotAsked));
    assert_eq!(
        why("@@calico-kubeconfig rc=1 ms=1\ncat: x: Permission denied\n@@end\n"),
        Some(GapReason::Forbidden)
    );
    assert_eq!(why("@@calico-kubeconfig rc=124 ms=1\n@@end\n"), Some(GapReason::TimedOut));
    assert_eq!(why("@@calico-kubeconfig rc=0 ms=1\nclusters: ["), Some(GapReason::Undecodable));
    assert_eq!(
        why("@@calico-kubeconfig rc=0 ms=1\nclusters: [\n@@end\n"),
        Some(GapReason::Undecodable)
    );
}

#[test]
fn of_a_text_that_was_cut_nobody_knows_the_rest() {
    for cut in ["@@ip-link rc=0 ms=1\n[{", "@@ip-li"] {
        let facts = facts(&format!("{LISTING}{cut}"));
        assert!(facts.conflist().known().is_some(), "what came before is known");
        for gap in [facts.sandboxes.gap(), facts.links.gap(), facts.felix.gap()] {
            let gap = gap.unwrap();
            assert_eq!(gap.why, GapReason::Undecodable, "{cut}: {gap:?}");
        }
    }
    let whole = facts(LISTING);
    assert_eq!(whole.sandboxes.gap().map(|gap| &gap.why), Some(&GapReason::NotAsked));
}

#[test]
fn felix_speaks_for_itself() {
    let health = |text: &str| facts(text).felix;
    let good = health("@@felix.readiness rc=0 ms=1\n@@end\n@@felix.liveness rc=0 ms=1\n@@end\n");
    assert_eq!(good.known().unwrap().ready, Known::Known(true));
    let bad = health("@@felix.readiness rc=1 ms=1\nnot ready: 503\n@@end\n");
    let bad = bad.known().unwrap();
    assert_eq!((&bad.ready, bad.says.as_str()), (&Known::Known(false), "not ready: 503"));
    assert!(bad.live.gap().is_some());
    assert!(health("@@felix.readiness rc=127 ms=1\n@@end\n").gap().is_some());
    assert!(health("").gap().is_some());
}

#[test]
fn a_signature_is_not_kept() {
    let text = "@@calico-kubeconfig rc=0 ms=1\nusers:\n- user:\n    token: eyJhIjoxfQ.eyJhIjoxfQ.c2lnbmF0dXJl\n@@end\n";
    let facts = facts(text);
    assert!(facts.cni_token().known().is_some());
    assert!(!format!("{facts:?}").contains("c2lnbmF0dXJl"));
}

const BOTH: &str = "@@vantage rc=0 ms=0\ncalico-node\nhost\n@@end\n";

#[test]
fn two_probes_in_one_see_what_either_sees() {
    let it = facts(&format!("{BOTH}{LISTING}{NO_BIN}{NO_CONFIG}"));
    assert_eq!(it.vantage, Vantage::Both);
    assert_eq!(it.binary("calico"), Known::Absent, "the host's part listed it");
    assert_eq!(it.cni_kubeconfig, Known::Absent);
    let unmounted = facts(&format!("{BOTH}{NO_CONFIG}"));
    assert!(unmounted.cni_kubeconfig.gap().is_some(), "net.d may not be mounted");
}

#[test]
fn services_answer_or_do_not() {
    let unit = "@@unit-kubelet rc=0 ms=1\nId=kubelet.service\nLoadState=loaded\nActiveState=failed\n@@end\n";
    let it = facts(unit);
    assert!(!it.kubelet.known().unwrap().is_running());
    assert!(it.container_runtime.gap().is_some());
    let healthy = |text: &str| facts(text).kubelet_healthy;
    assert_eq!(healthy("@@kubelet-healthz rc=0 ms=1\nok\n@@end\n"), Known::Known(true));
    assert_eq!(
        healthy("@@kubelet-healthz rc=7 ms=1\ncurl: (7) Failed\n@@end\n"),
        Known::Known(false)
    );
    let why = |text: &str| healthy(text).gap().map(|gap| gap.why.clone());
    assert_eq!(why("@@kubelet-healthz rc=127 ms=1\nno curl\n@@end\n"), Some(GapReason::NotAsked));
    assert_eq!(why("@@kubelet-healthz rc=124 ms=1\n@@end\n"), Some(GapReason::TimedOut));
}

#[test]
fn a_host_shows_its_part_of_the_control_plane() {
    let worker = facts(
        "@@ls-manifests rc=2 ms=1\nls: cannot access 'x': No such file or directory\n@@end\n\
         @@control-plane-processes rc=0 ms=1\n@@end\n@@swap rc=0 ms=1\nFilename\n@@end\n",
    );
    let part = worker.control_plane.known().unwrap();
    assert!(!part.is_member() && part.has_manifest("etcd") == Some(false));
    assert_eq!(worker.swap, Known::Known(false));
    let manifests = "-rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 etcd.yaml\n\
                     -rw------- 1 0 0 9 2026-11-21 12:03:47.6 +0000 kube-apiserver.yaml.old\n";
    let master = facts(&format!("@@ls-manifests rc=0 ms=1\n{manifests}@@end\n"));
    let part = master.control_plane.known().unwrap();
    assert!(part.is_member() && part.has_manifest("etcd") == Some(true));
    assert_eq!(part.has_manifest("kube-apiserver"), Some(false));
    assert!(part.processes.gap().is_some());
    assert!(facts("").control_plane.gap().is_some());
}
