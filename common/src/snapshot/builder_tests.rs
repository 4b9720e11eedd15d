//! Records become a snapshot that knows what it does not know.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Coverage, Extent, Flavour, Form, Gap, GapReason, InstallMethod, Known, Provenance, Record,
    RecordKey, Resource, Sink, Snapshot, SnapshotBuilder,
};

fn record(path: &str, body: &Value) -> Record {
    let (key, _) = RecordKey::from_path(path).unwrap();
    let body = body.to_string().into_bytes();
    let from = Provenance::Bundle(path.to_owned());
    Record { key, body, at: Timestamp::UNIX_EPOCH, from, extent: Extent::default() }
}

fn selected(path: &str, selector: &str, body: &Value) -> Record {
    let extent = Extent { selector: Some(selector.to_owned()), ..Extent::default() };
    Record { extent, ..record(path, body) }
}

fn snapshot(records: &[Record], gaps: &[Gap]) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    for record in records {
        builder.record(record);
    }
    for gap in gaps {
        builder.gap(gap.clone());
    }
    builder.finish(Timestamp::UNIX_EPOCH)
}

fn items(names: &[&str]) -> Value {
    let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    json!({"kind": "List", "items": items})
}

const DAEMON_SETS: &str = "cluster/daemonsets.apps.json";

fn daemon_set(namespace: &str, name: &str, image: &str, more: &Value) -> Value {
    let mut set = json!({
        "metadata": {"namespace": namespace, "name": name, "labels": {"k8s-app": name}},
        "spec": {"template": {"spec": {
            "serviceAccountName": name,
            "containers": [{"name": "calico-node", "image": image, "env": more["env"]}],
        }}},
        "status": {"desiredNumberScheduled": more["pods"].as_i64().unwrap_or(3)},
    });
    set["metadata"]["ownerReferences"] = more["owners"].clone();
    set
}

fn install(sets: &[Value], others: &[Record]) -> super::Install {
    let mut records = vec![record(DAEMON_SETS, &json!({"items": sets}))];
    records.extend_from_slice(others);
    snapshot(&records, &[]).install.known().unwrap().clone()
}

#[test]
fn nothing_read_is_nothing_known() {
    let snapshot = snapshot(&[], &[]);
    assert!(snapshot.pods.get().gap().is_some(), "not absent");
    for gap in [snapshot.install.gap(), snapshot.flavour.gap(), snapshot.signing_keys.gap()] {
        assert_eq!(gap.unwrap().why, GapReason::NotAsked);
    }
    assert!(snapshot.cluster.uid.gap().is_some() && snapshot.root_ca().gap().is_some());
    assert!(snapshot.gaps.iter().all(|gap| !gap.why.is_failure()));
}

#[test]
fn gaps_find_their_lists() {
    let gaps = [
        Gap::new("cluster/*.crd.projectcalico.org.json", GapReason::NotServed, "404"),
        Gap::new("cluster/pods.json", GapReason::Forbidden, "no"),
        Gap::new("nodes/w1/probe.txt", GapReason::Unreachable, "down"),
    ];
    let snapshot = snapshot(&[record("cluster/nodes.json", &items(&["w1", "w2"]))], &gaps);
    assert_eq!(snapshot.ip_pools.gap.as_ref(), Some(&gaps[0]));
    assert_eq!(snapshot.pods.gap.as_ref(), Some(&gaps[1]));
    assert_eq!(snapshot.hosts["w1"].gap(), Some(&gaps[2]));
    assert!(gaps.iter().all(|gap| snapshot.gaps.contains(gap)));
    let missing: Vec<_> =
        snapshot.gaps.iter().filter(|gap| gap.what.starts_with("nodes/w2")).collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].why, GapReason::NotAsked);
}

#[test]
fn coverage_grows_and_an_object_counts_once() {
    let path = "cluster/pods.json";
    let a = selected(path, "namespace=a", &items(&["x", "y"]));
    let b = selected(path, "labelSelector=k=v", &items(&["y", "z"]));
    let seen = snapshot(&[a.clone(), b], &[]);
    assert_eq!(seen.pods.items.len(), 3);
    let both = vec!["labelSelector=k=v".to_owned(), "namespace=a".to_owned()];
    assert_eq!(seen.pods.coverage, Coverage::Selected(both));
    assert!(!seen.pods.is_whole());
    assert!(snapshot(&[a, record(path, &items(&[]))], &[]).pods.is_whole());
}

