//! Kills a run that changes objects, wishes pods away and backs up a node at every one of its requests, before and after
//! they were carried out, and lets others finish the work or take it back.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::api_simulation::{
    BACK_UP, CLUSTER, NEVER, PATCH, Work, World, node_uid, path, pods, process,
};
use super::backup;
use super::journal::{find, unfinished_runs};
use super::simulation::once_given_up;
use crate::plan::{
    Action, Applicability, BackupFacts, Condition, Guard, JsonPatch, ObjectRef, Outcome,
    PatchOperation, Plan, PlanId, PodRef, RunResult, Step, StepId, StepState, Target, Undo,
    Verification,
};
use crate::snapshot::Known;

const RUN: &str = "01RUN";
/// Pods that are deleted: more than are asked for one by one.
const DELETED: usize = 12;
const EVICTED: usize = 3;

fn all_pods() -> Vec<PodRef> {
    [pods("evicted", EVICTED), pods("deleted", DELETED)].concat()
}

fn patched(patch: JsonPatch, undo: JsonPatch, part: Option<&str>) -> (Action, Undo, Condition) {
    let object = ObjectRef {
        group: String::new(),
        version: "v1".into(),
        plural: "nodes".into(),
        namespace: String::new(),
        name: "n1".into(),
    };
    let (uid, subresource) = (node_uid(), part.map(str::to_owned));
    (
        Action::Patch {
            object: object.clone(),
            uid: uid.clone(),
            patch: patch.clone(),
            subresource: subresource.clone(),
        },
        Undo::Patch { object: object.clone(), uid: uid.clone(), patch: undo, subresource },
        Condition::Patched { object, uid, patch },
    )
}

fn cordon() -> (Action, Undo, Condition) {
    let there = JsonPatch::default().change("/spec/unschedulable", None, Some(json!(true))).change(
        "/metadata/annotations/ours",
        None,
        Some(json!(RUN)),
    );
    let back = JsonPatch::default()
        .change("/metadata/annotations/ours", Some(json!(RUN)), None)
        .change("/spec/unschedulable", Some(json!(true)), None);
    patched(there, back, None)
}

fn take_condition() -> (Action, Undo, Condition) {
    let mut there =
        JsonPatch::default().test("/status/conditions/0/type", json!("NetworkUnavailable"));
    there.0.push(PatchOperation::Remove { path: "/status/conditions/0".into() });
    let back = JsonPatch(vec![PatchOperation::Add {
        path: "/status/conditions/-".into(),
        value: json!({ "type": "NetworkUnavailable", "status": "True" }),
    }]);
    patched(there, back, Some("status"))
}

/// Backs up a node, cordons it, empties it, and takes a condition from it. Archives go below `directory`.
fn plan(id: &str, directory: &Path) -> Plan {
    let (evicted, deleted) = (pods("evicted", EVICTED), pods("deleted", DELETED));
    let gone = |pods: &[PodRef]| Condition::PodsGone { pods: pods.to_vec() };
    let lost = || Undo::Impossible { why: "pods do not come back".into() };
    let (node, archives) = ("n1".to_owned(), archives(directory));
    let steps = [
        (
            Action::BackUp { node: node.clone(), directory: archives.clone() },
            Undo::NotNeeded { why: "it only reads".into() },
            Condition::BackedUp { node, directory: archives },
        ),
        cordon(),
        (
            Action::Evict { pods: evicted.clone(), grace_seconds: None, within_seconds: 60 },
            lost(),
            gone(&evicted),
        ),
        (
            Action::DeletePods { pods: deleted.clone(), grace_seconds: None, max_parallel: 4 },
            lost(),
            gone(&deleted),
        ),
        take_condition(),
    ];
    let step = |(n, (action, undo, condition)): (usize, (Action, Undo, Condition))| Step {
        id: StepId(format!("step-{n}")),
        title: format!("step {n}"),
        node: Some("n1".into()),
        action,
        guards: vec![Guard::SameCluster { uid: CLUSTER.into() }],
        undo,
        verify: vec![Verification { condition, within_seconds: 6000 }],
        after: vec![],
        resolves: vec![],
        applicability: Applicability::Ask,
    };
    Plan {
        id: PlanId(id.into()),
        made_by: "test/1".into(),
        target: Target {
            cluster_uid: CLUSTER.into(),
            context: String::new(),
            cluster_name: String::new(),
            server: String::new(),
            user: String::new(),
        },
        taken: Timestamp::UNIX_EPOCH,
        steps: steps.into_iter().enumerate().map(step).collect(),
        left_out: vec![],
        max_failures: 1,
    }
}

