//! Pods at the API, on a real cluster: a flood of finished ones is removed in one command; changes of objects and evictions
//! meet the rules of a real API server.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

mod flood;
mod interrupted;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::cluster::{Cluster, PodAnswer};
use common::execute::{
    ClusterOperations, Operations, PerformError, Performed, Prepared, StopSwitch, Underway,
};
use common::plan::{Action, Condition, JsonPatch, PatchOperation, PodRef, Verdict, judge, pointer};
use flood::{
    PARALLEL, Scratch, connect, left, left_by_owner, make_flood, make_floods, make_pod, object,
    requests, uid, wait_until_old, would_remove,
};
use serde_json::json;
use tests::story::{Plugin, demand};
use tests::testbed::{Testbed, wait_until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

type Done = Result<(), Box<dyn Error>>;

/// The flood: owner, kind, number of its pods.
const FLOOD: [(&str, &str, usize); 3] =
    [("ReplicaSet", "web", 1500), ("DaemonSet", "agent", 1000), ("Job", "migrate", 500)];
/// Pods without an owner.
const BARE: usize = 20;
/// Pods that are deleted without the plugin, for comparison.
const RAW: usize = 1000;
const NAMESPACE: &str = "e2e-pods";
const RAW_NAMESPACE: &str = "e2e-pods-raw";

/// The flood is gone but for what is kept without a flag, with a request for each.
fn is_removed(testbed: &Testbed, deletes: f64) -> Done {
    let left = left_by_owner(testbed, NAMESPACE)?;
    let kept = [("migrate".to_owned(), FLOOD[2].2), ("bare".to_owned(), BARE)];
    demand(left == kept.into(), "the Job's pods and bare ones are left, and no others", &left)?;
    let removed = FLOOD[0].2 + FLOOD[1].2;
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let removed = removed as f64;
    demand((removed..removed + 50.0).contains(&deletes), "one request for each pod", &deletes)?;
    Ok(())
}

/// Deletes pods without any plugin, as many at a time.
async fn delete_raw(cluster: &Cluster, pods: Vec<PodRef>) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    let places = Arc::new(Semaphore::new(PARALLEL));
    let mut deleting = JoinSet::new();
    for pod in pods {
        let (cluster, places) = (cluster.clone(), places.clone());
        deleting.spawn(async move {
            let _place = places.acquire_owned().await.map_err(|it| it.to_string())?;
            cluster.delete_pod(&pod, None, false).await.map_err(|it| it.to_string())
        });
    }
    while let Some(deleted) = deleting.join_next().await {
        if deleted?? != PodAnswer::Accepted {
            return Err("a pod of the comparison was gone already".into());
        }
    }
    Ok(began.elapsed())
}

