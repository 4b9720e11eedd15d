//! Kills a run that releases addresses and deletes handles at every request, and lets others go on with it or take it back; has
//! others write at the worst moment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::simulation::{NEVER, Work, World, path, process};
use crate::ipam::{Held, Holder};
use crate::plan::ipam::{BlockRef, HandleRef, IpamApi, IpamChange};
use crate::plan::{
    Action, Applicability, Condition, Guard, Outcome, Plan, PlanId, RunResult, Step, StepId,
    StepState, Target, Undo, Verification,
};

const RUN: &str = "01RUN";
const CIDR: &str = "10.0.0.0/29";
const SEQUENCE: u64 = 1_723_456_789_012_345_679;

fn block() -> String {
    path("ipamblocks", "10-0-0-0-29")
}

fn handle(id: &str) -> String {
    path("ipamhandles", id)
}

fn entry(handle: &str, pod: &str) -> Value {
    json!({ "handle_id": handle, "secondary": { "namespace": "a", "pod": pod, "node": "n1" }, "odd": 1 })
}

/// Two leaked addresses of one handle, one of another that has an address elsewhere too, one that lives; two idle handles.
fn world() -> Arc<World> {
    let world = World::default();
    world.put(
        &block(),
        json!({ "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock", "metadata": { "name": "10-0-0-0-29" },
        "spec": { "cidr": CIDR, "affinity": "host:n1", "allocations": [0, 0, 1, 2, null, null, null, null],
            "attributes": [entry("twice", "gone"), entry("both", "gone"), entry("lives", "lives")],
            "unallocated": [4, 5, 6, 7], "sequenceNumber": SEQUENCE + 9, "odd": [SEQUENCE],
            "sequenceNumberForAllocation": { "0": SEQUENCE, "1": SEQUENCE + 1, "2": SEQUENCE + 2, "3": SEQUENCE + 3 } } }),
    );
    for (id, blocks) in [
        ("twice", json!({ CIDR: 2 })),
        ("both", json!({ CIDR: 1, "10.9.0.0/29": 1 })),
        ("lives", json!({ CIDR: 1 })),
        ("idle1", json!({ CIDR: 1 })),
        ("idle2", json!({ "10.8.0.0/29": 1 })),
    ] {
        world.put(&handle(id), json!({ "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMHandle",
            "metadata": { "name": id }, "spec": { "handleID": id, "block": blocks, "deleted": false } }));
    }
    let pod = json!({ "metadata": { "namespace": "a", "name": "lives" }, "spec": { "nodeName": "n1" },
        "status": { "podIP": "10.0.0.3", "phase": "Running" } });
    world.put("/api/v1/namespaces/a/pods/lives", pod);
    let information = json!({ "spec": { "datastoreReady": true } });
    world.put(&path("clusterinformations", "default"), information);
    Arc::new(world)
}

fn held(ordinal: u8, handle: &str) -> Held {
    let holder = Holder::Pod { namespace: "a".into(), name: "gone".into(), gone_node: None };
    Held {
        address: core::net::Ipv4Addr::new(10, 0, 0, ordinal).into(),
        ordinal: ordinal.into(),
        handle: Some(handle.to_owned()),
        sequence: SEQUENCE + u64::from(ordinal),
        entry: entry(handle, "gone"),
        holder,
    }
}

