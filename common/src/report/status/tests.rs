//! The status of small clusters.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::TextOptions;
use super::*;
use crate::snapshot::{
    Extent, Gap, GapReason, Provenance, Record, RecordKey, Resource, Sink as _, Snapshot,
    SnapshotBuilder,
};

/// A cluster in the making: nodes n1 and n2 in VXLAN, healthy but for what a test changes.
struct Cluster {
    pods: Vec<Value>,
    pool: Value,
    probes: Vec<(&'static str, String)>,
    backend: &'static str,
    keys: bool,
}

const UID: &str = "30ab0063-738b-4f84-9cf8-e7f5d467ec00";
const NOW: &str = "2026-11-21T12:00:00Z";

fn pod(node: &str) -> Value {
    json!({
        "metadata": { "name": format!("calico-node-{node}"), "namespace": "kube-system", "uid": node,
            "labels": { "k8s-app": "calico-node" }, "creationTimestamp": "2026-11-18T12:00:00Z" },
        "spec": { "nodeName": node, "hostNetwork": true,
            "containers": [{ "name": "calico-node", "image": "docker.io/calico/node:v3.28.4" }] },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
            "containerStatuses": [{ "name": "calico-node", "ready": true, "restartCount": 0, "state": { "running": {} } }] },
    })
}

fn section(id: &str, rc: i32, text: &str) -> String {
    format!(
        "@@{id} rc={rc} ms=1\n{}@@end\n",
        if text.is_empty() { String::new() } else { format!("{text}\n") }
    )
}

