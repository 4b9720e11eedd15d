//! What is written is read: the same facts, whatever was collected.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Writer, load};
use crate::snapshot::{
    Extent, Form, Gap, GapReason, Provenance, Record, RecordKey, Resource, Sink, Snapshot,
    SnapshotBuilder,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn record(key: RecordKey, body: impl Into<Vec<u8>>, extent: Extent, seconds: i64) -> Record {
    Record {
        key,
        body: body.into(),
        at: at(seconds),
        from: Provenance::Api("/".to_owned()),
        extent,
    }
}

/// The snapshot of what is poured in directly, and that of a bundle of it.
fn both(records: &[Record], gaps: &[Gap]) -> (Snapshot, Snapshot) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.tar.gz");
    let mut builder = SnapshotBuilder::new();
    let mut writer = Writer::create(&path).unwrap();
    for record in records {
        builder.record(record);
        writer.record(record);
    }
    for gap in gaps {
        builder.gap(gap.clone());
        writer.gap(gap.clone());
    }
    writer.finish(at(1000), "0.0.0").unwrap();
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["b.tar.gz"], "no temporary file is left");
    (builder.finish(at(1000)), load(&path).unwrap())
}

/// The snapshot as data, without what nobody asked for: there a bundle only knows that it holds nothing.
fn facts(snapshot: &Snapshot) -> Value {
    let mut value = serde_json::to_value(snapshot).unwrap();
    forget_not_asked(&mut value);
    value
}

fn forget_not_asked(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.retain(|it| it["why"] != "NotAsked");
            values.iter_mut().for_each(forget_not_asked);
        }
        Value::Object(map) if map.get("why").is_some_and(|why| why == "NotAsked") => {
            map.remove("detail");
        }
        Value::Object(map) => map.values_mut().for_each(forget_not_asked),
        _ => {}
    }
}

fn list(plural: &str, group: &str) -> RecordKey {
    RecordKey::List(Resource::new(plural, group))
}

#[test]
fn a_live_run_survives_in_its_bundle() {
    let full = Extent::default;
    let selected = |selector: &str| Extent { selector: Some(selector.to_owned()), ..full() };
    let pods = |names: &[&str], more: &str| {
        let items: Vec<Value> = names.iter().map(|it| json!({"metadata": {"name": it, "namespace": "n", "managedFields": [{}], "labels": null}})).collect();
        json!({"kind": "PodList", "metadata": {"continue": more}, "items": items}).to_string()
    };
    let maps = json!({"items": [{"metadata": {"name": "kube-root-ca.crt", "namespace": "kube-system"}, "data": {"ca.crt": "pem\n"}},
        {"metadata": {"name": "app", "namespace": "n"}, "data": {"k": "hunter2"}},
        {"metadata": {"name": "odd", "namespace": "n"}, "data": "hunter2"}]});
    let sets = json!({"items": [{"metadata": {"name": "calico-node", "namespace": "kube-system"}, "spec": {"template": {"spec": {"containers": [
        {"name": "calico-node", "image": "calico/node:v3.28.5", "env": [{"name": "SOME_PASSWORD", "value": "hunter2"}]}]}}}}]});
    let probe = "@@calico-kubeconfig rc=0 ms=1\nusers:\n- user:\n    token: eyJhIjoxfQ.eyJleHAiOjF9.c2lnbmF0dXJl\n@@end\n@@x rc=0 ms=0\ncut";
    let records: Vec<Record> = (1..=11).map(|n| record(list("pods", ""), pods(&[&format!("p{n}"), "same"], "more"), full(), n)).chain([
        record(list("pods", ""), pods(&["last"], ""), full(), 12),
        record(list("configmaps", ""), maps.to_string(), selected("namespace=kube-system"), 13),
        record(list("daemonsets", "apps"), sets.to_string(), selected("labelSelector=k8s-app=calico-node"), 14),
        record(list("events", ""), "{\"items\": [", Extent { complete: false, ..full() }, 15),
        record(list("nodes", ""), json!({"items": [{"metadata": {"name": "w1"}}, {"metadata": {"name": "w2"}}]}).to_string(), full(), 16),
        record(list("namespaces", ""), json!({"items": [{"metadata": {"name": "kube-system", "uid": "u"}}]}).to_string(), Extent { form: Form::Metadata, ..full() }, 17),
        record(list("serviceaccounts", ""), "kind: List\nitems:\n- metadata: {name: calico-cni-plugin, namespace: kube-system, uid: u2}\n", Extent { resource_version: Some("7".to_owned()), ..full() }, 18),
        record(list("secrets", ""), "{\"items\": []}", full(), 19),
        record(RecordKey::Api("/version".to_owned()), json!({"gitVersion": "v1.34.4"}).to_string(), full(), 20),
        record(RecordKey::Api("/openid/v1/jwks".to_owned()), json!({"keys": [{"kid": "k1"}]}).to_string(), full(), 21),
        record(RecordKey::Probe("w1".to_owned()), probe, full(), 22),
        record(RecordKey::Log { namespace: "n".to_owned(), pod: "p".to_owned(), container: "c".to_owned(), previous: true }, "password=hunter2", full(), 23),
    ]).collect();
    let gaps = [
        Gap::new("nodes/w2/probe.txt", GapReason::Forbidden, "no"),
        Gap::new("cluster/ippools.crd.projectcalico.org.json", GapReason::NotServed, "404"),
        Gap::new("cluster/events.json", GapReason::Other("Moved".to_owned()), "x"),
    ];
    let (live, read) = both(&records, &gaps);
    let mut expected = facts(&live);
    // The writer tells that it refuses to hold what was never read into the snapshot either.
    let all = expected["gaps"].as_array_mut().unwrap();
    all.push(json!({"what": "cluster/secrets.json", "why": "Redacted", "detail": "bundles hold no objects of this kind"}));
    all.sort_by_key(|gap| gap["what"].as_str().unwrap().to_owned());
    assert_eq!(facts(&read), expected);
    let names: Vec<_> = live.pods.items.iter().map(|it| it.metadata.name.as_str()).collect();
    assert_eq!(
        names,
        ["p1", "same", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "last"]
    );
    assert!(live.pods.is_whole() && read.pods.is_whole());
    assert_eq!(live.pods.at, Some(at(12)));
    assert!(!expected.to_string().contains("hunter2"), "{expected}");
}