fn archives(directory: &Path) -> String {
    directory.join("archives").display().to_string()
}

/// A run that dies at this half request; none when it died.
async fn run(world: &Arc<World>, directory: &Path, kill_at: usize) -> Option<Outcome> {
    process(world, directory, Work::Run(&plan(RUN, directory)), kill_at).await
}

async fn finish(world: &Arc<World>, directory: &Path, work: Work<'_>, about: &str) {
    let ended = process(world, directory, work, NEVER).await.unwrap();
    assert_eq!(ended.result, RunResult::Done, "{about}: {ended:#?}");
}

/// The last that the journal says of each step.
fn states(directory: &Path) -> Vec<StepState> {
    once_given_up(directory);
    let recorded = find(directory, CLUSTER, RUN).unwrap().recorded;
    recorded.plan.steps.iter().map(|step| recorded.state(&step.id).clone()).collect()
}

/// How often pods were wished away beyond once each.
fn deletions_too_many(world: &World) -> u32 {
    all_pods().iter().map(|pod| world.done(&path(pod)).saturating_sub(1)).sum()
}

/// Everything is done, and nothing twice. `backups` are those that may have been made.
fn is_done(world: &World, directory: &Path, backups: u32, about: &str) {
    let node = world.node();
    assert_eq!(node["spec"]["unschedulable"], json!(true), "{about}");
    assert_eq!(node["metadata"]["annotations"]["ours"], json!(RUN), "{about}");
    assert_eq!(node["status"]["conditions"], json!([{ "type": "Ready" }]), "{about}");
    assert_eq!(world.done(PATCH), 2, "{about}");
    assert!(all_pods().iter().all(|pod| world.done(&path(pod)) > 0), "{about}");
    assert_eq!(deletions_too_many(world), 0, "{about}");
    let made = world.done(BACK_UP);
    assert!((1..=backups).contains(&made), "{about}: {made} backups");
    are_whole(directory, about);
}

/// There is an archive, and each is whole: nothing half written is left.
fn are_whole(directory: &Path, about: &str) {
    let archives = archives(directory);
    let mut count = 0;
    for entry in fs::read_dir(&archives).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let node = name.strip_suffix(".tar").unwrap_or_else(|| panic!("{about}: {name} is left"));
        let whole = Known::Known(BackupFacts { entries: 2 });
        assert_eq!(backup::look(&archives, node), whole, "{about}: {name}");
        count += 1;
    }
    assert!(count > 0, "{about}: there is no archive");
}

/// The node without the annotations: what held ours stays, empty.
fn without_annotations(mut node: Value) -> Value {
    let annotations = node["metadata"].as_object_mut().unwrap().remove("annotations");
    assert!(annotations.is_none_or(|it| it == json!({})), "annotations are left");
    node
}

/// Lets a run die at every point, each in a world of its own; `then` gets the world as it was, and what is in it now.
async fn at_every_death(then: impl AsyncFn(&str, &Value, &Arc<World>, &Path)) {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let world = World::new(&all_pods());
        let before = world.node();
        if run(&world, directory, deaths + 1).await.is_some() {
            is_done(&world, directory, 1, "nobody died");
            break;
        }
        deaths += 1;
        then(&format!("death {deaths}"), &before, &world, directory).await;
    }
    // Before and after: a guard and a look for each of five steps, two backups' halves, two looks at the node and two
    // patches, and a wish for each pod.
    let least = 2 * (5 + 5 + 1 + 4 + EVICTED + DELETED) - 2;
    assert!(deaths >= least, "only {deaths} points to die at, not {least}");
}