fn plan(world: &World) -> Plan {
    let api = IpamApi { group: "crd.projectcalico.org".into(), version: "v1".into() };
    let idle = |id: &str| {
        let object = world.get(&handle(id)).unwrap();
        let of = |key: &str| object["metadata"][key].as_str().unwrap().to_owned();
        let (uid, resource_version) = (of("uid"), of("resourceVersion"));
        HandleRef { id: id.into(), uid, resource_version, before: object["spec"].clone() }
    };
    let release = IpamChange::ReleaseAddresses {
        api: api.clone(),
        block: BlockRef { name: "10-0-0-0-29".into(), cidr: CIDR.into() },
        addresses: vec![held(0, "twice"), held(1, "twice"), held(2, "both")],
        rest: false,
    };
    let delete =
        IpamChange::DeleteHandles { api: api.clone(), handles: vec![idle("idle1"), idle("idle2")] };
    let verification = |change: &IpamChange| Verification {
        condition: Condition::IpamChanged { change: change.goal() },
        within_seconds: 60,
    };
    let step = |(n, change): (usize, IpamChange)| Step {
        id: StepId(format!("step-{n}")),
        title: format!("step {n}"),
        node: None,
        guards: vec![Guard::DatastoreReady { information: api.information() }],
        verify: vec![verification(&change)],
        undo: Undo::By {
            action: Box::new(Action::Ipam { change: change.inverse() }),
            verify: vec![verification(&change.inverse())],
        },
        action: Action::Ipam { change },
        after: vec![],
        resolves: vec![],
        applicability: Applicability::Ask,
    };
    Plan {
        id: PlanId(RUN.into()),
        made_by: "test/1".into(),
        target: Target {
            cluster_uid: "c".into(),
            context: String::new(),
            cluster_name: String::new(),
            server: String::new(),
            user: String::new(),
        },
        taken: Timestamp::UNIX_EPOCH,
        steps: [release, delete].into_iter().enumerate().map(step).collect(),
        left_out: vec![],
        max_failures: 1,
    }
}

async fn run(world: &Arc<World>, directory: &Path, kill_at: usize) -> Option<Outcome> {
    let plan = plan(world);
    process(world, directory, Work::Run(&plan), kill_at).await
}

async fn finish(world: &Arc<World>, directory: &Path, work: Work<'_>, about: &str) {
    let ended = process(world, directory, work, NEVER).await.unwrap();
    assert_eq!(ended.result, RunResult::Done, "{about}: {ended:#?}");
}

/// What leaked is free, who lives keeps what it has, and every handle counts what is there.
fn is_done(world: &World, about: &str) {
    let it = world.get(&block()).unwrap();
    assert_eq!(
        it["spec"]["allocations"].to_string(),
        "[null,null,null,0,null,null,null,null]",
        "{about}"
    );
    assert_eq!(it["spec"]["unallocated"], json!([4, 5, 6, 7, 0, 1, 2]), "{about}");
    assert_eq!(it["spec"]["attributes"], json!([entry("lives", "lives")]), "{about}");
    assert_eq!(it["spec"]["sequenceNumber"], json!(SEQUENCE + 10), "{about}: written once");
    assert_eq!(it["spec"]["odd"], json!([SEQUENCE]), "{about}");
    let counts = |id: &str| world.get(&handle(id)).map(|it| it["spec"]["block"].clone());
    assert_eq!(counts("twice"), None, "{about}");
    assert_eq!(counts("both"), Some(json!({ "10.9.0.0/29": 1 })), "{about}");
    assert_eq!(counts("lives"), Some(json!({ CIDR: 1 })), "{about}");
    assert_eq!((counts("idle1"), counts("idle2")), (None, None), "{about}");
}

/// Everybody has what he had; handles count it. Order and numbers may be others.
fn is_back(world: &World, before: &World, about: &str) {
    let state = |world: &World| {
        let mut specs = world.specs();
        let block = specs.get_mut("/ipamblocks/10-0-0-0-29").unwrap();
        let entries = block["attributes"].clone();
        for it in block["allocations"].as_array_mut().unwrap() {
            *it =
                it.as_u64().map_or(Value::Null, |it| entries[usize::try_from(it).unwrap()].clone());
        }
        for changed in
            ["attributes", "sequenceNumber", "unallocated", "sequenceNumberForAllocation"]
        {
            block.as_object_mut().unwrap().remove(changed);
        }
        specs
    };
    assert_eq!(state(world), state(before), "{about}");
    let numbers = &world.get(&block()).unwrap()["spec"]["sequenceNumberForAllocation"];
    assert_eq!(numbers.as_object().unwrap().len(), 4, "{about}");
}