#[test]
fn the_file_holds_no_secret_and_is_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        let mut writer = Writer::create(&path).unwrap();
        let pods = json!({"items": [{"metadata": {"name": "a", "annotations": {"x": "password=hunter2"}}}]});
        writer.record(&record(list("pods", ""), pods.to_string(), Extent::default(), 1));
        writer.record(&record(RecordKey::Probe("../../w".to_owned()), "x", Extent::default(), 1));
        writer.finish(at(2), "0.0.0").unwrap();
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &std::fs::metadata(&path).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::read(path).unwrap()
    };
    let first = write("a.tar.gz");
    assert_eq!(first, write("a.tar.gz"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(first.as_slice()), &mut text)
        .unwrap();
    assert!(!text.contains("hunter2") && text.contains("password=REDACTED"));
    assert!(text.contains("cannot be the name of a file"));
}

#[test]
fn nothing_is_left_of_a_writer_that_never_finished() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Writer::create(&folder.path().join("b.tar.gz")).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let error = Writer::create(&folder.path().join("missing/b.tar.gz")).unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
}

prop_compose! {
    fn any_list()(
        kind in proptest::sample::select(vec![("pods", ""), ("nodes", ""), ("events", ""), ("configmaps", ""), ("deployments", "apps"), ("ippools", "crd.projectcalico.org"), ("ippools", "projectcalico.org"), ("customresourcedefinitions", "apiextensions.k8s.io")]),
        names in proptest::collection::vec("[ab]|calico-node|ippools\\.(crd\\.)?projectcalico\\.org", 0..3),
        odd in proptest::sample::select(vec![json!({}), json!({"labels": null}), json!({"labels": 7}), json!({"uid": "x"})]),
        selector in proptest::option::of("namespace=[ab]"),
        form in proptest::sample::select(vec![Form::Full, Form::Full, Form::Metadata, Form::Table]),
        complete in proptest::bool::weighted(0.8),
        more in proptest::sample::select(vec!["", "", "x"]),
        seconds in 0i64..100,
    ) -> Record {
        let items: Vec<Value> = names.iter().enumerate().map(|(n, name)| {
            let mut metadata = if n == 0 { odd.clone() } else { json!({}) };
            metadata["name"] = json!(name);
            json!({"metadata": metadata, "data": {"k": "v"}, "message": "token: eyJh.eyJi.c2ln"})
        }).collect();
        let body = json!({"kind": "List", "metadata": {"continue": more}, "items": items}).to_string();
        record(list(kind.0, kind.1), body, Extent { selector, form, resource_version: None, complete }, seconds)
    }
}

fn any_record() -> impl Strategy<Value = Record> {
    let api = (
        proptest::sample::select(vec!["/version", "/apis", "/openid/v1/jwks"]),
        proptest::sample::select(vec![
            "{}",
            r#"{"gitVersion":"v1"}"#,
            r#"{"groups":[{"name":"projectcalico.org"}]}"#,
            "no",
        ]),
    )
        .prop_map(|(path, body)| {
            record(RecordKey::Api(path.to_owned()), body, Extent::default(), 1)
        });
    let probe = (
        "[ab]",
        "(@@a rc=0 ms=1\n|@@end\n|@@vantage rc=0 ms=0\ncalico-node\n@@end\n|x\n|@@x\n){0,5}",
    )
        .prop_map(|(node, body)| record(RecordKey::Probe(node), body, Extent::default(), 1));
    prop_oneof![4 => any_list(), 1 => api, 1 => probe]
}

fn any_gap() -> impl Strategy<Value = Gap> {
    let what = proptest::sample::select(vec![
        "cluster/pods.json",
        "cluster/*.crd.projectcalico.org.json",
        "nodes/a/probe.txt",
        "nodes/c/probe.txt",
        "cluster/api/version.json",
    ]);
    let why = proptest::sample::select(vec![
        GapReason::Forbidden,
        GapReason::NotServed,
        GapReason::TimedOut,
        GapReason::Other("Odd".to_owned()),
    ]);
    (what, why, "[xy]").prop_map(|(what, why, detail)| Gap::new(what, why, detail))
}

#[cfg(unix)]
#[test]
fn a_pipe_gets_the_bundle_and_stays_a_pipe() {
    use std::os::unix::fs::FileTypeExt as _;

    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    Writer::create(&pipe).unwrap().finish(at(0), "0.0.0").unwrap();
    assert!(reader.join().unwrap().starts_with(&[0x1f, 0x8b]), "the beginning of a gzip file");
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_collected_is_read_back(
        records in proptest::collection::vec(any_record(), 0..8),
        gaps in proptest::collection::vec(any_gap(), 0..4),
    ) {
        let (live, read) = both(&records, &gaps);
        prop_assert_eq!(facts(&live), facts(&read));
    }
}
