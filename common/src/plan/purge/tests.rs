//! The plan as a whole: what is in it, in which order, and that a second run takes over what a first one began.

use serde_json::{Value, json};

use super::{Leaving, plan_all_state};
use crate::calico::names::{CORDONED_ANNOTATION, EXCLUDED_LABEL};
use crate::plan::safeguards::excluded_affinity;
use crate::plan::safeguards::fixtures::{CALICO, Scene, pod};
use crate::plan::{Action, Aim, Plan, PlanId, Step, Target, Undo};
use crate::residue::{Inventory, ResidueFacts, Scope, Surroundings, take_inventory};
use crate::slim::NodeCondition;
use crate::snapshot::{Gap, GapReason, HostFacts, Known};

/// A node with Calico's conflist, credentials and one directory.
fn inventory() -> Inventory {
    let file = |path: &str| format!("-rw------- 1 0 0 9 2026-11-21 12:00:00.0 +0000 {path}\n");
    let sum = |path: &str| format!("{}  {path}\n", "a".repeat(64));
    let (conflist, kubeconfig) =
        ("/etc/cni/net.d/10-calico.conflist", "/etc/cni/net.d/calico-kubeconfig");
    let scan = format!(
        "@@paths rc=0 ms=0\n{}{}drwxr-xr-x 2 0 0 9 2026-11-21 12:00:00.0 +0000 /var/lib/calico\n@@end\n\
         @@sha256 rc=0 ms=0\n{}{}@@end\n\
         @@conf-_etc_cni_net.d_10-calico.conflist rc=0 ms=0\n{}\n@@end\n",
        file(conflist),
        file(kubeconfig),
        sum(conflist),
        sum(kubeconfig),
        CALICO.1
    );
    let facts = ResidueFacts::from_scan("node2", scan.as_bytes());
    take_inventory(&facts, &Surroundings::unknown(Scope::AllState, "node2", Vec::new()))
}

fn scene() -> Scene {
    let mut scene = Scene::seen();
    let pods = &mut scene.snapshot.pods.items;
    pods.push(pod("shop", "agent", "node2", "DaemonSet"));
    let mut calico = pod("kube-system", "calico-node-x", "node2", "DaemonSet");
    calico.spec.host_network = true;
    calico.metadata.labels.insert("k8s-app".into(), "calico-node".into());
    pods.push(calico);
    let node = &mut scene.snapshot.nodes.items[1];
    node.metadata.annotations.insert("projectcalico.org/IPv4Address".into(), "192.0.2.2".into());
    node.status.conditions.push(NodeCondition {
        kind: "NetworkUnavailable".into(),
        reason: "CalicoIsUp".into(),
        ..NodeCondition::default()
    });
    let probe = r#"@@vantage rc=0 ms=0
host
@@end
@@crictl-pods rc=0 ms=0
{"items":[{"id":"s1","metadata":{"name":"agent","uid":"uid-agent","namespace":"shop","attempt":0},"state":"SANDBOX_READY","createdAt":"1"},
{"id":"s2","metadata":{"name":"etcd","uid":"hash","namespace":"kube-system","attempt":0},"state":"SANDBOX_READY","createdAt":"1"},
{"id":"s3","metadata":{"name":"calico-node-x","uid":"uid-calico-node-x","namespace":"kube-system","attempt":0},"state":"SANDBOX_READY","createdAt":"1"}]}
@@end
"#;
    let (facts, _) = HostFacts::from_probe("node2", probe.as_bytes());
    assert_eq!(facts.sandboxes.known().map(Vec::len), Some(3), "{:?}", facts.sandboxes);
    scene.snapshot.hosts.insert("node2".into(), Known::Known(facts));
    scene
}