/// A probe of a healthy node.
fn probe(backend: &str) -> String {
    let token = json!({ "header": { "kid": "key" }, "claims": {
        "iat": 1_795_251_600, "exp": 1_795_338_000, "sub": "system:serviceaccount:kube-system:calico-cni-plugin",
        "kubernetes.io": { "namespace": "kube-system", "serviceaccount": { "name": "calico-cni-plugin", "uid": UID } } } });
    let ca = common_ca_hash();
    let kubeconfig = format!(
        "clusters:\n- name: local\n  cluster:\n    server: https://10.96.0.1:443\n    certificate-authority-data: sha256:{ca}\nusers:\n- name: calico\n  user:\n    token: {token}"
    );
    [
        section("vantage", 0, "calico-node"),
        section("time", 0, NOW),
        section("calico-kubeconfig", 0, &kubeconfig),
        section("felix.readiness", 0, ""),
        section("felix.liveness", 0, ""),
        section("networking-backend", 0, backend),
        section("boot", 0, "f697c22c-43d3-49f7-95d2-01eca7f5ffe4\n86400.50 6046.13"),
        section("ip-link", 0, r#"[{"ifname":"vxlan.calico","ifindex":3,"flags":["UP","LOWER_UP"],"mtu":1450,"linkinfo":{"info_kind":"vxlan","info_data":{"id":4096,"port":4789}}}]"#),
        section("ip-route", 0, r#"[{"dst":"10.0.1.0/26","gateway":"10.0.1.0","dev":"vxlan.calico"},{"type":"blackhole","dst":"10.0.0.0/26","protocol":"80"}]"#),
    ]
    .concat()
}

const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn common_ca_hash() -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(CA).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Cluster {
    fn new() -> Self {
        Self {
            pods: vec![pod("n1"), pod("n2")],
            pool: json!({ "metadata": { "name": "default" }, "spec": { "cidr": "10.0.0.0/16", "vxlanMode": "Always" } }),
            probes: vec![("n1", probe("vxlan")), ("n2", probe("vxlan"))],
            backend: "vxlan",
            keys: true,
        }
    }

    /// With another text for n2's probe.
    fn with_probe(change: impl FnOnce(String) -> String) -> Self {
        let mut cluster = Self::new();
        cluster.probes[1].1 = change(probe("vxlan"));
        cluster
    }

    fn snapshot(&self) -> Snapshot {
        let mut builder = SnapshotBuilder::new();
        let now: Timestamp = NOW.parse().unwrap();
        let mut put = |key: RecordKey, body: String| {
            let from = Provenance::Bundle("test".into());
            builder.record(&Record {
                key,
                body: body.into_bytes(),
                at: now,
                from,
                extent: Extent::default(),
            });
        };
        let mut list = |plural: &str, group: &str, items: Value| {
            let body = json!({ "kind": "List", "apiVersion": "v1", "items": items }).to_string();
            put(RecordKey::List(Resource::new(plural, group)), body);
        };
        let node = |name: &str, os: &str| json!({ "metadata": { "name": name }, "status": { "nodeInfo": { "operatingSystem": os } } });
        list("nodes", "", json!([node("n1", "linux"), node("n2", "linux"), node("w1", "windows")]));
        list("pods", "", Value::Array(self.pods.clone()));
        list("ippools", "crd.projectcalico.org", json!([self.pool]));
        list(
            "serviceaccounts",
            "",
            json!([{ "metadata": { "name": "calico-cni-plugin", "namespace": "kube-system", "uid": UID } }]),
        );
        list(
            "configmaps",
            "",
            json!([{ "metadata": { "name": "kube-root-ca.crt", "namespace": "kube-system" }, "data": { "ca.crt": CA } }]),
        );
        list(
            "daemonsets",
            "apps",
            json!([{
            "metadata": { "name": "calico-node", "namespace": "kube-system", "labels": { "k8s-app": "calico-node" } },
            "spec": { "template": { "spec": { "containers": [{ "name": "calico-node", "image": "calico/node:v3.28.4",
                "env": [{ "name": "CALICO_NETWORKING_BACKEND", "value": self.backend }] }] } } },
            "status": { "desiredNumberScheduled": 2 } }]),
        );
        if self.keys {
            put(
                RecordKey::Api("/openid/v1/jwks".to_owned()),
                json!({ "keys": [{ "kid": "key" }] }).to_string(),
            );
        }
        for (node, text) in &self.probes {
            put(RecordKey::Probe((*node).to_owned()), text.clone());
        }
        for name in ["n1", "n2"] {
            if !self.probes.iter().any(|(node, _)| *node == name) {
                builder.gap(Gap::new(
                    format!("nodes/{name}/probe.txt"),
                    GapReason::Unreachable,
                    "calico-node does not run",
                ));
            }
        }
        builder.finish(now)
    }

    fn report(&self) -> StatusReport {
        StatusReport::new(&self.snapshot(), &BTreeSet::new())
    }

    fn n2(&self) -> NodeStatus {
        self.report().nodes.into_iter().find(|node| node.name == "n2").unwrap()
    }
}

fn text(report: &StatusReport) -> String {
    status_text(report, &TextOptions::default(), false)
}

#[test]
fn a_healthy_cluster() {
    let report = Cluster::new().report();
    assert_eq!(report.judge(), NodeVerdict::Healthy, "{}", text(&report));
    insta::assert_snapshot!(text(&report));
    insta::assert_snapshot!(status_text(&report, &TextOptions::default(), true));
    insta::assert_json_snapshot!(report.nodes[0]);
}

#[test]
fn bird_that_is_not_used_is_not_dead() {
    let n2 = Cluster::new().n2();
    assert_eq!((n2.bird.used, n2.bird.live), (Some(false), None));
    let ask = |live: i32, ready: i32| {
        let answers = [
            section(
                "bird.readiness",
                ready,
                "calico/node is not ready: BIRD is not ready: BGP not established with 10.0.0.1",
            ),
            section("bird.liveness", live, ""),
        ];
        Cluster::with_probe(|_| probe("bird") + &answers.concat()).n2()
    };
    let dead = ask(1, 1);
    assert_eq!(
        (dead.bird.used, dead.bird.live, dead.verdict),
        (Some(true), Some(false), NodeVerdict::Unhealthy)
    );
    let not_ready = ask(0, 1);
    assert_eq!(not_ready.problems, ["BIRD is not ready: BGP not established with 10.0.0.1"]);
    let good = ask(0, 0);
    assert_eq!(
        (good.bird.live, good.bird.ready, good.verdict),
        (Some(true), Some(true), NodeVerdict::Healthy)
    );
    // Told nothing, calico-node takes BIRD; then silence about it is not known, and not fine.
    let silent = Cluster::with_probe(|_| probe("")).n2();
    assert_eq!((silent.bird.used, silent.verdict), (Some(true), NodeVerdict::Unknown));
}

#[test]
fn the_backend_is_read_from_the_daemonset_where_the_node_does_not_say() {
    let without = |text: String| text.replace("@@networking-backend", "@@x");
    let n2 = Cluster::with_probe(without).n2();
    assert_eq!((n2.bird.used, n2.verdict), (Some(false), NodeVerdict::Healthy));
    let unsaid = Cluster { backend: "", ..Cluster::with_probe(without) }.n2();
    assert_eq!((unsaid.bird.used, unsaid.verdict), (None, NodeVerdict::Unknown));
    assert!(unsaid.unknown.iter().any(|it| it.what == "bird"), "{:?}", unsaid.unknown);
}

#[test]
fn what_felix_says_counts() {
    let change = |text: String| {
        let healthy = section("felix.readiness", 0, "");
        text.replace(
            &healthy,
            &section(
                "felix.readiness",
                1,
                "calico/node is not ready: felix is not ready: readiness probe reporting 503",
            ),
        )
    };
    let report = Cluster::with_probe(change).report();
    assert_eq!(report.judge(), NodeVerdict::Unhealthy);
    insta::assert_snapshot!(text(&report));
    let timed_out = Cluster::with_probe(|text| {
        text.replace("@@felix.liveness rc=0", "@@felix.liveness rc=124")
    })
    .n2();
    assert_eq!((timed_out.felix.live, timed_out.verdict), (None, NodeVerdict::Unknown));
}

#[test]
fn a_token_that_is_refused_is_a_problem_and_an_unjudged_one_is_not_known() {
    let n2 =
        Cluster::with_probe(|text| text.replace(UID, "686bbed9-0000-0000-0000-000000000000")).n2();
    assert_eq!(n2.token.unwrap().accepted, Some(false));
    assert_eq!(
        n2.problems,
        ["the CNI plugin's credentials are rejected: token uid 686bbed9… ≠ live uid 30ab0063…"]
    );
    let expired = Cluster::with_probe(|text| text.replace("1795338000", "1795260000")).n2();
    assert_eq!(expired.verdict, NodeVerdict::Unhealthy);
    let unjudged = Cluster { keys: false, ..Cluster::new() }.n2();
    assert_eq!((unjudged.token.unwrap().accepted, unjudged.verdict), (None, NodeVerdict::Unknown));
    let missing = "cat: /host/etc/cni/net.d/calico-kubeconfig: No such file or directory";
    let listing = section("ls-cni-net.d", 0, "total 0");
    let gone = Cluster::with_probe(|_| {
        section("vantage", 0, "host") + &listing + &section("calico-kubeconfig", 1, missing)
    });
    let gone = gone.n2();
    assert!(gone.problems.iter().any(|it| it.contains("calico-kubeconfig")), "{gone:?}");
}

#[test]
fn a_tunnel_that_pools_ask_for_must_be_there_and_up() {
    let down =
        Cluster::with_probe(|text| text.replace(r#""flags":["UP","LOWER_UP"]"#, r#""flags":[]"#))
            .n2();
    assert_eq!(down.problems, ["tunnel device vxlan.calico is down"]);
    let missing = Cluster::with_probe(|text| {
        text.replace("\"vxlan.calico\",\"ifindex\"", "\"eth0\",\"ifindex\"")
    })
    .n2();
    assert_eq!(missing.problems, ["tunnel device vxlan.calico is missing"]);
    // The look-alike: without encapsulation nobody needs it.
    let plain = json!({ "metadata": { "name": "default" }, "spec": { "cidr": "10.0.0.0/16", "vxlanMode": "Never", "ipipMode": "Never" } });
    let none =
        Cluster { pool: plain, ..Cluster::with_probe(|text| text.replace("vxlan.calico", "eth9")) }
            .n2();
    assert_eq!((none.tunnels.as_deref(), none.verdict), (Some(&[][..]), NodeVerdict::Healthy));
    let ipip = json!({ "metadata": { "name": "default" }, "spec": { "cidr": "10.0.0.0/16", "ipipMode": "Always" } });
    let ipip = Cluster { pool: ipip, ..Cluster::new() }.n2();
    assert_eq!(ipip.problems, ["tunnel device tunl0 is missing"]);
}

#[test]
fn a_calico_node_that_does_not_run_is_said_once() {
    let mut cluster = Cluster::new();
    cluster.probes.pop();
    cluster.pods[1]["status"] = json!({ "phase": "Pending", "initContainerStatuses": [
        { "name": "install-cni", "state": { "waiting": { "reason": "ImagePullBackOff" } } }] });
    let report = cluster.report();
    let n2 = &report.nodes[1];
    assert_eq!(
        n2.problems,
        ["calico-node pod kube-system/calico-node-n2 is not ready: ImagePullBackOff"]
    );
    assert_eq!((n2.felix.live, n2.bird.used), (Some(false), Some(false)));
    insta::assert_snapshot!(text(&report));
}

#[test]
fn where_no_pod_is_it_depends_on_whether_one_is_wanted() {
    let mut cluster = Cluster::new();
    cluster.pods.pop();
    cluster.probes.pop();
    assert_eq!(cluster.n2().problems, ["there is no calico-node pod"]);
    // The DaemonSet wants two and has two: one on n1, one on a node beside.
    let mut other = pod("n3");
    other["spec"]["nodeName"] = json!("n3");
    cluster.pods.push(other);
    assert_eq!(cluster.n2().verdict, NodeVerdict::NotManaged);
    let windows = Cluster::new().report().nodes.pop().unwrap();
    assert_eq!((windows.name.as_str(), windows.verdict), ("w1", NodeVerdict::NotManaged));
}

#[test]
fn nothing_seen_is_never_healthy() {
    let nothing = SnapshotBuilder::new().finish(Timestamp::UNIX_EPOCH);
    let report = StatusReport::new(&nothing, &BTreeSet::new());
    assert_eq!(report.judge(), NodeVerdict::Unknown);
    assert!(text(&report).contains("no node was seen"), "{}", text(&report));
    let mut unprobed = Cluster::new();
    unprobed.probes.pop();
    assert_eq!(unprobed.report().judge(), NodeVerdict::Unknown);
    let only = StatusReport::new(&unprobed.snapshot(), &BTreeSet::from(["n1".to_owned()]));
    assert_eq!((only.nodes.len(), only.judge()), (1, NodeVerdict::Healthy));
}

#[test]
fn what_a_node_writes_does_not_steer_the_terminal() {
    let evil = section("felix.readiness", 1, "\u{1b}[2Jall is well");
    let report =
        Cluster::with_probe(|text| text.replace(&section("felix.readiness", 0, ""), &evil))
            .report();
    assert!(!text(&report).contains('\u{1b}'), "{}", text(&report));
}

#[test]
fn five_thousand_reasons_are_no_five_thousand_lines() {
    let mut report = Cluster::new().report();
    let one = report.nodes.remove(0);
    report.nodes = (0..5000)
        .map(|number| NodeStatus {
            name: format!("n{number}"),
            problems: vec![format!("problem {number}"), "a common one".to_owned()],
            unknown: vec![UnknownFact { what: "felix", why: format!("reason {number}") }],
            ..one.clone()
        })
        .collect();
    let shown = text(&report);
    let below = shown.lines().skip_while(|line| !line.contains('✗')).count();
    assert!(below < 50, "{below} lines below the table");
    assert!(shown.contains("n0, n1, n2 (+4997): a common one"), "{below}");
    assert!(shown.contains("4,981 more"), "{below}");
}
