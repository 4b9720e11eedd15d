//! Whole clusters, each with one thing changed.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::requirements::fixtures;
use super::fixtures::{FILTER, endpoint_map, kube_proxy, off, on, operator, set, snapshot};
use super::*;
use crate::slim::Lease;
use crate::snapshot::{Gap, GapReason};

fn gap<T>() -> Known<T> {
    Known::Unknown(Gap::new("x", GapReason::Forbidden, "forbidden"))
}

fn status(situation: &Situation<'_>) -> EbpfStatus {
    EbpfStatus::of(situation, &[])
}

fn holds(situation: &Situation<'_>, id: &str) -> Holds {
    let all = status(situation).invariants;
    all.into_iter().find(|it| it.id == id).unwrap().holds
}

/// What was seen against an invariant.
fn seen(situation: &Situation<'_>, id: &str) -> String {
    match holds(situation, id) {
        Holds::No { seen, .. } => seen.join("; "),
        other => panic!("{id}: {other:?}"),
    }
}

fn is_good(situation: &Situation<'_>) -> bool {
    status(situation)
        .invariants
        .iter()
        .all(|it| matches!(it.holds, Holds::Yes | Holds::NotApplicable { .. }))
}

fn does_not_apply(situation: &Situation<'_>, id: &str) -> bool {
    matches!(holds(situation, id), Holds::NotApplicable { .. })
}

#[test]
fn an_ordinary_cluster_is_off_and_well() {
    let snapshot = snapshot();
    let situation = off(&snapshot);
    let status = status(&situation);
    assert_eq!(status.class, ClusterClass::Off);
    assert_eq!(status.kube_proxy, KubeProxyState::Running);
    assert_eq!(status.endpoint.known().unwrap().mode, EndpointMode::ClusterIp);
    assert!(status.nodes.values().all(|it| it.real == Real::Off));
    assert!(is_good(&situation), "{:#?}", status.invariants);
}

#[test]
fn a_cluster_without_kube_proxy_is_on_and_well() {
    let snapshot = snapshot();
    let situation = on(&snapshot);
    let status = status(&situation);
    assert_eq!(status.class, ClusterClass::On);
    assert_eq!(status.kube_proxy, KubeProxyState::Stopped);
    assert_eq!(status.endpoint.known().unwrap().mode, EndpointMode::ConfigMap);
    assert_eq!(status.nodes["node1"].frontends, Known::Known(2));
    assert!(is_good(&situation), "{:#?}", status.invariants);
}

#[test]
fn nothing_known_is_never_good() {
    let snapshot = snapshot();
    let situation = fixtures::nothing_known(&snapshot);
    let status = status(&situation);
    assert_eq!(status.class, ClusterClass::Unknown);
    assert!(matches!(status.kube_proxy, KubeProxyState::Unknown(_)));
    let yes: Vec<_> = status
        .invariants
        .iter()
        .filter(|it| !matches!(it.holds, Holds::Unknown(_)))
        .map(|it| it.id)
        .collect();
    // Neither is about anything that was not known: install and runs were read.
    assert_eq!(yes, ["I4", "I10"]);
}

#[test]
fn settings_go_from_the_narrow_to_the_wide() {
    let mut snapshot = snapshot();
    snapshot.nodes.items[0].metadata.labels.insert("rack".into(), "a".into());
    let mut situation = off(&snapshot);
    let wanted = |situation: &Situation<'_>| {
        let wanted = wanted_on(situation, "node1");
        let wanted = wanted.known().unwrap();
        (wanted.on, wanted.by.clone())
    };
    assert_eq!(wanted(&situation), (false, "Felix's default".to_owned()));
    let object = |name: &str, spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
    let default = object("default", json!({ "bpfEnabled": true }));
    let selecting = object("rack-a", json!({ "nodeSelector": "rack == 'a'", "bpfEnabled": false }));
    let own = object("node.node1", json!({ "bpfEnabled": true }));
    situation.felix = Known::Known(vec![default.clone()]);
    assert_eq!(wanted(&situation), (true, "FelixConfiguration default".to_owned()));
    situation.felix = Known::Known(vec![default.clone(), selecting.clone()]);
    assert_eq!(wanted(&situation), (false, "FelixConfiguration rack-a".to_owned()));
    assert!(wanted_on(&situation, "node2").known().unwrap().on);
    situation.felix = Known::Known(vec![default, selecting, own]);
    assert_eq!(wanted(&situation), (true, "FelixConfiguration node.node1".to_owned()));
    situation.with("node1", "felix-variable", "false");
    assert!(!wanted(&situation).0);
    let unread = object("x", json!({ "nodeSelector": "rack in {'a'}", "bpfEnabled": true }));
    situation.felix = Known::Known(vec![unread]);
    assert!(wanted_on(&situation, "node2").gap().is_some());
}

