//! What leaked is released on a real API server: exactly that, beside others who write, after kill -9, and back again.
//!
//! The testbed has Calico's CRDs, and a CNI stand-in that does not use them: blocks and handles are made here, in the form that a
//! real cluster had (recording R18).

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::cluster::{ApiError, Cluster, ConnectOptions, Patch, Write};
use common::collect::{Addresses, Quiet, Want, collect_live};
use common::execute::lease::Tenure;
use common::execute::{
    ClusterOperations, Consent, Executor, Journal, Silent, StopSwitch, SystemClock, new_plan_id,
};
use common::ipam::{Held, Holder, cidr, edit};
use common::plan::ipam::{IpamApi, IpamOrder, idle_handles};
use common::plan::{Plan, RunResult, Target};
use common::snapshot::SnapshotBuilder;
use serde_json::{Map, Value, json};
use tests::story::{Plugin, demand};
use tests::testbed::{ClusterLock, Error, Testbed, wait_until};

/// Larger than what a double holds.
const SEQUENCE: u64 = 1_795_263_406_952_568_020;
/// Namespace of the pod that lives.
const NAMESPACE: &str = "e2e-ipam-gc";
/// Addresses of the block that leaked.
const LEAKED: usize = 6;

/// A block with addresses of pods that are no more, and one of a pod that lives.
struct Stage<'a> {
    testbed: &'a Testbed,
    name: String,
    cidr: String,
    /// The pod that lives, and its ordinal.
    live: (String, usize),
    _lock: ClusterLock,
}

fn odd(what: &str, why: impl std::fmt::Display) -> Error {
    Error::Odd { what: what.to_owned(), why: why.to_string() }
}

fn api() -> IpamApi {
    IpamApi { group: "crd.projectcalico.org".into(), version: "v1".into() }
}

fn handle(n: usize) -> String {
    format!("k8s-pod-network.{n:064x}")
}

fn entry(n: usize, (namespace, pod): (&str, &str), node: &str) -> Value {
    let timestamp = "2024-11-21 12:24:27.078471078 +0000 UTC";
    json!({ "handle_id": handle(n), "secondary": { "namespace": namespace, "node": node, "pod": pod, "timestamp": timestamp } })
}