#[test]
fn what_is_cut_short_is_not_whole() {
    let path = "cluster/pods.json";
    let page = |more: &str| record(path, &json!({"items": [], "metadata": {"continue": more}}));
    assert!(snapshot(&[page("x"), page("")], &[]).pods.is_whole());
    assert!(!snapshot(&[page("x")], &[]).pods.is_whole());
    let mut cut = page("");
    cut.extent.complete = false;
    assert!(!snapshot(&[cut], &[]).pods.is_whole());
    let bad = record(path, &json!({"items": [{"metadata": {"name": "a", "labels": 7}}]}));
    let bad = snapshot(&[bad], &[]);
    assert!(!bad.pods.is_whole());
    assert_eq!(bad.gaps.iter().filter(|gap| gap.what == "cluster/pods.json#a").count(), 1);
    let mut names_only = page("");
    names_only.extent.form = Form::Metadata;
    assert_eq!(snapshot(&[names_only], &[]).pods.coverage, Coverage::None);
    let names = record(path, &json!({"kind": "PartialObjectMetadataList", "items": []}));
    assert_eq!(snapshot(&[names], &[]).pods.coverage, Coverage::None);
    let single = record(path, &json!({"kind": "Pod", "metadata": {"name": "a"}}));
    assert!(!snapshot(&[single], &[]).pods.is_whole());
}

#[test]
fn raw_answers_are_read() {
    let seen = snapshot(
        &[
            record("cluster/api/version.json", &json!({"gitVersion": "v1.34.4"})),
            record("cluster/api/openid-v1-jwks.json", &json!({"keys": [{"kid": "a"}, {}]})),
            record(
                "cluster/namespaces.json",
                &json!({"items": [{"metadata": {"name": "kube-system", "uid": "u"}}]}),
            ),
        ],
        &[],
    );
    assert_eq!(seen.cluster.server_version, Known::Known("v1.34.4".to_owned()));
    assert_eq!(seen.signing_keys.known().unwrap().ids.len(), 1);
    assert_eq!(seen.cluster.uid, Known::Known("u".to_owned()));
    let odd = snapshot(&[record("cluster/api/openid-v1-jwks.json", &json!({"keys": 7}))], &[]);
    assert_eq!(odd.signing_keys.gap().unwrap().why, GapReason::Undecodable);
}

#[test]
fn an_install_is_absent_only_when_that_is_proven() {
    let with = |record: Record| snapshot(&[record], &[]).install;
    assert_eq!(with(record(DAEMON_SETS, &items(&["agent"]))), Known::Absent);
    let none = items(&[]);
    let proven =
        ["labelSelector=k8s-app=calico-node", "labelSelector=k8s-app in (calico-node, canal)"];
    for selector in proven {
        assert_eq!(with(selected(DAEMON_SETS, selector, &none)), Known::Absent, "{selector}");
    }
    let unproven = [
        "namespace=kube-system",
        "labelSelector=k8s-app=calico-node&namespace=kube-system",
        "labelSelector=k8s-app=calico-node,tier=node",
        "labelSelector=k8s-app=canal",
        "fieldSelector=metadata.name=calico-node",
    ];
    for selector in unproven {
        assert!(with(selected(DAEMON_SETS, selector, &none)).gap().is_some(), "{selector}");
    }
    let forbidden = Gap::new(DAEMON_SETS, GapReason::Forbidden, "no");
    assert_eq!(snapshot(&[], std::slice::from_ref(&forbidden)).install, Known::Unknown(forbidden));
}