#[test]
fn d1_a_node_that_falls_back_says_why() {
    let snapshot = snapshot();
    let mut situation = on(&snapshot);
    for (section, text) in [("programs", ""), ("nat.v4", "absent"), ("pins", "")] {
        situation.with("node2", section, text);
    }
    assert!(seen(&situation, "D1").contains("logs calico-node-node2"));
    assert_eq!(status(&situation).class, ClusterClass::Broken);
    situation.with("node2", "kernel", "Linux version 4.15.0-213-generic (x) #1 SMP");
    assert!(seen(&situation, "D1").contains("kernel is too old: 4.15.0-213-generic"));
    situation.kube_proxy = kube_proxy(2);
    set(&mut situation, json!({ "bpfEnabled": true, "bpfKubeProxyIptablesCleanupEnabled": false }));
    assert_eq!(status(&situation).class, ClusterClass::Mixed);
    // A node that cannot be seen is not known, and nothing that is known is wrong.
    situation.nodes.insert("node2".into(), gap());
    assert!(matches!(holds(&situation, "D1"), Holds::Unknown(_)));
}

#[test]
fn d1_what_is_left_over_is_told() {
    let snapshot = snapshot();
    let mut situation = on(&snapshot);
    set(&mut situation, json!({ "bpfEnabled": false }));
    situation.kube_proxy = kube_proxy(2);
    assert!(seen(&situation, "D1").contains("node1, node2"));
    assert!(status(&situation).nodes.values().all(|it| it.real == Real::Leftover));
    // Somebody else's programs are not Calico's.
    let mut other = off(&snapshot);
    let cilium = FILTER.replace("cali_tc_preambl", "cil_from_netdev");
    other.with("node1", "programs", &cilium);
    assert!(is_good(&other));
}

#[test]
fn d1_an_operator_that_waits_is_told_with_its_reason() {
    let snapshot = operator();
    let mut situation = off(&snapshot);
    let installation = |plane: &str| {
        Known::Known(json!({ "spec": { "calicoNetwork": { "linuxDataplane": plane } } }))
    };
    situation.installation = installation("BPF");
    situation.tigera_status = Known::Known(vec![json!({
        "metadata": { "name": "calico" },
        "status": { "conditions": [{ "type": "Degraded", "status": "True", "message": "waiting for pods" }] },
    })]);
    assert!(seen(&situation, "D1").contains("waiting for pods"));
    assert_eq!(status(&situation).class, ClusterClass::Enabling);
    situation.installation = installation("Iptables");
    assert!(is_good(&situation));
    assert_eq!(status(&situation).class, ClusterClass::Off);
}

#[test]
fn d2_felix_may_say_that_it_is_not_in_order() {
    let snapshot = snapshot();
    let mut situation = on(&snapshot);
    let row = |says: &str| {
        format!(
            "| COMPONENT | TIMEOUT | LIVENESS | READINESS | DETAIL |\n| BPFEndpointManager | - | - | reporting {says} | Failed to configure some interfaces. |"
        )
    };
    situation.with("node2", "readiness", &row("non-ready"));
    assert!(seen(&situation, "D2").contains("node2: Felix says"));
    situation.with("node2", "readiness", &row("ready"));
    assert_eq!(holds(&situation, "D2"), Holds::Yes);
    situation.with("node2", "nat.v4", "10.96.0.1 port 443 proto 6 id 3 count 0 local 0\n");
    assert!(seen(&situation, "D2").contains("no backend"));
    situation.with("node2", "nat.v4", "10.96.0.7 port 443 proto 6 id 3 count 1 local 0\n");
    assert!(seen(&situation, "D2").contains("lacks default/kubernetes"));
}

