//! A flood of finished pods, as evictions and lost nodes leave it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Cluster, ConnectOptions, Patch, Write};
use common::plan::{ObjectRef, PodRef};
use serde_json::{Value, json};
use tests::story::Plugin;
use tests::testbed::{Testbed, wait_until};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Requests at a time: the plugin's default.
pub(super) const PARALLEL: usize = 16;

/// A namespace that goes with the test.
pub(super) struct Scratch<'a>(&'a Testbed, &'static str);

impl<'a> Scratch<'a> {
    pub(super) fn new(testbed: &'a Testbed, name: &'static str) -> Result<Self, Box<dyn Error>> {
        // What a killed run left would make the creation fail.
        testbed.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait"])?;
        testbed.kubectl(&["create", "namespace", name])?;
        let scratch = Self(testbed, name);
        // Pods are admitted only once their ServiceAccount exists.
        wait_until("the ServiceAccount exists", Duration::from_secs(60), || {
            testbed
                .kubectl(&["get", "serviceaccount", "default", "-n", name])
                .map_err(|error| error.to_string())
        })?;
        Ok(scratch)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let delete = ["delete", "namespace", self.1, "--ignore-not-found", "--wait=false"];
        if let Err(error) = self.0.kubectl(&delete) {
            println!("namespace {} is left: {error}", self.1);
        }
    }
}

pub(super) async fn connect(testbed: &Testbed) -> Result<Cluster, Box<dyn Error>> {
    let options =
        ConnectOptions { kubeconfig: Some(testbed.kubeconfig()), ..ConnectOptions::default() };
    Ok(Cluster::connect(&options).await?)
}

pub(super) fn object(group: &str, plural: &str, namespace: &str, name: &str) -> ObjectRef {
    ObjectRef {
        group: group.into(),
        version: "v1".into(),
        plural: plural.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

pub(super) fn uid(object: &Value) -> String {
    object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

const WRITE: Write<'static> = Write { field_manager: "e2e", dry_run: false };

/// A pod that nobody schedules, with this status. It gets its owner, and the labels that owners look for, only when it has
/// ended: a controller takes over pods with its labels, and would delete one that could still run.
pub(super) async fn make_pod(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    status: &Value,
    owner: Option<&Value>,
) -> Result<PodRef, String> {
    let pod = object("", "pods", namespace, name);
    let body = json!({
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "schedulerName": "nobody",
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "c", "image": "registry.k8s.io/pause:3.10" }],
        },
    });
    let said = |error: common::cluster::ApiError| error.to_string();
    let made = cluster.create(&pod, &body, WRITE).await.map_err(said)?;
    let status = json!({ "status": status });
    cluster.patch_part(&pod, Some("status"), Patch::Merge(&status), WRITE).await.map_err(said)?;
    if let Some(owner) = owner {
        let owned = json!({ "metadata": {
            "labels": { "app": "flood" },
            "ownerReferences": [owner],
        } });
        cluster.patch(&pod, Patch::Merge(&owned), WRITE).await.map_err(said)?;
    }
    Ok(PodRef { namespace: namespace.into(), name: name.into(), uid: uid(&made) })
}

/// Makes so many finished pods, many at a time.
pub(super) async fn make_flood(
    cluster: &Cluster,
    namespace: &'static str,
    start: &'static str,
    count: usize,
    owner: Option<Value>,
) -> Result<Vec<PodRef>, Box<dyn Error>> {
    let places = Arc::new(Semaphore::new(2 * PARALLEL));
    let status = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage." });
    let mut making = JoinSet::new();
    for n in 0..count {
        let (cluster, owner, status) = (cluster.clone(), owner.clone(), status.clone());
        let places = places.clone();
        making.spawn(async move {
            let _place = places.acquire_owned().await.map_err(|it| it.to_string())?;
            make_pod(&cluster, namespace, &format!("{start}-x{n}"), &status, owner.as_ref()).await
        });
    }
    let mut pods = Vec::new();
    while let Some(made) = making.join_next().await {
        pods.push(made??);
    }
    Ok(pods)
}