fn plan_of(scene: &Scene, run: &str, nodes: &[(String, Option<Inventory>)]) -> Plan {
    let text = |it: &str| it.to_owned();
    let target = Target {
        cluster_uid: text("uid"),
        context: text("c"),
        cluster_name: text("c"),
        server: text("https://192.0.2.1:6443"),
        user: text("admin"),
    };
    plan_all_state(&Leaving {
        run: &PlanId(run.to_owned()),
        made_by: "test",
        target: &target,
        snapshot: &scene.snapshot,
        circumstances: &scene.circumstances,
        nodes,
        backup: "/backup",
        max_failures: 1,
    })
}

fn plan(scene: &Scene, run: &str) -> Plan {
    plan_of(scene, run, &[("node2".to_owned(), Some(inventory()))])
}

fn step<'a>(plan: &'a Plan, id: &str) -> &'a Step {
    plan.steps.iter().find(|it| it.id.0 == id).unwrap_or_else(|| panic!("no step {id}"))
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|it| it.id.0.as_str()).collect()
}

#[test]
fn the_order_wedges_no_pod() {
    let plan = plan(&scene(), "01A");
    assert_eq!(
        ids(&plan),
        [
            "keep-off/calico-node",
            "back-up/node2",
            "cordon/node2",
            "exclude/node2",
            "evict/node2",
            "remove-file-1/node2",
            "delete-daemon-pods/node2",
            "free-sandboxes/node2",
            "remove-directory-2/node2",
            "remove-file-3/node2",
            "remove-annotations/node2",
            "remove-condition/node2",
            "uncordon/node2"
        ]
    );
    for (before, step) in plan.steps.iter().zip(&plan.steps[1..]) {
        assert_eq!(step.after, std::slice::from_ref(&before.id));
        assert_eq!(step.node.as_deref(), Some("node2"));
    }
    // Only pods with a network of their own are touched.
    let Action::Evict { pods, .. } = &step(&plan, "evict/node2").action else { panic!() };
    assert_eq!(pods.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["web-1"]);
    let Action::DeletePods { pods, .. } = &step(&plan, "delete-daemon-pods/node2").action else {
        panic!()
    };
    assert_eq!(pods.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["agent"]);
    let text = serde_json::to_string(&step(&plan, "free-sandboxes/node2").action).unwrap();
    assert!(text.contains("s1") && !text.contains("s2") && !text.contains("s3"), "{text}");
    // The credentials are the last of the host.
    let last = serde_json::to_string(&step(&plan, "remove-file-3/node2").action).unwrap();
    assert!(last.contains("calico-kubeconfig"), "{last}");
}

#[test]
fn what_calico_node_puts_back_needs_no_undo() {
    let plan = plan(&scene(), "01A");
    let undone: Vec<&str> =
        plan.steps.iter().filter(|it| it.undo.is_possible()).map(|it| it.id.0.as_str()).collect();
    assert_eq!(undone, ["keep-off/calico-node", "cordon/node2", "exclude/node2"]);
    let why = format!("{:?}", step(&plan, "remove-file-1/node2").undo);
    assert!(why.contains("calico-node makes it anew"), "{why}");
}

#[test]
fn without_calico_node_nothing_has_to_be_kept_off() {
    let mut scene = scene();
    scene.circumstances.node_agent = Known::Absent;
    let plan = plan(&scene, "01A");
    assert!(!ids(&plan).iter().any(|it| it.starts_with("keep-off") || it.starts_with("exclude")));
    assert!(matches!(step(&plan, "remove-file-1/node2").undo, Undo::Impossible { .. }));
    let gap = Gap::new("x", GapReason::Forbidden, "forbidden");
    scene.circumstances.node_agent = Known::Unknown(gap);
    let unseen = super::tests::plan(&scene, "01A");
    assert!(unseen.steps.is_empty() && unseen.left_out[0].why.contains("forbidden"));
}

#[test]
fn somebody_elses_cordon_stays() {
    let mut scene = scene();
    scene.snapshot.nodes.items[1].spec.unschedulable = true;
    let plan = plan(&scene, "01A");
    assert!(!ids(&plan).iter().any(|it| it.contains("cordon")), "{:?}", ids(&plan));
}