/// A pod with an address of its own, made for this test.
fn running(testbed: &Testbed) -> Result<Value, Error> {
    testbed.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait"])?;
    testbed.kubectl(&["create", "namespace", NAMESPACE])?;
    let run = ["run", "lives", "--image=registry.k8s.io/pause:3.10", "-n", NAMESPACE];
    // Its ServiceAccount may take a moment to exist.
    wait_until("the pod is created", Duration::from_secs(30), || {
        testbed.kubectl(&run).map_err(|error| error.to_string())
    })?;
    let ready = ["wait", "pod", "lives", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=90s"];
    testbed.kubectl(&ready)?;
    let pod = testbed.kubectl(&["get", "pod", "lives", "-n", NAMESPACE, "-o", "json"])?;
    serde_json::from_str(&pod).map_err(|error| odd("pod", error))
}

impl<'a> Stage<'a> {
    fn new(testbed: &'a Testbed) -> Result<Self, Error> {
        let lock = testbed.lock_cluster()?;
        let pod = running(testbed)?;
        let word = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let address: IpAddr =
            word("/status/podIP").parse().map_err(|error| odd("its address", error))?;
        let net = cidr::parse(&format!("{address}/26")).ok_or_else(|| odd("its block", address))?;
        let ordinal = cidr::ordinal(&net, address).and_then(|it| usize::try_from(it).ok());
        let ordinal = ordinal.ok_or_else(|| odd("its ordinal", address))?;
        let stage = Self {
            testbed,
            name: cidr::block_name(&net),
            cidr: net.to_string(),
            live: (address.to_string(), ordinal),
            _lock: lock,
        };
        stage.clear()?;
        let node = word("/spec/nodeName");
        let live = entry(ordinal, (word("/metadata/namespace"), word("/metadata/name")), node);
        let mut taken = vec![(ordinal, live)];
        // The first ones are those of tunnels and of other pods.
        let free = (32..64).filter(|it| *it != ordinal).take(LEAKED);
        taken.extend(free.map(|it| (it, entry(it, ("shop", &format!("gone-{it}")), node))));
        stage.make(&taken, node)?;
        Ok(stage)
    }

    fn make(&self, taken: &[(usize, Value)], node: &str) -> Result<(), Error> {
        let place = |ordinal: usize| taken.iter().position(|it| it.0 == ordinal);
        let allocations: Vec<Option<usize>> = (0..64).map(place).collect();
        let free: Vec<usize> = (0..64).filter(|it| place(*it).is_none()).collect();
        let numbers: Map<String, Value> =
            taken.iter().map(|(it, _)| (it.to_string(), json!(SEQUENCE - 60))).collect();
        let metadata = json!({ "name": self.name, "annotations": { "projectcalico.org/metadata": "{\"creationTimestamp\":null}" } });
        self.apply(&json!({ "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock", "metadata": metadata,
            "spec": { "cidr": self.cidr, "affinity": format!("host:{node}"), "allocations": allocations,
                "attributes": taken.iter().map(|it| &it.1).collect::<Vec<_>>(), "unallocated": free, "deleted": false,
                "strictAffinity": false, "sequenceNumber": SEQUENCE, "sequenceNumberForAllocation": numbers } }))?;
        for (ordinal, _) in taken {
            self.apply(&api().new_handle(&handle(*ordinal), &self.cidr, 1))?;
        }
        Ok(())
    }

    fn apply(&self, object: &Value) -> Result<(), Error> {
        // Not by apply: what it notes of the object would hide who writes it.
        let file = tempfile::NamedTempFile::new().map_err(|error| odd("a file", error))?;
        std::fs::write(file.path(), object.to_string()).map_err(|error| odd("a file", error))?;
        self.testbed.kubectl(&["create", "-f", &file.path().to_string_lossy()]).map(drop)
    }

    fn clear(&self) -> Result<(), Error> {
        for kind in ["ipamblocks", "ipamhandles"] {
            // One request, however many there are.
            let all = format!("/apis/crd.projectcalico.org/v1/{kind}");
            self.testbed.kubectl(&["delete", "--raw", &all])?;
        }
        Ok(())
    }

    fn block(&self) -> Result<Value, Error> {
        let what = ["get", "ipamblocks.crd.projectcalico.org", &self.name, "-o", "json"];
        serde_json::from_str(&self.testbed.kubectl(&what)?).map_err(|error| odd("block", error))
    }

    fn handles(&self) -> Result<Vec<(String, Value)>, Error> {
        let text =
            self.testbed.kubectl(&["get", "ipamhandles.crd.projectcalico.org", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text).map_err(|error| odd("handles", error))?;
        let all = list["items"].as_array().cloned().unwrap_or_default();
        let of = |it: Value| {
            (
                it["spec"]["handleID"].as_str().unwrap_or_default().to_owned(),
                it["spec"]["block"].clone(),
            )
        };
        Ok(all.into_iter().map(of).collect())
    }

    /// What leaked is free, the pod that lives has its address, and handles count just that.
    fn is_freed(&self) -> Result<bool, Error> {
        let it = self.block()?;
        let only_live = (0..64).all(|n| edit::entry(&it, n).is_some() == (n == self.live.1));
        let live = (handle(self.live.1), json!({ self.cidr.clone(): 1 }));
        Ok(only_live && self.handles()? == [live])
    }

    /// Everybody has what he had.
    fn is_as_before(&self, before: &Value) -> Result<(), Error> {
        let it = self.block()?;
        let differing: Vec<usize> =
            (0..64).filter(|n| edit::entry(&it, *n) != edit::entry(before, *n)).collect();
        demand(differing.is_empty(), "every address is whose it was", &differing)?;
        let handles = self.handles()?;
        let counts = handles.iter().all(|it| it.1 == json!({ self.cidr.clone(): 1 }));
        demand(handles.len() == LEAKED + 1 && counts, "every handle counts its address", &handles)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.clear().ok();
        let gone = ["delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found"];
        self.testbed.kubectl(&gone).ok();
    }
}

fn ends(plugin: &Plugin, arguments: &[&str], code: i32, says: &str) -> Result<(), Error> {
    let ran = plugin.run(arguments)?;
    let said = ran.stderr.contains(says) || ran.stdout.contains(says);
    demand(ran.code == code && said, &format!("{arguments:?}: exit {code}, saying {says:?}"), &ran)
}

#[test]
fn exactly_what_leaked_goes_and_comes_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ipam gc")? else { return Ok(()) };
    let stage = Stage::new(&testbed)?;
    let plugin = Plugin::ipam(&testbed)?;
    let before = stage.block()?;
    ends(&plugin, &["gc", "--dry-run=server"], 0, "accepted")?;
    // The control: what is demanded below is not so before.
    demand(stage.block()? == before && !stage.is_freed()?, "a rehearsal changes nothing", &())?;
    ends(&plugin, &["gc", "ips"], 6, "Nothing was changed")?;
    demand(stage.block()? == before, "without consent nothing is changed", &())?;

    ends(&plugin, &["gc", "ips", "--yes"], 0, "undo: ")?;
    demand(stage.is_freed()?, "exactly what leaked is free", &stage.block()?)?;
    ends(&plugin, &["gc", "ips", "--yes"], 0, "nothing to do")?;
    ends(&plugin, &["undo", "last", "--yes"], 0, "")?;
    stage.is_as_before(&before)?;
    ends(&plugin, &["runs"], 0, "undone")?;

    // One by one: who lives is not taken anything from.
    let live = stage.live.0.as_str();
    ends(&plugin, &["release", live, "--yes"], 6, "uses it")?;
    stage.is_as_before(&before)?;
    let leaked = (0..64).find(|n| *n != stage.live.1 && edit::entry(&before, *n).is_some());
    let net = cidr::parse(&stage.cidr).ok_or_else(|| odd("block", &stage.cidr))?;
    let ordinal = leaked.and_then(|it| u128::try_from(it).ok()).unwrap_or_default();
    let address = cidr::address(&net, ordinal).ok_or_else(|| odd("address", ordinal))?.to_string();
    ends(&plugin, &["release", &address, "--yes"], 0, "undo: ")?;
    let it = edit::entry(&stage.block()?, leaked.unwrap_or_default());
    demand(it.is_none() && stage.handles()?.len() == LEAKED, "that one is free", &it)
}

#[test]
fn a_locked_datastore_is_left_alone() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ipam gc, locked")? else { return Ok(()) };
    let stage = Stage::new(&testbed)?;
    let plugin = Plugin::ipam(&testbed)?;
    let before = stage.block()?;
    let lock = |is: bool| {
        let patch = format!(r#"{{"spec":{{"datastoreReady":{is}}}}}"#);
        let what = "clusterinformations.crd.projectcalico.org";
        testbed.kubectl(&["patch", what, "default", "--type=merge", "-p", &patch])
    };
    lock(false)?;
    let refused = ends(&plugin, &["gc", "--yes"], 6, "locked");
    lock(true)?;
    refused?;
    demand(stage.block()? == before, "nothing is changed", &())
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ipam gc, killed")? else { return Ok(()) };
    let stage = Stage::new(&testbed)?;
    let before = stage.block()?;
    let (mut begun, mut midway) = (0, 0);
    for milliseconds in (0..12).map(|it| 30 + 15 * it) {
        let (plugin, start) = (Plugin::ipam(&testbed)?, stage.block()?);
        let mut run = plugin.spawn(&["gc", "ips", "--yes"])?;
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.kill().map_err(|error| odd("kill -9", error))?;
        run.wait().map_err(|error| odd("its end", error))?;
        let list = plugin.run(&["runs", "-o", "json"])?;
        let list: Value = serde_json::from_str(&list.stdout).map_err(|it| odd("runs", it))?;
        let state = list.pointer("/runs/0/state").and_then(Value::as_str).unwrap_or("none");
        midway += usize::from(!stage.is_freed()? && stage.block()? != start);
        println!("killed after {milliseconds} ms: {state}");
        if state == "none" {
            ends(&plugin, &["gc", "ips", "--yes"], 0, "undo: ")?;
        } else {
            begun += 1;
            ends(&plugin, &["resume", "last", "--yes"], 0, "")?;
        }
        demand(stage.is_freed()?, "it is gone on with", &(milliseconds, stage.handles()?))?;
        ends(&plugin, &["undo", "last", "--yes"], 0, "")?;
        stage.is_as_before(&before)?;
    }
    println!("{begun} of 12 runs had a journal, {midway} had changed a part");
    demand(begun > 0, "some were killed after they had begun", &begun)
}

/// Takes the first free address, as the CNI plugin does it.
async fn take(cluster: &Cluster, stage: &Stage<'_>, pod: &str) -> Result<usize, ApiError> {
    let object = api().block(&stage.name);
    let mut it = cluster.get_json(&object).await?.unwrap_or_default();
    let spec = &mut it["spec"];
    let first = spec["unallocated"].as_array_mut().map(|all| all.remove(0)).unwrap_or_default();
    let ordinal = first.as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or_default();
    let place = spec["attributes"].as_array().map_or(0, Vec::len);
    let number = spec["sequenceNumber"].as_u64().unwrap_or_default();
    if let Some(all) = spec["attributes"].as_array_mut() {
        all.push(json!({ "handle_id": pod, "secondary": { "namespace": "x", "pod": pod } }));
    }
    spec["allocations"][ordinal] = json!(place);
    spec["sequenceNumberForAllocation"][ordinal.to_string()] = json!(number);
    spec["sequenceNumber"] = json!(number + 1);
    let write = Write::by("calico");
    cluster.update(&object, &it, write).await.map(|_| ordinal)
}

fn has(block: &Value, ordinal: usize, pod: &str) -> bool {
    edit::entry(block, ordinal).is_some_and(|it| it["handle_id"] == json!(pod))
}

async fn connect(testbed: &Testbed) -> Result<Cluster, Error> {
    let kubeconfig = Some(testbed.kubeconfig());
    let options = ConnectOptions { kubeconfig, ..ConnectOptions::default() };
    Cluster::connect(&options).await.map_err(|error| odd("connect", error))
}

#[test]
fn who_takes_an_address_meanwhile_keeps_it() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ipam gc, beside others")? else { return Ok(()) };
    let stage = Stage::new(&testbed)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| odd("runtime", error))?;
    let cluster = runtime.block_on(connect(&testbed))?;
    let object = api().block(&stage.name);
    let seen = stage.block()?;
    let ordinal = (0..64).find(|n| *n != stage.live.1 && edit::entry(&seen, *n).is_some());
    let ordinal = ordinal.ok_or_else(|| odd("what leaked", "nothing"))?;
    let entry = edit::entry(&seen, ordinal).unwrap_or_default();
    let held = Held {
        address: IpAddr::from([0, 0, 0, 0]),
        ordinal,
        handle: Some(handle(ordinal)),
        sequence: SEQUENCE - 60,
        entry,
        holder: Holder::Nobody,
    };
    let mut edited = seen.clone();
    edit::release(&mut edited, [&held], None).map_err(|error| odd("release", error))?;
    let write = Write::by("test");
    runtime.block_on(async {
        let taken = take(&cluster, &stage, "first").await.map_err(|it| odd("take", it))?;
        let met = cluster.update(&object, &edited, write).await;
        demand(matches!(met, Err(ApiError::Conflict { .. })), "a conflict", &met)?;
        demand(has(&stage.block()?, taken, "first"), "who took it keeps it", &())?;
        // The control: written without the version, the address is lost, and that is seen.
        let careless = json!({ "spec": edited["spec"] });
        let met = cluster.patch(&object, Patch::Merge(&careless), write).await;
        let lost = met.is_ok() && !has(&stage.block()?, taken, "first");
        demand(lost, "what is demanded here can fail", &met)?;
        Ok::<_, Error>(())
    })?;

    // A storm: somebody takes addresses as fast as the server lets him, and gc runs.
    let over = AtomicBool::new(false);
    let plugin = Plugin::ipam(&testbed)?;
    let (ran, taken, conflicts) = std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let (mut taken, mut conflicts) = (Vec::new(), 0);
            while !over.load(Ordering::SeqCst) && taken.len() < 50 {
                let pod = format!("storm-{}", taken.len());
                match runtime.block_on(take(&cluster, &stage, &pod)) {
                    Ok(ordinal) => taken.push((ordinal, pod)),
                    Err(_) => conflicts += 1,
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            (taken, conflicts)
        });
        let ran = plugin.run(&["gc", "ips", "--yes"]);
        over.store(true, Ordering::SeqCst);
        let (taken, conflicts) = storm.join().unwrap_or_default();
        (ran, taken, conflicts)
    });
    let ran = ran?;
    demand(ran.code == 0, "gc ends well", &ran)?;
    let it = stage.block()?;
    let lost: Vec<_> = taken.iter().filter(|(at, pod)| !has(&it, *at, pod)).collect();
    demand(lost.is_empty(), "nobody lost what he took", &lost)?;
    let leaked = (0..64)
        .filter(|n| {
            edit::entry(&it, *n).is_some_and(|it| {
                it["handle_id"].as_str().is_some_and(|id| id.starts_with("k8s-pod-network"))
            })
        })
        .count();
    demand(leaked == 1, "only who lives has an address of before", &leaked)?;
    println!(
        "{} addresses taken meanwhile, {conflicts} times the storm met a conflict",
        taken.len()
    );
    Ok(())
}