#[tokio::test]
async fn wherever_a_run_dies_it_is_gone_on_with_and_taken_back() {
    at_every_death(async |death, before, world, directory| {
        let at_death = states(directory);
        assert!(at_death.iter().filter(|it| **it == StepState::Started).count() <= 1, "{death}");
        finish(world, directory, Work::Resume(RUN), death).await;
        // Only a backup that may not have been kept is made again.
        let again = u32::from(at_death[0] == StepState::Started);
        is_done(world, directory, 1 + again, death);
        finish(world, directory, Work::Undo(RUN), death).await;
        assert_eq!(without_annotations(world.node()), *before, "{death}");
        assert_eq!(world.done(PATCH), 4, "{death}");
        are_whole(directory, death);
    })
    .await;
}

#[tokio::test]
async fn wherever_a_run_dies_it_is_taken_back_at_once() {
    at_every_death(async |death, before, world, directory| {
        finish(world, directory, Work::Undo(RUN), death).await;
        assert_eq!(without_annotations(world.node()), *before, "{death}");
        assert_eq!(world.done(PATCH) % 2, 0, "{death}: as often there as back");
        assert_eq!(unfinished_runs(directory, CLUSTER).unwrap(), [], "{death}");
    })
    .await;
}

#[tokio::test]
async fn wherever_a_run_dies_another_ends_at_the_same_state_without_its_journal() {
    at_every_death(async |death, _, world, directory| {
        once_given_up(directory);
        fs::remove_file(directory.join(format!("{RUN}.jsonl"))).unwrap();
        finish(world, directory, Work::Run(&plan("01NEW", directory)), death).await;
        is_done(world, directory, 2, death);
    })
    .await;
}

#[tokio::test]
async fn wherever_an_undo_dies_the_next_one_finishes_it() {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let world = World::new(&all_pods());
        let before = world.node();
        run(&world, directory, NEVER).await.unwrap();
        if process(&world, directory, Work::Undo(RUN), deaths + 1).await.is_some() {
            break;
        }
        deaths += 1;
        let death = format!("death {deaths}");
        finish(&world, directory, Work::Undo(RUN), &death).await;
        assert_eq!(without_annotations(world.node()), before, "{death}");
        assert_eq!(world.done(PATCH), 4, "{death}");
        assert_eq!(deletions_too_many(&world), 0, "{death}");
    }
    // A look and a patch for each of two steps, before and after.
    assert!(deaths >= 2 * (2 + 2) - 1, "only {deaths} points to die at");
}

#[tokio::test]
async fn what_others_changed_since_stays_as_they_made_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let world = World::new(&all_pods());
    run(&world, directory, NEVER).await.unwrap();
    // Another took the cordon over.
    world.change_node(|node| node["metadata"]["annotations"]["ours"] = json!("theirs"));
    let undone = process(&world, directory, Work::Undo(RUN), NEVER).await.unwrap();
    assert_eq!(undone.result, RunResult::Refused, "{undone:#?}");
    let condition = undone.steps.last().unwrap();
    assert_eq!(condition.state, StepState::Undone, "the condition is back all the same");
    let node = world.node();
    assert_eq!(node["spec"]["unschedulable"], json!(true));
    assert_eq!(node["metadata"]["annotations"]["ours"], json!("theirs"));
}

/// The control: did the uid not travel with each wish, a pod that took the place of another would go too, and this is seen.
#[tokio::test]
async fn without_preconditions_some_death_costs_a_pod_more() {
    let mut too_many = 0;
    for kill_at in 1.. {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let world = World::new(&all_pods());
        world.ignores_preconditions.store(true, Ordering::SeqCst);
        if run(&world, directory, kill_at).await.is_some() {
            break;
        }
        finish(&world, directory, Work::Resume(RUN), "control").await;
        too_many += deletions_too_many(&world);
    }
    assert!(too_many > 0, "nothing that these tests demand depends on the uid");
}
