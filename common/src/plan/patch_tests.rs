//! Patches, as a plan writes them down.

use serde_json::{Value, json};

use super::{Aim, JsonPatch, PatchOperation, pointer};

fn apply(patch: &JsonPatch, object: &Value) -> Value {
    let mut after = object.clone();
    for operation in &patch.0 {
        match operation {
            PatchOperation::Test { path, value } => assert_eq!(after.pointer(path), Some(value)),
            PatchOperation::Add { path, value } => {
                let (parent, name) = path.rsplit_once('/').unwrap();
                match after.pointer_mut(parent).expect("RFC 6902 makes no parents") {
                    Value::Array(list) => list.push(value.clone()),
                    Value::Object(map) => {
                        map.insert(name.replace("~1", "/").replace("~0", "~"), value.clone());
                    }
                    other => panic!("{other} has no members"),
                }
            }
            PatchOperation::Remove { path } => {
                let (parent, name) = path.rsplit_once('/').unwrap();
                match after.pointer_mut(parent).unwrap() {
                    Value::Array(list) => drop(list.remove(name.parse().unwrap())),
                    Value::Object(map) => {
                        map.remove(&name.replace("~1", "/").replace("~0", "~"))
                            .expect("it is there");
                    }
                    other => panic!("{other} has no members"),
                }
            }
        }
    }
    after
}

fn annotation() -> String {
    pointer(&["metadata", "annotations", "projectcalico.org/IPv4Address"])
}

fn ready(patch: &JsonPatch, object: &Value) -> JsonPatch {
    match patch.aim(object) {
        Aim::Ready(patch) => patch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_written_as_the_rfc_says() {
    let patch = JsonPatch::default().change("/spec/unschedulable", Some(json!(true)), None);
    let text = r#"[{"op":"test","path":"/spec/unschedulable","value":true},{"op":"remove","path":"/spec/unschedulable"}]"#;
    assert_eq!(serde_json::to_string(&patch).unwrap(), text);
    assert_eq!(serde_json::from_str::<JsonPatch>(text).unwrap(), patch);
    assert_eq!(pointer(&["a~b", "c/d"]), "/a~0b/c~1d");
    // What it does not know it does not take for something else.
    assert!(
        serde_json::from_str::<JsonPatch>(r#"[{"op":"copy","from":"/a","path":"/b"}]"#).is_err()
    );
}

#[test]
fn a_change_and_its_undo_lead_there_and_back() {
    let bare = json!({"metadata": {"uid": "u"}});
    let there = JsonPatch::default().change(&annotation(), None, Some(json!("10.0.0.1/24")));
    let changed = apply(&ready(&there, &bare), &bare);
    assert_eq!(changed["metadata"]["annotations"]["projectcalico.org/IPv4Address"], "10.0.0.1/24");
    assert_eq!(there.aim(&changed), Aim::AlreadyRight, "twice is once");
    let back = JsonPatch::default().change(&annotation(), Some(json!("10.0.0.1/24")), None);
    let restored = apply(&ready(&back, &changed), &changed);
    assert_eq!(restored["metadata"]["annotations"], json!({}));
    assert_eq!(back.aim(&restored), Aim::AlreadyRight);
    assert_eq!(back.aim(&bare), Aim::AlreadyRight, "no annotations at all");
}

#[test]
fn what_changed_since_is_refused_with_what_stands_there() {
    let cordon = JsonPatch::default()
        .change("/spec/unschedulable", None, Some(json!(true)))
        .change("/metadata/annotations/ours", None, Some(json!("run")));
    // Somebody else cordoned it: it must not become ours.
    let cordoned = json!({"metadata": {}, "spec": {"unschedulable": true}});
    let refused = cordon.aim(&cordoned);
    assert_eq!(refused, Aim::Refused("/spec/unschedulable is true, not absent".into()));
    let patch = JsonPatch::default().change("/a", Some(json!("x")), None);
    assert_eq!(patch.aim(&json!({"a": "y"})), Aim::Refused(r#"/a is "y", not "x""#.into()));
}

fn remove_condition() -> JsonPatch {
    let mut patch =
        JsonPatch::default().test("/status/conditions/0/type", json!("NetworkUnavailable"));
    patch.0.push(PatchOperation::Remove { path: "/status/conditions/0".into() });
    patch
}

#[test]
fn an_element_of_a_list_is_found_wherever_it_stands() {
    let unavailable = json!({"type": "NetworkUnavailable", "status": "True"});
    let ready_condition = json!({"type": "Ready"});
    let patch = remove_condition();
    for list in [json!([unavailable, ready_condition]), json!([ready_condition, unavailable])] {
        let node = json!({"status": {"conditions": list}});
        let after = apply(&ready(&patch, &node), &node);
        assert_eq!(after["status"]["conditions"], json!([ready_condition]));
        assert_eq!(patch.aim(&after), Aim::AlreadyRight);
    }
    for node in [json!({}), json!({"status": {"conditions": []}})] {
        assert_eq!(patch.aim(&node), Aim::AlreadyRight, "{node}");
    }
    let blind = JsonPatch(vec![PatchOperation::Remove { path: "/status/conditions/0".into() }]);
    let node = json!({"status": {"conditions": [unavailable]}});
    assert!(matches!(blind.aim(&node), Aim::Refused(why) if why.contains("which element")));
}

#[test]
fn an_element_that_was_taken_away_is_put_back_once() {
    let unavailable = json!({"type": "NetworkUnavailable"});
    let undo = JsonPatch(vec![PatchOperation::Add {
        path: "/status/conditions/-".into(),
        value: unavailable.clone(),
    }]);
    for node in [json!({}), json!({"status": {"conditions": [{"type": "Ready"}]}})] {
        let after = apply(&ready(&undo, &node), &node);
        let list = after["status"]["conditions"].as_array().unwrap();
        assert!(list.contains(&unavailable), "{after}");
        assert_eq!(undo.aim(&after), Aim::AlreadyRight);
    }
}

#[test]
fn it_is_sent_for_the_object_that_was_looked_at_only() {
    let patch = remove_condition().only_for("u1", "77");
    let node = json!({"metadata": {"uid": "u1", "resourceVersion": "77"},
        "status": {"conditions": [{"type": "NetworkUnavailable"}]}});
    assert!(matches!(patch.aim(&node), Aim::Ready(_)));
    let mut other = node.clone();
    other["metadata"]["uid"] = json!("u2");
    assert!(matches!(patch.aim(&other), Aim::Refused(why) if why.contains("/metadata/uid")));
}

#[test]
fn removals_of_what_is_gone_are_not_sent() {
    let mut patch = JsonPatch::default().change("/a", Some(json!(1)), None);
    patch.0.push(PatchOperation::Remove { path: "/b".into() });
    let sent = ready(&patch, &json!({"a": 1}));
    assert_eq!(apply(&sent, &json!({"a": 1})), json!({}));
}