#[test]
fn i1_a_node_with_neither() {
    let snapshot = snapshot();
    let mut situation = off(&snapshot);
    situation.kube_proxy = kube_proxy(0);
    assert!(seen(&situation, "I1").contains("node1, node2"));
    assert!(seen(&situation, "I1").contains("nothing translates"));
    assert_eq!(status(&situation).class, ClusterClass::Broken);
    // It is about to come back: its DaemonSet wants pods.
    situation.kube_proxy = kube_proxy(2);
    assert!(does_not_apply(&situation, "I1"));
    let mut situation = on(&snapshot);
    assert_eq!(holds(&situation, "I1"), Holds::Yes);
    situation.nodes.insert("node2".into(), gap());
    assert!(matches!(holds(&situation, "I1"), Holds::Unknown(_)));
}

#[test]
fn i2_felix_and_kube_proxy_write_against_each_other() {
    let snapshot = snapshot();
    let mut situation = on(&snapshot);
    situation.kube_proxy = kube_proxy(2);
    assert!(seen(&situation, "I2").contains("bpfKubeProxyIptablesCleanupEnabled"));
    set(&mut situation, json!({ "bpfEnabled": true, "bpfKubeProxyIptablesCleanupEnabled": false }));
    assert_eq!(holds(&situation, "I2"), Holds::Yes);
    assert_eq!(status(&situation).class, ClusterClass::OnWithKubeProxy);
    assert!(does_not_apply(&off(&snapshot), "I2"));
}

#[test]
fn i3_two_ways_or_none() {
    let snapshot = operator();
    let mut situation = on(&snapshot);
    let bootstrap = |word: &str| {
        Known::Known(
            json!({ "spec": { "calicoNetwork": { "linuxDataplane": "BPF", "bpfNetworkBootstrap": word } } }),
        )
    };
    situation.installation = bootstrap("Disabled");
    assert_eq!(holds(&situation, "I3"), Holds::Yes);
    situation.installation = bootstrap("Enabled");
    assert!(seen(&situation, "I3").contains("refuses both"));
    situation.endpoint_config = Known::Absent;
    assert_eq!(holds(&situation, "I3"), Holds::Yes);
    situation.installation = bootstrap("Disabled");
    for node in ["node1", "node2"] {
        situation.with(node, "endpoint", "10.96.0.1\n443");
    }
    assert!(seen(&situation, "I3").contains("by its Service"));
    situation.kube_proxy = kube_proxy(2);
    assert!(does_not_apply(&situation, "I3"));
}

#[test]
fn i4_somebody_wrote_where_the_operator_does() {
    let snapshot = operator();
    let mut situation = off(&snapshot);
    let felix = |annotation: Value, enabled: Value| {
        let annotations = json!({ "operator.tigera.io/bpfEnabled": annotation });
        Known::Known(vec![
            json!({ "metadata": { "name": "default", "annotations": annotations }, "spec": { "bpfEnabled": enabled } }),
        ])
    };
    situation.felix = felix(json!("false"), json!(true));
    assert!(seen(&situation, "I4").contains("the operator wrote false"));
    situation.felix = felix(Value::Null, json!(true));
    assert!(seen(&situation, "I4").contains("the operator wrote nothing"));
    for (annotation, enabled) in [(json!("true"), json!(true)), (Value::Null, Value::Null)] {
        situation.felix = felix(annotation, enabled);
        assert_eq!(holds(&situation, "I4"), Holds::Yes);
    }
    let manifest = fixtures::snapshot();
    let mut situation = off(&manifest);
    situation.felix = felix(Value::Null, json!(false));
    assert!(does_not_apply(&situation, "I4"));
}

