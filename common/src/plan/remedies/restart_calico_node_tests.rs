//! Tests of the restart's steps, on diagnoses built by hand.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;

use super::super::fixtures::*;
use crate::findings::{Code, Diagnosis, Subject};
use crate::plan::{Action, Condition, Plan, Step};
use crate::snapshot::{Gap, GapReason, Snapshot};

#[test]
fn the_node_with_hanging_pods_is_the_canary() {
    let plan = plan(&snapshot(3), &recreated(), &[]);
    assert_eq!(nodes(&plan), ["node2", "node1", "node3"]);
    assert_eq!(plan.left_out, []);
    assert_eq!(plan.steps[0].after, []);
    assert_eq!(plan.steps[1].after, [plan.steps[0].id.clone()]);
    assert_eq!(plan.steps[2].after, [plan.steps[1].id.clone()]);
    let Action::Delete { object, uid } = &plan.steps[0].action else { panic!("no deletion") };
    assert_eq!(
        (object.name.as_str(), uid.as_str()),
        ("calico-node-node2", "uid-calico-node-node2")
    );
    // The pods are known by uid, sorted, and only those of the finding; nodes without any promise nothing about pods.
    let last = |step: &Step| step.verify.last().map(|it| it.condition.clone());
    let Some(Condition::PodsSettled { pods, .. }) = last(&plan.steps[0]) else {
        panic!("{plan:?}")
    };
    let uids: Vec<&str> = pods.iter().map(|it| it.uid.as_str()).collect();
    assert_eq!(uids, ["uid-web-1", "uid-web-2"]);
    assert!(matches!(last(&plan.steps[1]), Some(Condition::CniCredentialsAccepted { .. })));
}

#[test]
fn the_same_input_gives_the_same_plan() {
    let text = |plan: &Plan| serde_json::to_string(plan).unwrap();
    let first = plan(&snapshot(3), &recreated(), &[]);
    let mut shuffled = snapshot(3);
    shuffled.pods.items.reverse();
    shuffled.nodes.items.reverse();
    assert_eq!(text(&first), text(&plan(&shuffled, &recreated(), &[])));
    let back: Plan = serde_json::from_str(&text(&first)).unwrap();
    assert_eq!(back, first);
}

#[test]
fn two_findings_on_a_node_make_one_step_that_verifies_both() {
    let missing = finding(NO_CONFIGURATION, Subject::nodes(["node1"]), "missing", true);
    let both = diagnosis(vec![(rejected(&["node1"]), vec![]), (missing, vec![])]);
    let plan = plan(&snapshot(1), &both, &[]);
    assert_eq!(nodes(&plan), ["node1"]);
    assert_eq!(plan.steps[0].resolves.len(), 2);
    let kinds: Vec<bool> = plan.steps[0]
        .verify
        .iter()
        .map(|it| matches!(it.condition, Condition::NodeNetworkReady { .. }))
        .collect();
    assert_eq!(kinds, [false, false, true]);
}

#[test]
fn a_dead_kubelet_is_left_out_and_an_unready_one_is_not() {
    let mut dead = snapshot(2);
    dead.nodes.items[0] = node("node1", "Unknown");
    let one = diagnosis(vec![(rejected(&["node1", "node2"]), vec![])]);
    let without = plan(&dead, &one, &[]);
    assert_eq!(nodes(&without), ["node2"]);
    assert!(why(&without).starts_with("node1: its kubelet does not answer"), "{}", why(&without));
    // No CNI configuration makes a node unready while its kubelet is fine: that is what a restart repairs.
    dead.nodes.items[0] = node("node1", "False");
    assert_eq!(nodes(&plan(&dead, &one, &[])), ["node1", "node2"]);
}