#[test]
fn a_flood_of_finished_pods_is_removed_in_one_command() -> Done {
    let Some(testbed) = Testbed::for_test("a_flood_of_finished_pods")? else { return Ok(()) };
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(connect(&testbed))?;
    let (_lock, purge) = (testbed.lock_cluster()?, Plugin::purge(&testbed)?);
    let (_flood, _raw) =
        (Scratch::new(&testbed, NAMESPACE)?, Scratch::new(&testbed, RAW_NAMESPACE)?);

    let began = Instant::now();
    runtime.block_on(make_floods(&cluster, NAMESPACE, &FLOOD))?;
    let raw = runtime.block_on(make_flood(&cluster, RAW_NAMESPACE, "raw", RAW, None))?;
    runtime.block_on(make_flood(&cluster, NAMESPACE, "bare", BARE, None))?;
    let owned: usize = FLOOD.iter().map(|(_, _, count)| count).sum();
    demand(left(&testbed, NAMESPACE)? == owned + BARE, "the flood is there", &owned)?;
    println!("made {} finished pods in {} s", owned + BARE + RAW, began.elapsed().as_secs());

    // Control: what is younger than a minute is kept. The last ones made are.
    let all = ["--bare", "--jobs"];
    let young = would_remove(&purge, NAMESPACE, &all)?;
    demand(young < owned + BARE, "young pods are kept", &young)?;
    wait_until_old(&purge, NAMESPACE, &all, owned + BARE)?;
    let kept = FLOOD[2].2 + BARE;
    demand(
        would_remove(&purge, NAMESPACE, &[])? == owned - FLOOD[2].2,
        "Jobs and bare pods are kept",
        &kept,
    )?;
    let declined = purge.run(&["pods", "-n", NAMESPACE])?;
    demand(
        declined.code == 6 && left(&testbed, NAMESPACE)? == owned + BARE,
        "no yes, no deletion",
        &declined,
    )?;
    // Control: without purge the demands are not met.
    let without = is_removed(&testbed, 0.0);
    demand(without.is_err(), "nothing went by itself", &())?;

    let before = (
        runtime.block_on(requests(&cluster, "DELETE"))?,
        runtime.block_on(requests(&cluster, "LIST"))?,
    );
    let began = Instant::now();
    let ran = purge.run(&["pods", "-n", NAMESPACE, "--yes"])?;
    let took = began.elapsed();
    let deletes = runtime.block_on(requests(&cluster, "DELETE"))? - before.0;
    let lists = runtime.block_on(requests(&cluster, "LIST"))? - before.1;
    let removed = owned - FLOOD[2].2;
    demand(ran.code == 0, "it is done", &ran)?;
    is_removed(&testbed, deletes)?;
    println!("{}", ran.stdout);
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let (removed_f, raw_f) = (removed as f64, raw.len() as f64);

    let raw_took = runtime.block_on(delete_raw(&cluster, raw))?;
    let (ours, theirs) = (took.as_secs_f64() / removed_f, raw_took.as_secs_f64() / raw_f);
    println!(
        "pods: {removed} removed in {:.1} s ({:.2} ms each), {deletes} DELETE and {lists} LIST requests about pods; \
         raw deletes, {PARALLEL} at a time: {} in {:.1} s ({:.2} ms each); ratio {:.2}",
        took.as_secs_f64(),
        ours * 1e3,
        RAW,
        raw_took.as_secs_f64(),
        theirs * 1e3,
        ours / theirs,
    );
    demand(ours < 3.0 * theirs, "it is not much slower than deletions alone", &(ours, theirs))?;

    let again = purge.run(&["pods", "-n", NAMESPACE, "--yes"])?;
    demand(
        again.code == 0 && again.stdout.contains("no finished pods to remove"),
        "twice is once",
        &again,
    )?;
    let rest = purge.run(&["pods", "-n", NAMESPACE, "--yes", "--jobs", "--bare"])?;
    demand(rest.code == 0 && left(&testbed, NAMESPACE)? == 0, "asked for, they go as well", &rest)?;
    // Control: had it not chosen by owners from the start, the demand would have told.
    demand(is_removed(&testbed, deletes).is_err(), "the Job's and the bare ones are missed", &())?;
    Ok(())
}

struct Api<'a> {
    runtime: tokio::runtime::Runtime,
    cluster: &'a Cluster,
}

impl Api<'_> {
    fn perform(&self, action: &Action) -> Result<Performed, PerformError> {
        let (_switch, stop) = StopSwitch::new();
        let operations = ClusterOperations::new(self.cluster).written_by("e2e/1");
        let underway = Underway::new(&stop);
        self.runtime.block_on(operations.perform(action, &Prepared::default(), &underway))
    }

    fn judged(&self, condition: &Condition) -> Result<Verdict, Box<dyn Error>> {
        let operations = ClusterOperations::new(self.cluster);
        let seen = self.runtime.block_on(operations.observe(condition))?;
        Ok(judge(condition, &seen))
    }
}