/// Plan of what `gc handles` would take of this cluster in a quarter of an hour: handles that are younger stay.
async fn plan_of_handles(cluster: &Cluster) -> Result<Plan, Error> {
    let want = Want { install: true, addresses: Addresses::All, ..Want::of([]) };
    let mut builder = SnapshotBuilder::new();
    collect_live(cluster, want, &mut builder, &Quiet).await;
    let snapshot = builder.finish(cluster.now() + Duration::from_secs(1200));
    let order = IpamOrder {
        id: new_plan_id(),
        made_by: "e2e",
        target: Target {
            cluster_uid: snapshot.cluster.uid.known().cloned().unwrap_or_default(),
            context: String::new(),
            cluster_name: String::new(),
            server: String::new(),
            user: String::new(),
        },
        taken: snapshot.taken,
        api: IpamApi::of(&snapshot),
        rest: false,
        stored: &BTreeMap::new(),
    };
    Ok(order.plan(Vec::new(), &idle_handles(&snapshot, None), Vec::new()))
}

#[test]
fn handles_that_nothing_is_held_under_go_by_one_request_each() -> Result<(), Error> {
    const IDLE: usize = 1200;
    let Some(testbed) = Testbed::for_test("ipam gc handles")? else { return Ok(()) };
    let stage = Stage::new(&testbed)?;
    let before = stage.handles()?.len();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| odd("runtime", error))?;
    let directory = tempfile::tempdir().map_err(|error| odd("a directory", error))?;
    runtime.block_on(async {
        let cluster = connect(&testbed).await?;
        for n in 1000..1000 + IDLE {
            let new = api().new_handle(&handle(n), &stage.cidr, 1);
            let made = cluster.create(&api().handle(&handle(n)), &new, Write::by("test")).await;
            made.map_err(|error| odd("a handle", error))?;
        }
        let plan = Box::pin(plan_of_handles(&cluster)).await?;
        demand(plan.steps.len() == 2, "a step for each thousand", &plan.steps.len())?;
        // Somebody uses one of them meanwhile.
        let object = api().handle(&handle(1007));
        let mut used =
            cluster.get_json(&object).await.map_err(|it| odd("a handle", it))?.unwrap_or_default();
        edit::set_count(&mut used, &stage.cidr, 2);
        cluster
            .update(&object, &used, Write::by("calico"))
            .await
            .map_err(|it| odd("a handle", it))?;

        let mut journal = Journal::create(directory.path(), &plan, plan.taken)
            .map_err(|it| odd("journal", it))?;
        let path = journal.path().to_owned();
        let (_switch, stop) = StopSwitch::new();
        let operations = ClusterOperations::new(&cluster);
        let clock = SystemClock::default();
        let began = std::time::Instant::now();
        let executor = Executor {
            operations: &operations,
            clock: &clock,
            journal: &mut journal,
            tenure: &Tenure::unlimited(),
            reporter: &mut Silent,
            stop: &stop,
        };
        let yes = || Consent::from_flag(true).ok_or_else(|| odd("consent", "none"));
        let outcome = executor.run(&plan, yes()?).await.map_err(|it| odd("journal", it))?;
        println!("{IDLE} handles in {} ms, verification included", began.elapsed().as_millis());
        demand(outcome.result == RunResult::Done, "it ends well", &outcome)?;
        let told = outcome
            .steps
            .iter()
            .flat_map(|it| &it.verified)
            .any(|it| it.what.contains(&handle(1007)));
        demand(told, "the one in use is named", &outcome)?;
        let left = stage.handles()?;
        demand(left.len() == before + 1, "all but that one are gone", &left.len())?;
        drop(journal);
        let (mut journal, recorded) = Journal::reopen(&path).map_err(|it| odd("journal", it))?;
        let executor = Executor {
            operations: &operations,
            clock: &clock,
            journal: &mut journal,
            tenure: &Tenure::unlimited(),
            reporter: &mut Silent,
            stop: &stop,
        };
        let undone =
            executor.take_back(&recorded, yes()?).await.map_err(|it| odd("journal", it))?;
        demand(undone.result == RunResult::Done, "it is taken back", &undone)?;
        demand(stage.handles()?.len() == before + IDLE, "all are there again", &())
    })
}