#[test]
fn a_pod_that_nobody_would_put_back_is_not_deleted() {
    let one = diagnosis(vec![(rejected(&["node1"]), vec![])]);
    let refuses = |change: &dyn Fn(&mut Snapshot), reason: &str| {
        let mut it = snapshot(1);
        change(&mut it);
        let plan = plan(&it, &one, &[]);
        assert_eq!(plan.steps, [], "{reason}");
        assert!(why(&plan).contains(reason), "{} lacks {reason}", why(&plan));
    };
    refuses(&|it| it.pods.items.clear(), "no calico-node pod");
    refuses(&|it| it.pods.items[0].metadata.owner_references.clear(), "belongs to no DaemonSet");
    refuses(&|it| it.daemon_sets.items.clear(), "no longer exists");
    refuses(
        &|it| it.daemon_sets.items[0].metadata.deletion_timestamp = Some(Timestamp::UNIX_EPOCH),
        "is being deleted",
    );
    refuses(
        &|it| {
            it.daemon_sets.items.clear();
            it.daemon_sets.gap = Some(Gap::new("x", GapReason::Forbidden, "forbidden to you"));
        },
        "could not be read: forbidden to you",
    );
    refuses(&|it| it.nodes.items.clear(), "the node no longer exists");
    refuses(
        &|it| it.service_accounts.items.clear(),
        "kube-system/calico-cni-plugin does not exist",
    );
}

#[test]
fn only_what_was_asked_for_is_repaired() {
    let named = plan(&snapshot(3), &recreated(), &[CREDENTIALS]);
    assert_eq!(named.steps.len(), 3);
    let other = plan(&snapshot(3), &recreated(), &[NO_CONFIGURATION]);
    assert_eq!(other.steps, []);
    assert_eq!(other.left_out.len(), 2);
    // A symptom by itself cannot be repaired: the reason names its cause.
    let symptom = plan(&snapshot(3), &recreated(), &[STUCK]);
    assert_eq!(symptom.steps, []);
    assert!(why(&symptom).contains("follows from CAL-CNI-006"), "{}", why(&symptom));
}

#[test]
fn a_finding_without_remedy_says_where_to_read_on() {
    let root = finding(Code("CAL-INS-001"), Subject::cluster(), "none", false);
    let plan = plan(&snapshot(1), &diagnosis(vec![(root, vec![])]), &[]);
    assert_eq!(plan.steps, []);
    assert_eq!(why(&plan), "no automatic repair; `explain CAL-INS-001` says what a person can do");
}

fn any_diagnosis() -> impl Strategy<Value = Diagnosis> {
    let node = || prop::collection::btree_set(1..7_u8, 0..4);
    let root =
        (node(), any::<bool>(), node(), any::<bool>()).prop_map(|(on, ours, hung, hangs)| {
            let names =
                |on: &BTreeSet<u8>| on.iter().map(|it| format!("node{it}")).collect::<Vec<_>>();
            let root = finding(CREDENTIALS, Subject::nodes(names(&on)), "some", ours);
            let mut symptom = stuck(&["shop/web-1"], "node2");
            symptom.nodes = names(&hung);
            (root, if hangs { vec![symptom] } else { vec![] })
        });
    prop::collection::vec(root, 0..4).prop_map(diagnosis)
}

proptest! {
    /// Six nodes may be named, four exist: some findings can be repaired only in part, or not at all.
    #[test]
    fn every_finding_is_resolved_or_left_out_and_order_holds(it in any_diagnosis()) {
        let plan = plan(&snapshot(4), &it, &[]);
        for finding in it.findings() {
            let id = finding.id.to_string();
            let resolved = plan.steps.iter().any(|step| step.resolves.contains(&id));
            let left_out = plan.left_out.iter().any(|out| out.finding == id);
            prop_assert!(resolved || left_out, "{id} is lost in {plan:?}");
        }
        let mut done = BTreeSet::new();
        for step in &plan.steps {
            prop_assert!(step.after.iter().all(|id| done.contains(id)));
            prop_assert!(done.insert(step.id.clone()), "two steps are called {}", step.id);
            prop_assert!(!step.verify.is_empty() && !step.guards.is_empty());
        }
    }
}