#[test]
fn objects_are_changed_back_and_forth_and_races_are_run_again() -> Done {
    let Some(testbed) = Testbed::for_test("objects_are_changed")? else { return Ok(()) };
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(connect(&testbed))?;
    let _lock = testbed.lock_cluster()?;
    let api = Api { runtime, cluster: &cluster };
    let name = testbed.nodes().last().map(|it| it.name().to_owned()).ok_or("no node")?;
    let node = object("", "nodes", "", &name);
    let found = api.runtime.block_on(cluster.get_json(&node))?.ok_or("no such node")?;
    let uid = uid(&found);
    let annotation = pointer(&["metadata", "annotations", "e2e.example.org/a.b"]);
    let there = JsonPatch::default().change("/spec/unschedulable", None, Some(json!(true))).change(
        &annotation,
        None,
        Some(json!("1")),
    );
    let back = JsonPatch::default().change(&annotation, Some(json!("1")), None).change(
        "/spec/unschedulable",
        Some(json!(true)),
        None,
    );
    let patch = |patch: &JsonPatch, subresource: Option<&str>| Action::Patch {
        object: node.clone(),
        uid: uid.clone(),
        patch: patch.clone(),
        subresource: subresource.map(str::to_owned),
    };
    let cordoned = Condition::NodeSchedulable { node: name.clone(), is: false };
    assert_eq!(api.perform(&patch(&there, None)), Ok(Performed::Acted));
    assert_eq!(api.judged(&cordoned)?, Verdict::Met);
    assert!(matches!(api.perform(&patch(&there, None)), Ok(Performed::AlreadyRight(_))));
    assert_eq!(api.perform(&patch(&back, None)), Ok(Performed::Acted));
    assert!(matches!(api.judged(&cordoned)?, Verdict::NotYet(_)));
    assert!(matches!(api.perform(&patch(&back, None)), Ok(Performed::AlreadyRight(_))));
    // Somebody else changed it: refused, and left alone.
    let other = JsonPatch::default().change("/spec/podCIDR", Some(json!("203.0.113.0/24")), None);
    assert!(matches!(api.perform(&patch(&other, None)), Err(PerformError::Refused(_))));

    // An element of a list, in the status, wherever it stands.
    let condition = json!({ "type": "NetworkUnavailable", "status": "True", "reason": "CalicoIsDown",
        "message": "e2e", "lastHeartbeatTime": null, "lastTransitionTime": null });
    let add = JsonPatch(vec![PatchOperation::Add {
        path: "/status/conditions/-".into(),
        value: condition,
    }]);
    let mut remove = JsonPatch::default()
        .test("/status/conditions/0/type", json!("NetworkUnavailable"))
        .test("/status/conditions/0/message", json!("e2e"));
    remove.0.push(PatchOperation::Remove { path: "/status/conditions/0".into() });
    let has = || {
        testbed
            .field(&["node", &name], "{.status.conditions[*].message}")
            .map(|it| it.contains("e2e"))
    };
    let added = api.perform(&patch(&add, Some("status")));
    let (there, removed) = (has()?, api.perform(&patch(&remove, Some("status"))));
    assert_eq!((added, there, removed), (Ok(Performed::Acted), true, Ok(Performed::Acted)));
    assert!(!has()?, "the condition is gone");
    assert!(matches!(api.perform(&patch(&remove, Some("status"))), Ok(Performed::AlreadyRight(_))));
    Ok(())
}

#[test]
fn an_eviction_waits_for_its_budget_and_names_it() -> Done {
    const PLACE: &str = "e2e-evict";
    let Some(testbed) = Testbed::for_test("an_eviction_waits_for_its_budget")? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(connect(&testbed))?;
    let _scratch = Scratch::new(&testbed, PLACE)?;
    let api = Api { runtime, cluster: &cluster };
    let running =
        json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
    let pod = |name| api.runtime.block_on(make_pod(&cluster, PLACE, name, &running, None));
    let pods = vec![pod("a")?, pod("b")?];
    testbed.apply(&format!(
        r#"{{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{{"name":"guard","namespace":"{PLACE}"}},
        "spec":{{"minAvailable":1,"selector":{{}}}}}}"#
    ))?;
    wait_until("the budget knows its pods", Duration::from_secs(60), || {
        let allowed = testbed.field(&["pdb", "guard", "-n", PLACE], "{.status.disruptionsAllowed}");
        let allowed = allowed.map_err(|error| error.to_string())?;
        if allowed == "1" { Ok(()) } else { Err(allowed) }
    })?;
    let evict =
        |within_seconds| Action::Evict { pods: pods.clone(), grace_seconds: None, within_seconds };
    let Err(PerformError::Rejected(why)) = api.perform(&evict(8)) else {
        return Err("the budget lets both go".into());
    };
    assert!(why.starts_with("1 of 2 evicted") && why.contains("guard"), "{why}");
    println!("{why}");
    testbed.kubectl(&["delete", "pdb", "guard", "-n", PLACE])?;
    assert_eq!(api.perform(&evict(30)), Ok(Performed::Acted));
    assert_eq!(api.judged(&Condition::PodsGone { pods: pods.clone() })?, Verdict::Met);
    assert!(matches!(api.perform(&evict(30)), Ok(Performed::AlreadyRight(_))));
    Ok(())
}