#[test]
fn a_dry_run_says_that_nobody_looked() {
    let plan = plan_of(&scene(), "01A", &[("node2".to_owned(), None)]);
    assert!(plan.left_out[0].why.contains("a dry run makes none"), "{:?}", plan.left_out);
    assert!(
        !ids(&plan).iter().any(|it| it.starts_with("remove-file") || it.starts_with("back-up"))
    );
    assert!(ids(&plan).contains(&"evict/node2"));
}

#[test]
fn the_canary_is_the_worker_with_the_fewest_pods() {
    let mut scene = scene();
    let master = "node-role.kubernetes.io/control-plane";
    let mut third = scene.snapshot.nodes.items[0].clone();
    third.metadata.name = "node0".into();
    third.metadata.labels.insert(master.into(), String::new());
    scene.snapshot.nodes.items.push(third);
    let all = ["node0", "node1", "node2"].map(|it| (it.to_owned(), None));
    let plan = plan_of(&scene, "01A", &all);
    let mut order: Vec<&str> = plan.steps.iter().filter_map(|it| it.node.as_deref()).collect();
    order.dedup();
    assert_eq!(order, ["node1", "node2", "node0"]);
}

#[test]
fn a_node_that_calico_has_left_is_left_alone() {
    let mut scene = Scene::seen();
    scene.snapshot.pods.items.clear();
    let empty = || [("node2".to_owned(), Some(Inventory::default()))];
    assert!(!plan_of(&scene, "01A", &empty()).steps.is_empty(), "calico-node may come");
    let set = json!({"metadata": {"name": "calico-node", "namespace": "kube-system", "uid": "u"},
        "spec": {"template": {"spec": {"affinity": excluded_affinity(None)}}}});
    scene.circumstances.node_agent =
        Known::from_option(crate::plan::safeguards::NodeAgent::of(&set));
    let labels = &mut scene.snapshot.nodes.items[1].metadata.labels;
    labels.insert(EXCLUDED_LABEL.into(), "01X".into());
    assert_eq!(ids(&plan_of(&scene, "01A", &empty())), Vec::<&str>::new());
    let annotations = &mut scene.snapshot.nodes.items[1].metadata.annotations;
    annotations.insert(CORDONED_ANNOTATION.into(), "01X".into());
    scene.snapshot.nodes.items[1].spec.unschedulable = true;
    let cordoned = plan_of(&scene, "01A", &empty());
    assert!(ids(&cordoned).contains(&"uncordon/node2"), "a cordon that nobody knows of");
}

/// The object after the step, or after its undo.
fn applied(object: &Value, patch: &crate::plan::JsonPatch) -> Value {
    let mut object = object.clone();
    match patch.aim(&object) {
        Aim::AlreadyRight => {}
        Aim::Refused(why) => panic!("refused: {why}"),
        Aim::Ready(patch) => {
            let patch: json_patch::Patch =
                serde_json::from_value(serde_json::to_value(patch).unwrap()).unwrap();
            json_patch::patch(&mut object, &patch).unwrap();
        }
    }
    object
}

fn patch_of(step: &Step) -> (&crate::plan::JsonPatch, &crate::plan::JsonPatch) {
    let (Action::Patch { patch, .. }, Undo::Patch { patch: undo, .. }) = (&step.action, &step.undo)
    else {
        panic!("{step:?}")
    };
    (patch, undo)
}

/// The scene's facts, read from these objects.
fn read(scene: &mut Scene, set: &Value, node: &Value) {
    scene.circumstances.node_agent =
        Known::from_option(crate::plan::safeguards::NodeAgent::of(set));
    let node: crate::slim::Node = serde_json::from_value(node.clone()).unwrap();
    scene.snapshot.nodes.items[1].metadata = node.metadata;
    scene.snapshot.nodes.items[1].spec = node.spec;
}