/// Lets a run die at every point, each in a world of its own.
async fn at_every_death(then: impl AsyncFn(&str, &Arc<World>, &Path)) -> usize {
    let mut deaths = 0;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let world = world();
        if let Some(ended) = run(&world, directory.path(), deaths + 1).await {
            assert_eq!(ended.result, RunResult::Done, "{ended:#?}");
            is_done(&world, "nobody died");
            return deaths;
        }
        deaths += 1;
        then(&format!("death {deaths}"), &world, directory.path()).await;
    }
}

#[tokio::test]
async fn wherever_a_run_dies_it_is_gone_on_with_and_taken_back() {
    let deaths = at_every_death(async |death, world, directory| {
        finish(world, directory, Work::Resume(RUN), death).await;
        is_done(world, death);
        finish(world, directory, Work::Undo(RUN), death).await;
        is_back(world, &self::world(), death);
    })
    .await;
    assert!(deaths >= 40, "only {deaths} points to die at");
}

#[tokio::test]
async fn wherever_a_run_dies_it_is_taken_back_at_once() {
    at_every_death(async |death, world, directory| {
        finish(world, directory, Work::Undo(RUN), death).await;
        is_back(world, &self::world(), death);
    })
    .await;
}

#[tokio::test]
async fn wherever_an_undo_dies_the_next_one_finishes_it() {
    for deaths in 1.. {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let world = world();
        run(&world, directory, NEVER).await.unwrap();
        if process(&world, directory, Work::Undo(RUN), deaths).await.is_some() {
            assert!(deaths > 25, "only {deaths} points to die at");
            break;
        }
        let death = format!("death {deaths}");
        finish(&world, directory, Work::Undo(RUN), &death).await;
        is_back(&world, &self::world(), &death);
    }
}

/// A pod gets the first free address, as the CNI plugin does it: the handle first, then the block.
fn take(world: &World, id: &str) {
    world.put(
        &handle(id),
        json!({ "metadata": {}, "spec": { "handleID": id, "block": { CIDR: 1 } } }),
    );
    let mut it = world.get(&block()).unwrap();
    let ordinal = it["spec"]["unallocated"].as_array_mut().unwrap().remove(0);
    let place = it["spec"]["attributes"].as_array().unwrap().len();
    let number = it["spec"]["sequenceNumber"].as_u64().unwrap();
    it["spec"]["attributes"].as_array_mut().unwrap().push(entry(id, id));
    it["spec"]["allocations"][usize::try_from(ordinal.as_u64().unwrap()).unwrap()] = json!(place);
    it["spec"]["sequenceNumberForAllocation"][ordinal.to_string()] = json!(number);
    it["spec"]["sequenceNumber"] = json!(number + 1);
    world.put(&block(), it);
}

fn holders(world: &World) -> String {
    let spec = &world.get(&block()).unwrap()["spec"];
    let name = |it: &Value| {
        let place = it.as_u64().and_then(|it| usize::try_from(it).ok());
        place.map_or("-", |it| spec["attributes"][it]["handle_id"].as_str().unwrap()).to_owned()
    };
    let names: Vec<String> = spec["allocations"].as_array().unwrap().iter().map(name).collect();
    names.join(" ")
}

#[tokio::test]
async fn who_takes_an_address_at_the_same_moment_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let world = world();
    for id in ["new1", "new2", "new3"] {
        world.meanwhile.lock().unwrap().push(Box::new(|world| take(world, id)));
    }
    let ended = run(&world, directory.path(), NEVER).await.unwrap();
    assert_eq!(ended.result, RunResult::Done, "{ended:#?}");
    assert_eq!(holders(&world), "- - - lives new3 new2 new1 -");
    assert_eq!(world.conflicts.load(Ordering::SeqCst), 3);
    assert!(world.get(&handle("new1")).is_some());
}

/// The control: did the version not travel with the write, the address that was just taken would be lost, and this is seen.
#[tokio::test]
async fn without_versions_an_address_that_was_just_taken_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let world = world();
    world.ignores_versions.store(true, Ordering::SeqCst);
    world.meanwhile.lock().unwrap().push(Box::new(|world| take(world, "new1")));
    run(&world, directory.path(), NEVER).await.unwrap();
    assert_eq!(holders(&world), "- - - lives - - - -");
}