#[test]
fn i5_a_node_with_settings_of_its_own() {
    let snapshot = snapshot();
    let mut situation = off(&snapshot);
    let own = |spec: Value| {
        Known::Known(vec![json!({ "metadata": { "name": "node.node1" }, "spec": spec })])
    };
    situation.felix = own(json!({ "logSeverityScreen": "Debug", "bpfEnabled": null }));
    assert_eq!(holds(&situation, "I5"), Holds::Yes);
    situation.felix = own(json!({ "bpfEnabled": false }));
    assert!(seen(&situation, "I5").contains("node.node1"));
}

#[test]
fn i6_an_address_that_is_not_used_or_cannot_serve() {
    let mut snapshot = snapshot();
    let mut situation = on(&snapshot);
    assert_eq!(holds(&situation, "I6"), Holds::Yes);
    situation.with("node2", "endpoint", "10.96.0.1\n443");
    assert!(seen(&situation, "I6").contains("calico-node on node2 does not use 10.0.0.10:6443"));
    situation.endpoint_config = endpoint_map("10.96.0.1");
    assert!(seen(&situation, "I6").contains("the address of Service default/kubernetes"));
    snapshot.pods.items[1].status.conditions.clear();
    assert!(matches!(holds(&on(&snapshot), "I6"), Holds::Unknown(_)));
}

#[test]
fn i7_two_want_one_port_or_nobody_answers() {
    let mut snapshot = snapshot();
    let Known::Known(install) = &mut snapshot.install else { unreachable!() };
    install.version = Some("v3.31.4".into());
    let mut situation = on(&snapshot);
    situation.kube_proxy = kube_proxy(2);
    let coexist = json!({ "bpfEnabled": true, "bpfKubeProxyIptablesCleanupEnabled": false });
    set(&mut situation, coexist.clone());
    assert!(seen(&situation, "I7").contains("port 10256"));
    let mut moved = coexist;
    moved["bpfKubeProxyHealthzPort"] = json!(10258);
    set(&mut situation, moved);
    assert_eq!(holds(&situation, "I7"), Holds::Yes);
    let mut situation = on(&snapshot);
    assert!(does_not_apply(&situation, "I7"));
    let Known::Known(services) = &mut situation.services else { unreachable!() };
    services.push(json!({ "metadata": { "name": "web" }, "spec": { "type": "LoadBalancer" } }));
    assert!(seen(&situation, "I7").contains("node1, node2"));
    for node in ["node1", "node2"] {
        situation.with(node, "listeners", "0: 00000000:2810 00000000:0000 0A 0");
    }
    assert_eq!(holds(&situation, "I7"), Holds::Yes);
}

#[test]
fn nodes_whose_felix_is_told_otherwise_keep_rules() {
    let snapshot = snapshot();
    let mut situation = off(&snapshot);
    let keep = |situation: &Situation<'_>| -> Vec<String> {
        nodes_that_keep_rules(situation).into_iter().collect()
    };
    let no = json!({ "bpfKubeProxyIptablesCleanupEnabled": false });
    set(&mut situation, no.clone());
    // What enable sets itself, and takes back.
    assert!(keep(&situation).is_empty());
    let Known::Known(all) = &mut situation.felix else { unreachable!() };
    all.push(json!({ "metadata": { "name": "node.node2" }, "spec": no }));
    all.push(json!({ "metadata": { "name": "node.node1" }, "spec": { "bpfEnabled": true } }));
    assert_eq!(keep(&situation), ["node2"]);
    let mut keep_by_environment = |value: &str| {
        let Known::Known(agent) = &mut situation.calico_node else { unreachable!() };
        let name = "FELIX_BPFKUBEPROXYIPTABLESCLEANUPENABLED";
        let env = json!([{ "name": name, "value": value }]);
        agent["spec"]["template"]["spec"]["containers"][0]["env"] = env;
        keep(&situation)
    };
    assert!(keep_by_environment("true").is_empty());
    assert_eq!(keep_by_environment("false"), ["node1", "node2"]);
}

