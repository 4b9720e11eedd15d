//! Pods of a story, in a namespace of their own that goes when the story ends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::testbed::{Error, Testbed, wait_until};

/// A namespace with bare pods of busybox.
#[derive(Debug)]
pub struct Pods<'a> {
    testbed: &'a Testbed,
    namespace: String,
}

/// What identifies a pod and its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Uid of the pod.
    pub uid: String,
    /// Phase.
    pub phase: String,
    /// Id of its container; empty while it has none.
    pub container: String,
    /// True while it is being deleted.
    pub is_terminating: bool,
}

/// A pod on the testbed runs within a second or two; a minute is for a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The kubelet repeats a failed teardown every 11 s or so; the second failure is what counts.
const HANG_LIMIT: Duration = Duration::from_secs(90);

impl<'a> Pods<'a> {
    /// Makes the namespace.
    pub fn new(testbed: &'a Testbed, namespace: &str) -> Result<Self, Error> {
        let pods = Self { testbed, namespace: namespace.to_owned() };
        pods.remove()?;
        testbed.kubectl(&["create", "namespace", namespace])?;
        wait_until("the namespace's ServiceAccount", START_LIMIT, || {
            let arguments = ["get", "serviceaccount", "default", "-o", "name"];
            pods.kubectl(&arguments).map(drop).map_err(|error| error.to_string())
        })?;
        Ok(pods)
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Creates a pod bound to `node` and returns at once.
    pub fn create(&self, name: &str, node: &str) -> Result<(), Error> {
        self.testbed.apply(&self.manifest(name, &format!("nodeName: {node}")))
    }

    /// Creates a pod that no node can take.
    pub fn create_unschedulable(&self, name: &str) -> Result<(), Error> {
        self.testbed.apply(&self.manifest(name, "nodeSelector: {no-such-label: \"true\"}"))
    }

    fn manifest(&self, name: &str, place: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
             {place}\n  terminationGracePeriodSeconds: 1\n  tolerations: [{{operator: Exists}}]\n  containers:\n  \
             - {{name: c, image: \"docker.io/library/busybox:1.36\", imagePullPolicy: Never, command: [sleep, \"100000\"]}}\n"
        )
    }

    /// Waits until these pods run.
    pub fn wait_running(&self, names: &[&str]) -> Result<(), Error> {
        wait_until(&format!("{names:?} to run"), START_LIMIT, || {
            let now = self.snapshot().map_err(|error| error.to_string())?;
            let runs = |name: &&str| {
                now.get(*name).is_some_and(|it| it.phase == "Running" && !it.container.is_empty())
            };
            if names.iter().all(runs) { Ok(()) } else { Err(format!("{now:?}")) }
        })
    }

    /// Asks for the deletion of a pod and returns at once.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        self.kubectl(&["delete", "pod", name, "--wait=false"]).map(drop)
    }

    /// Waits until the kubelet has said of each creating pod that it cannot start it, and twice of each deleted one that it
    /// cannot stop it.
    pub fn wait_hanging(&self, creating: &[&str], deleted: &[&str]) -> Result<(), Error> {
        wait_until(&format!("{creating:?} and {deleted:?} to hang"), HANG_LIMIT, || {
            let text =
                self.kubectl(&["get", "events", "-o", "json"]).map_err(|it| it.to_string())?;
            let events: Value = serde_json::from_str(&text).map_err(|it| it.to_string())?;
            let said = |name: &str, reasons: &[&str], times: i64| {
                events["items"].as_array().is_some_and(|all| {
                    all.iter().any(|it| {
                        it["involvedObject"]["name"] == name
                            && reasons.iter().any(|reason| it["reason"] == *reason)
                            && it["count"].as_i64().unwrap_or(1) >= times
                    })
                })
            };
            let hang = creating
                .iter()
                .all(|name| said(name, &["FailedCreatePodSandBox", "NetworkNotReady"], 1))
                && deleted.iter().all(|name| said(name, &["FailedKillPod"], 2));
            if hang { Ok(()) } else { Err(text) }
        })
    }

    /// All pods of the namespace, by name.
    pub fn snapshot(&self) -> Result<BTreeMap<String, Snapshot>, Error> {
        let text = self.kubectl(&["get", "pods", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text).map_err(|error| Error::Odd {
            what: "the list of pods".to_owned(),
            why: error.to_string(),
        })?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list["items"].as_array().into_iter().flatten();
        Ok(pods
            .map(|pod| {
                let snapshot = Snapshot {
                    uid: text(&pod["metadata"]["uid"]),
                    phase: text(&pod["status"]["phase"]),
                    container: text(&pod["status"]["containerStatuses"][0]["containerID"]),
                    is_terminating: pod["metadata"]["deletionTimestamp"].is_string(),
                };
                (text(&pod["metadata"]["name"]), snapshot)
            })
            .collect())
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        self.testbed.kubectl(&all)
    }

    fn remove(&self) -> Result<(), Error> {
        let name = self.namespace.as_str();
        self.testbed
            .kubectl(&["delete", "namespace", name, "--ignore-not-found", "--timeout=90s"])
            .map(drop)
    }
}

/// Pods that hang make the namespace hang; they go when the node works again, which the testbed sees to.
impl Drop for Pods<'_> {
    fn drop(&mut self) {
        let name = self.namespace.as_str();
        let arguments = ["delete", "namespace", name, "--ignore-not-found", "--wait=false"];
        drop(self.testbed.kubectl(&arguments));
    }
}