/// An owner that never makes a pod itself, as an owner reference.
async fn make_owner(
    cluster: &Cluster,
    namespace: &str,
    kind: &str,
    name: &str,
) -> Result<Value, Box<dyn Error>> {
    let template = json!({
        "metadata": { "labels": { "app": "flood" } },
        "spec": { "nodeSelector": { "no": "node" }, "restartPolicy": if kind == "Job" { "Never" } else { "Always" },
            "containers": [{ "name": "c", "image": "registry.k8s.io/pause:3.10" }] },
    });
    let selector = json!({ "matchLabels": { "app": "flood" } });
    let (group, plural, spec) = match kind {
        "ReplicaSet" => (
            "apps",
            "replicasets",
            json!({ "replicas": 0, "selector": selector, "template": template }),
        ),
        "DaemonSet" => {
            ("apps", "daemonsets", json!({ "selector": selector, "template": template }))
        }
        // Kubernetes' own controller leaves alone what somebody else manages.
        _ => (
            "batch",
            "jobs",
            json!({ "managedBy": "e2e.example.org/nobody", "template": template }),
        ),
    };
    let owner = object(group, plural, namespace, name);
    let body = json!({ "apiVersion": format!("{group}/v1"), "kind": kind,
        "metadata": { "name": name, "namespace": namespace }, "spec": spec });
    let made = cluster.create(&owner, &body, WRITE).await?;
    Ok(json!({ "apiVersion": format!("{group}/v1"), "kind": kind, "name": name, "uid": uid(&made),
        "controller": true, "blockOwnerDeletion": false }))
}

/// Makes the pods of these owners: kind, name, number of its pods.
pub(super) async fn make_floods(
    cluster: &Cluster,
    namespace: &'static str,
    owners: &[(&str, &'static str, usize)],
) -> Result<(), Box<dyn Error>> {
    for (kind, name, count) in owners {
        let owner = make_owner(cluster, namespace, kind, name).await?;
        make_flood(cluster, namespace, name, *count, Some(owner)).await?;
    }
    Ok(())
}

/// Requests about pods that the API server counted, by verb.
pub(super) async fn requests(cluster: &Cluster, verb: &str) -> Result<f64, Box<dyn Error>> {
    let text = String::from_utf8(cluster.get_raw("/metrics").await?)?;
    let wanted = format!("verb=\"{verb}\"");
    let counted = text.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"pods\"")
            && line.contains("subresource=\"\"")
            && line.contains(&wanted)
    });
    Ok(counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// Pods of the namespace, by the names of their owners, with which theirs begin.
pub(super) fn left_by_owner(
    testbed: &Testbed,
    namespace: &str,
) -> Result<BTreeMap<String, usize>, Box<dyn Error>> {
    let names = testbed.kubectl(&["get", "pods", "-n", namespace, "-o", "name"])?;
    let mut left = BTreeMap::new();
    for name in names.lines() {
        let name = name.trim_start_matches("pod/");
        let owner = name.split("-x").next().unwrap_or(name);
        *left.entry(owner.to_owned()).or_default() += 1;
    }
    Ok(left)
}

/// How many pods the namespace has.
pub(super) fn left(testbed: &Testbed, namespace: &str) -> Result<usize, Box<dyn Error>> {
    Ok(left_by_owner(testbed, namespace)?.values().sum())
}

/// Pods that a dry run would remove.
pub(super) fn would_remove(
    purge: &Plugin,
    namespace: &str,
    flags: &[&str],
) -> Result<usize, Box<dyn Error>> {
    let words = [&["pods", "-n", namespace, "--dry-run", "-o", "json"], flags].concat();
    let ran = purge.run(&words)?;
    let report: Value =
        serde_json::from_str(&ran.stdout).map_err(|error| format!("{error}: {ran:?}"))?;
    let groups = report["groups"].as_array().cloned().unwrap_or_default();
    let removed = groups.iter().filter(|it| it["kept"].is_null());
    let counts = removed.filter_map(|it| usize::try_from(it["count"].as_u64()?).ok());
    Ok(counts.sum())
}

/// Waits until a dry run would remove all of them: what is younger than a minute is kept.
pub(super) fn wait_until_old(
    purge: &Plugin,
    namespace: &str,
    flags: &[&str],
    count: usize,
) -> Result<(), Box<dyn Error>> {
    wait_until("all are older than a minute", Duration::from_secs(120), || {
        let old = would_remove(purge, namespace, flags).map_err(|error| error.to_string())?;
        if old == count { Ok(()) } else { Err(format!("{old} of {count}")) }
    })?;
    Ok(())
}