#[test]
fn i8_ipvs() {
    let snapshot = snapshot();
    let mut situation = on(&snapshot);
    assert_eq!(holds(&situation, "I8"), Holds::Yes);
    situation.with("node2", "ip-link", r#"[{"ifname":"kube-ipvs0"}]"#);
    assert!(seen(&situation, "I8").contains("node2"));
    // Without eBPF it does no harm.
    let mut situation = off(&snapshot);
    situation.with("node2", "ip-link", r#"[{"ifname":"kube-ipvs0"}]"#);
    assert!(does_not_apply(&situation, "I8"));
}

#[test]
fn i9_one_node_lacks_what_the_others_pin() {
    let mut snapshot = snapshot();
    assert!(does_not_apply(&on(&snapshot), "I9"));
    let Known::Known(install) = &mut snapshot.install else { unreachable!() };
    install.version = Some("v3.31.4".into());
    let mut situation = on(&snapshot);
    let pins = "/sys/fs/bpf/tc/globals/cali_v4_nat_fe3\n/sys/fs/bpf/ctlb/calico_connect_v4\n";
    situation.with("node1", "pins", pins);
    assert!(seen(&situation, "I9").ends_with("node2"));
    situation.with("node2", "pins", pins);
    assert_eq!(holds(&situation, "I9"), Holds::Yes);
    set(&mut situation, json!({ "bpfEnabled": true, "bpfConnectTimeLoadBalancing": "Disabled" }));
    assert!(does_not_apply(&situation, "I9"));
}

#[test]
fn i10_runs_under_way_and_cut_off() {
    let mut snapshot = snapshot();
    let run = |goes_on: bool| OpenRun {
        id: "01RUN".into(),
        made_by: "kubectl-calico-ebpf/0.1.0 enable".into(),
        goes_on,
        progress: "2 of 9 steps are done".into(),
    };
    let of = |situation: &Situation<'_>, runs: &[OpenRun]| {
        let all = EbpfStatus::of(situation, runs).invariants;
        all.into_iter().find(|it| it.id == "I10").unwrap().holds
    };
    let situation = off(&snapshot);
    assert!(matches!(of(&situation, &[run(false)]), Holds::No { weight: Weight::Error, .. }));
    assert!(matches!(of(&situation, &[run(true)]), Holds::No { weight: Weight::Warning, .. }));
    let lease = |seconds: i64| -> Lease {
        serde_json::from_value(json!({ "metadata": { "name": "kubectl-calico" }, "spec": {
            "holderIdentity": "jane@x/01RUN", "leaseDurationSeconds": seconds, "renewTime": "1970-01-01T00:00:00Z" } }))
        .unwrap()
    };
    snapshot.leases = fixtures::whole(vec![lease(30)]);
    let said = of(&off(&snapshot), &[]);
    assert!(matches!(&said, Holds::No { seen, .. } if seen[0].contains("jane")), "{said:?}");
    snapshot.leases = fixtures::whole(vec![lease(-30)]);
    assert_eq!(of(&off(&snapshot), &[]), Holds::Yes);
}

proptest! {
    #[test]
    fn any_objects_are_accepted(text in "[a-z0-9.:=' ñ]{0,12}", number in any::<i64>()) {
        let snapshot = operator();
        let mut situation = on(&snapshot);
        let odd = [json!(text), json!(number), json!([text]), Value::Null];
        for value in odd {
            let object = json!({ "metadata": { "name": value, "annotations": value, "creationTimestamp": value },
                "spec": { "bpfEnabled": value, "nodeSelector": value, "calicoNetwork": value, "ports": value, "clusterIPs": value },
                "data": { "KUBERNETES_SERVICE_HOST": value, "KUBERNETES_SERVICE_PORT": value, "config.conf": value }, "status": value });
            situation.felix = Known::Known(vec![object.clone(), value.clone()]);
            situation.services = Known::Known(vec![object.clone(), value.clone()]);
            situation.installation = Known::Known(object.clone());
            situation.kube_proxy = Known::Known(object.clone());
            situation.kube_proxy_config = Known::Known(object.clone());
            situation.endpoint_config = Known::Known(object.clone());
            situation.calico_node = Known::Known(value.clone());
            situation.tigera_status = Known::Known(vec![object]);
            drop(status(&situation));
        }
    }
}