#[test]
fn undo_leaves_the_objects_as_they_were_also_after_a_run_that_was_cut_off() {
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": [{"matchExpressions": [{"key": "os", "operator": "Exists"}]}]}}});
    for template in [json!({}), json!({ "affinity": affinity })] {
        let set = json!({
            "metadata": {"name": "calico-node", "namespace": "kube-system", "uid": "u"},
            "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "template": {"spec": template}},
        });
        let node = json!({"metadata": {"name": "node2", "uid": "n", "labels": {"a": "b"},
            "annotations": {"c": "d"}}, "spec": {}});
        let mut scene = scene();
        read(&mut scene, &set, &node);
        let first = plan(&scene, "01A");
        let (patch, undo) = patch_of(step(&first, "keep-off/calico-node"));
        let changed = applied(&set, patch);
        assert_eq!(changed["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
        let now = changed.pointer("/spec/template/spec/affinity");
        assert_eq!(now, Some(&excluded_affinity(template.get("affinity"))));
        assert_eq!(without_empty(applied(&changed, undo)), set);
        let mut marked = node.clone();
        for id in ["cordon/node2", "exclude/node2"] {
            marked = applied(&marked, patch_of(step(&first, id)).0);
        }
        assert_eq!(marked["spec"]["unschedulable"], true);
        assert_eq!(marked["metadata"]["annotations"][CORDONED_ANNOTATION], "01A");
        assert_eq!(marked["metadata"]["labels"][EXCLUDED_LABEL], "01A");
        // It was killed here. The next run owns all of it, and its undo gives all of it back.
        read(&mut scene, &changed, &marked);
        let second = plan(&scene, "01B");
        let (patch, undo) = patch_of(step(&second, "keep-off/calico-node"));
        assert_eq!(without_empty(applied(&applied(&changed, patch), undo)), set);
        let mut again = marked.clone();
        for id in ["cordon/node2", "exclude/node2"] {
            again = applied(&again, patch_of(step(&second, id)).0);
        }
        for id in ["exclude/node2", "cordon/node2"] {
            again = applied(&again, patch_of(step(&second, id)).1);
        }
        assert_eq!(again, node);
    }
}

/// A patch leaves behind the empty map that it had to make.
fn without_empty(mut set: Value) -> Value {
    let metadata = set["metadata"].as_object_mut().unwrap();
    if metadata.get("annotations").is_some_and(|it| it == &json!({})) {
        metadata.remove("annotations");
    }
    set
}

#[test]
fn a_run_that_others_came_after_takes_nothing_back_from_them() {
    let mut scene = scene();
    let agent_of = |set: &Value| crate::plan::safeguards::NodeAgent::of(set);
    let set = json!({"metadata": {"name": "calico-node", "namespace": "kube-system", "uid": "u"},
        "spec": {"template": {"spec": {}}}});
    scene.circumstances.node_agent = Known::from_option(agent_of(&set));
    let first = plan(&scene, "01A");
    let (patch, undo_of_first) = patch_of(step(&first, "keep-off/calico-node"));
    let after_first = applied(&set, patch);
    // node1 is next, while node2 stays left.
    scene.circumstances.node_agent = Known::from_option(agent_of(&after_first));
    scene.snapshot.nodes.items[1].metadata.labels.insert(EXCLUDED_LABEL.into(), "01A".into());
    let second = plan_of(&scene, "01B", &[("node1".to_owned(), None)]);
    let (patch, undo_of_second) = patch_of(step(&second, "keep-off/calico-node"));
    let after_second = applied(&after_first, patch);
    assert!(matches!(undo_of_first.aim(&after_second), Aim::Refused(_)), "node1 needs it");
    assert_eq!(applied(&after_second, undo_of_second), after_first);
    assert_eq!(without_empty(applied(&after_first, undo_of_first)), set);
}