#[test]
fn installs_are_told_apart() {
    let manifest = install(
        &[daemon_set("kube-system", "calico-node", "docker.io/calico/node:v3.25.2", &json!({}))],
        &[],
    );
    assert_eq!(
        (manifest.method, manifest.version.as_deref()),
        (InstallMethod::Manifest, Some("v3.25.2"))
    );
    assert_eq!(manifest.cni_service_account, "calico-node");
    assert_eq!(manifest.encapsulation, None);

    let operator = install(
        &[daemon_set(
            "calico-system",
            "calico-node",
            "r:5000/calico/node:v3.29.1@sha256:aa",
            &json!({}),
        )],
        &[],
    );
    assert_eq!(
        (operator.method, operator.version.as_deref()),
        (InstallMethod::Operator, Some("v3.29.1"))
    );
    assert_eq!(operator.cni_service_account, "calico-cni-plugin");

    let owners = json!({"owners": [{"apiVersion": "operator.tigera.io/v1", "kind": "Installation", "name": "default"}]});
    let owned = install(&[daemon_set("elsewhere", "calico-node", "x", &owners)], &[]);
    assert_eq!((owned.method, owned.version), (InstallMethod::Operator, None));

    let canal =
        install(&[daemon_set("kube-system", "canal", "calico/node:v3.28.0", &json!({}))], &[]);
    assert_eq!((canal.cni_service_account.as_str(), canal.daemon_set.as_str()), ("canal", "canal"));

    let named = json!({"env": [{"name": "CALICO_CNI_SERVICE_ACCOUNT", "value": "own"}]});
    let named = install(&[daemon_set("kube-system", "calico-node", "x", &named)], &[]);
    assert_eq!(named.cni_service_account, "own");
    let field = json!({"env": [{"name": "CALICO_CNI_SERVICE_ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}}]});
    let field =
        install(&[daemon_set("kube-system", "calico-node", "calico/node:v3.28.0", &field)], &[]);
    assert_eq!(field.cni_service_account, "calico-node");
}

#[test]
fn two_installs_are_both_named_and_the_larger_one_counts() {
    let sets = [
        daemon_set("calico-system", "calico-node", "x", &json!({"pods": 1})),
        daemon_set("kube-system", "calico-node", "x", &json!({"pods": 5})),
    ];
    let operator = record("cluster/deployments.apps.json", &items(&["tigera-operator"]));
    let found = install(&sets, &[operator]);
    assert_eq!((found.namespace.as_str(), found.method), ("kube-system", InstallMethod::Manifest));
    assert_eq!(found.namespaces, ["calico-system", "kube-system"]);
}

#[test]
fn calicos_own_objects_tell_version_and_encapsulation() {
    let set = daemon_set("kube-system", "calico-node", "calico/node:v3.28.5", &json!({}));
    let pool = |spec: Value| {
        record("cluster/ippools.crd.projectcalico.org.json", &json!({"items": [{"spec": spec}]}))
    };
    let version = record(
        "cluster/clusterinformations.crd.projectcalico.org.json",
        &json!({"items": [{"spec": {"calicoVersion": "v3.28.4"}}]}),
    );
    let found = install(
        std::slice::from_ref(&set),
        &[version, pool(json!({"vxlanMode": "Always", "ipipMode": "Never"}))],
    );
    assert_eq!(found.version.as_deref(), Some("v3.28.4"));
    assert_eq!(found.encapsulation.as_deref(), Some("VXLAN"));
    let mode = |spec| install(std::slice::from_ref(&set), &[pool(spec)]).encapsulation;
    assert_eq!(mode(json!({"ipipMode": "CrossSubnet"})).as_deref(), Some("IP-in-IP"));
    assert_eq!(mode(json!({})).as_deref(), Some("no encapsulation"));
    assert_eq!(mode(json!({"vxlanMode": "Always", "disabled": true})), None);
}

#[test]
fn flavours_are_told_apart() {
    let definitions = |names: &[&str]| {
        record("cluster/customresourcedefinitions.apiextensions.k8s.io.json", &items(names))
    };
    let crd = || record("cluster/ippools.crd.projectcalico.org.json", &items(&["a"]));
    let v3 = || record("cluster/ippools.projectcalico.org.json", &items(&["b", "c"]));
    let groups = |names: &[&str]| {
        let groups: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        record("cluster/api/apis.json", &json!({"groups": groups}))
    };
    let (old, new) = ("ippools.crd.projectcalico.org", "ippools.projectcalico.org");
    let flavour = |records: &[Record]| snapshot(records, &[]).flavour;
    assert_eq!(flavour(&[crd()]), Known::Known(Flavour::CrdV1));
    assert_eq!(flavour(&[crd(), v3()]), Known::Known(Flavour::CrdV1), "the aggregated API server");
    assert_eq!(flavour(&[definitions(&[old]), crd()]), Known::Known(Flavour::CrdV1));
    assert_eq!(flavour(&[definitions(&[new]), v3()]), Known::Known(Flavour::NativeV3));
    assert_eq!(flavour(&[definitions(&[old, new]), crd(), v3()]), Known::Known(Flavour::Migrating));
    let unread = flavour(&[definitions(&[old, new]), v3()]);
    assert!(unread.gap().is_some(), "the old group may hold objects: {unread:?}");
    assert_eq!(flavour(&[definitions(&[])]), Known::Absent);
    assert_eq!(flavour(&[groups(&["apps"])]), Known::Absent);
    assert_eq!(flavour(&[groups(&["projectcalico.org"])]), Known::Known(Flavour::NativeV3));
    assert_eq!(
        flavour(&[groups(&["projectcalico.org", "crd.projectcalico.org"])]),
        Known::Known(Flavour::CrdV1)
    );
    assert!(flavour(&[v3()]).gap().is_some(), "it may be the aggregated API server");
    assert_eq!(snapshot(&[definitions(&[new]), v3()], &[]).ip_pools.items.len(), 2);
    assert_eq!(snapshot(&[crd(), v3()], &[]).ip_pools.items.len(), 1);
}

#[test]
fn the_ca_of_calicos_namespace_counts() {
    let map = |namespace: &str, pem: &str| json!({"metadata": {"name": "kube-root-ca.crt", "namespace": namespace}, "data": {"ca.crt": pem}});
    let maps = |maps: &[Value]| record("cluster/configmaps.json", &json!({"items": maps}));
    let hash = |record: Record| snapshot(&[record], &[]).root_ca();
    let system = hash(maps(&[map("kube-system", "b\n")]));
    assert!(system.known().is_some());
    assert_eq!(hash(maps(&[map("a", "a\n"), map("kube-system", "b\n")])), system);
    assert_ne!(hash(maps(&[map("a", "a\n")])), system);
    assert_eq!(hash(maps(&[])), Known::Absent);
    assert!(hash(selected("cluster/configmaps.json", "namespace=a", &items(&[]))).gap().is_some());
}

#[test]
fn a_service_account_is_absent_when_its_namespace_was_read() {
    let set = record(
        DAEMON_SETS,
        &json!({"items": [daemon_set("kube-system", "calico-node", "calico/node:v3.28.0", &json!({}))]}),
    );
    let accounts = |selector: &str| selected("cluster/serviceaccounts.json", selector, &items(&[]));
    let seen = snapshot(&[set.clone(), accounts("namespace=kube-system")], &[]);
    assert_eq!(seen.cni_service_account(), Known::Absent);
    let other = snapshot(&[set, accounts("namespace=other")], &[]);
    assert!(other.cni_service_account().gap().is_some());
    assert_eq!(Resource::new("pods", "").path(), "cluster/pods.json");
}

proptest! {
    #[test]
    fn any_body_is_accepted(
        path in proptest::sample::select(vec!["cluster/pods.json", "cluster/configmaps.json", "cluster/api/version.json", "cluster/api/openid-v1-jwks.json", "nodes/a/probe.txt", "logs/a/b/c.log"]),
        body in "(\\{|\\}|\\[|\\]|\"items\":|\"metadata\":|null|1|,|\"a\"|:|- |\n|kind: List|items:|&a|\\*a|@@calico-kubeconfig rc=0 ms=0\n|@@end\n|users:|token: ){0,30}",
    ) {
        let mut any = record(path, &Value::Null);
        any.body = body.into_bytes();
        prop_assert!(snapshot(&[any], &[]).pods.items.len() < 30);
    }
}
