//! Budgets of the built program, measured: `make bench`.
#![cfg(feature = "bench")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on panics, and prints what it measured"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::cluster::{Cluster, ConnectOptions, Write};
use common::execute::new_plan_id;
use common::node::pod::{NodePodOptions, NodePods, Op};
use common::node::probe_host;
use common::plan::ObjectRef;
use common::snapshot::HostFacts;
use serde_json::{Value, json};
use tests::testbed::Testbed;

/// Bytes of the program.
const SIZE: u64 = 15 * 1024 * 1024;
/// Time of `--version`, warm.
const VERSION: Duration = Duration::from_millis(10);
const RUNS: usize = 51;
/// From the wish to a host's facts, against the start of the pod itself: this many hundredths.
const FACTS_PERCENT: u32 = 150;
/// Pods of each sort.
const PODS: usize = 11;
/// Pods at once, on all nodes together.
const AT_ONCE: usize = 20;

/// The program to measure, from the environment: a measurement of a debug build means nothing.
fn program() -> PathBuf {
    std::env::var_os("PROGRAM").expect("PROGRAM names the program to measure").into()
}

#[test]
fn the_program_is_small() {
    let size = program().metadata().unwrap().len();
    println!("size: {:.1} MiB of {} MiB", size as f64 / 1_048_576.0, SIZE / 1_048_576);
    assert!(size < SIZE);
}

#[test]
fn the_version_is_quick() {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            let status =
                Command::new(program()).arg("--version").stdout(Stdio::null()).status().unwrap();
            assert!(status.success());
            started.elapsed()
        })
        .collect();
    times.sort();
    let median = times[RUNS / 2];
    println!("--version: median {median:.1?} of {RUNS} runs, fastest {:.1?}", times[0]);
    assert!(median < VERSION);
}

fn connect(runtime: &tokio::runtime::Runtime, testbed: &Testbed) -> Cluster {
    let options =
        ConnectOptions { kubeconfig: Some(testbed.kubeconfig()), ..ConnectOptions::default() };
    runtime.block_on(Cluster::connect(&options)).unwrap()
}

/// The simplest pod that starts anywhere, until it runs.
async fn simplest_pod(cluster: &Cluster, node: &str, number: usize) -> Duration {
    let object = ObjectRef {
        group: String::new(),
        version: "v1".to_owned(),
        plural: "pods".to_owned(),
        namespace: "kube-system".to_owned(),
        name: format!("bench-{number}"),
    };
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": object.name, "namespace": object.namespace },
        "spec": { "nodeName": node, "hostNetwork": true, "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0, "activeDeadlineSeconds": 120,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "pause", "image": "registry.k8s.io/pause:3.10" }] },
    });
    let started = Instant::now();
    let made = cluster.create(&object, &pod, Write::by("bench")).await.unwrap();
    let runs = |pod: Option<&Value>| {
        let phase = pod?.pointer("/status/phase")?.as_str()?;
        (phase == "Running").then_some(())
    };
    let limit = Duration::from_secs(60);
    let ran = cluster.wait_for(&object, limit, runs).await;
    let took = started.elapsed();
    let uid = made["metadata"]["uid"].as_str().unwrap();
    cluster.delete(&object, uid, false).await.unwrap();
    assert!(matches!(ran, Ok(Some(()))), "{ran:?}");
    took
}

/// A node pod and the facts of its host: when the pod ran, and when the facts were there.
async fn facts(cluster: &Cluster, node: &str) -> (Duration, Duration) {
    let namespaces = vec!["kube-system".to_owned()];
    let pods = NodePods::new(cluster, NodePodOptions::new(new_plan_id(), Op::Inspect, namespaces));
    let started = Instant::now();
    let pod = pods.on(node).await;
    let ran = started.elapsed();
    let text = match pod {
        Ok(pod) => probe_host(&pod).await,
        Err(error) => Err(error),
    };
    let facts = text.as_ref().map(|text| HostFacts::from_probe(node, text).0);
    let took = started.elapsed();
    assert_eq!(pods.close().await, []);
    assert!(facts.unwrap().cni_bin_dir.known().is_some());
    (ran, took)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Alternately, so that whatever else the machine does meets both.
#[test]
fn a_hosts_facts_come_soon_after_a_pod_could_start() {
    let Some(testbed) = Testbed::for_test("node pods are quick").unwrap() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = connect(&runtime, &testbed);
    let _alone = testbed.lock_cluster().unwrap();
    let node = testbed.nodes()[0].name();
    let (mut simplest, mut starts, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..PODS {
        simplest.push(runtime.block_on(simplest_pod(&cluster, node, number)));
        let (ran, took) = runtime.block_on(facts(&cluster, node));
        starts.push(ran);
        ours.push(took);
    }
    let [simplest, start, ours] = [simplest, starts, ours].map(|mut times| median(&mut times));
    let percent = 100.0 * ours.as_secs_f64() / start.as_secs_f64();
    println!(
        "node pod: it runs after {start:.2?}, facts after {ours:.2?} (medians of {PODS}): {percent:.0} % of at most {FACTS_PERCENT} %; the simplest pod runs after {simplest:.2?}"
    );
    assert!(ours * 100 <= start * FACTS_PERCENT);
}

#[test]
fn many_hosts_are_looked_at_at_once() {
    let Some(testbed) = Testbed::for_test("many node pods").unwrap() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = connect(&runtime, &testbed);
    let _alone = testbed.lock_cluster().unwrap();
    let started = Instant::now();
    let times = runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for number in 0..AT_ONCE {
            let nodes = testbed.nodes();
            let (cluster, node) = (cluster.clone(), nodes[number % nodes.len()].name().to_owned());
            all.spawn(async move { facts(&cluster, &node).await });
        }
        all.join_all().await
    });
    let mut times: Vec<Duration> = times.into_iter().map(|(_, took)| took).collect();
    let slowest = *times.iter().max().unwrap();
    println!(
        "{AT_ONCE} node pods at once on {} nodes: facts after {:.0?} (median), {slowest:.0?} (slowest); all deleted after {:.0?}",
        testbed.nodes().len(),
        median(&mut times),
        started.elapsed()
    );
}