#[tokio::test]
async fn who_is_back_by_then_keeps_its_addresses_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let world = world();
    let pod = json!({ "metadata": { "namespace": "a", "name": "gone" }, "spec": { "nodeName": "n1" },
        "status": { "podIPs": [{ "ip": "10.0.0.1" }], "phase": "Running" } });
    world.put("/api/v1/namespaces/a/pods/gone", pod);
    // And somebody uses one of the handles.
    let mut idle = world.get(&handle("idle1")).unwrap();
    let plan = plan(&world);
    idle["spec"]["block"] = json!({ CIDR: 2 });
    world.put(&handle("idle1"), idle);
    let ended = process(&world, directory.path(), Work::Run(&plan), NEVER).await.unwrap();
    assert_eq!(ended.result, RunResult::Done, "{ended:#?}");
    assert_eq!(holders(&world), "- twice - lives - - - -");
    assert_eq!(world.get(&handle("twice")).unwrap()["spec"]["block"], json!({ CIDR: 1 }));
    assert_eq!(ended.steps[0].verified[0].what, "left alone: 10.0.0.1: pod a/gone shows it");
    assert_eq!(ended.steps[1].verified[0].what, "left alone: idle1: somebody changed it since");
    assert!(world.get(&handle("idle1")).is_some() && world.get(&handle("idle2")).is_none());
}

#[tokio::test]
async fn what_was_given_out_again_is_not_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let world = world();
    run(&world, directory, NEVER).await.unwrap();
    for id in ["a", "b", "c", "d", "e"] {
        take(&world, id);
    }
    assert_eq!(holders(&world), "e - - lives a b c d");
    let undone = process(&world, directory, Work::Undo(RUN), NEVER).await.unwrap();
    assert_eq!(undone.result, RunResult::Done, "{undone:#?}");
    assert_eq!(holders(&world), "e twice both lives a b c d");
    assert_eq!(world.get(&handle("twice")).unwrap()["spec"]["block"], json!({ CIDR: 1 }));
    assert_eq!(
        undone.steps[0].verified[0].what,
        "left alone: 10.0.0.0: it was given out again since"
    );
}

#[tokio::test]
async fn a_handle_that_an_address_is_just_taken_under_stays() {
    let directory = tempfile::tempdir().unwrap();
    let world = world();
    // The tunnel of a node that came back: counted, and not in the block yet.
    let mut both = world.get(&handle("twice")).unwrap();
    both["spec"]["block"] = json!({ CIDR: 3 });
    world.put(&handle("twice"), both);
    let later = world.clone();
    let plan = plan(&world);
    let taking = async {
        // It is seen as too high, doubted, and true a moment later.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let mut it = later.get(&block()).unwrap();
        it["spec"]["attributes"].as_array_mut().unwrap().push(entry("twice", "back"));
        let place = it["spec"]["attributes"].as_array().unwrap().len() - 1;
        it["spec"]["allocations"][7] = json!(place);
        it["spec"]["unallocated"].as_array_mut().unwrap().retain(|it| *it != json!(7));
        it["spec"]["sequenceNumberForAllocation"]["7"] = json!(SEQUENCE + 50);
        it["spec"]["sequenceNumber"] = json!(SEQUENCE + 51);
        later.put(&block(), it);
    };
    let (ended, ()) =
        tokio::join!(process(&world, directory.path(), Work::Run(&plan), NEVER), taking);
    assert_eq!(ended.unwrap().result, RunResult::Done);
    assert_eq!(holders(&world), "- - - lives - - - twice");
    assert_eq!(world.get(&handle("twice")).unwrap()["spec"]["block"], json!({ CIDR: 1 }));
}

#[tokio::test]
async fn a_locked_datastore_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let world = world();
    let information = json!({ "spec": { "datastoreReady": false } });
    world.put(&path("clusterinformations", "default"), information);
    let before = world.specs();
    let ended = run(&world, directory.path(), NEVER).await.unwrap();
    assert_eq!(ended.result, RunResult::Refused);
    assert!(matches!(&ended.steps[0].state, StepState::Failed { why } if why.contains("locked")));
    assert_eq!(world.specs(), before);
}
