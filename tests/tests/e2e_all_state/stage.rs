//! The cluster that the stories of this file begin with, and that is brought back however they end.

use std::time::Duration;

use serde_json::{Value, json};
use tests::story::{NODE, Plugin, World, demand};
use tests::testbed::{Error, Node, Service, Testbed, wait_until};

use super::situations;

/// The node that stays with Calico.
pub(crate) const OTHER: &str = "node1";
/// Namespace of the story's pods.
pub(crate) const SPACE: &str = "leaving";
/// A pod on the testbed starts and stops within seconds; two minutes are for a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// Where the pods of `patient` and `hasty` write down on their node how they ended.
pub(crate) const ENDED: &str = "/run/testbed/stopping";

/// Two replicas of `web` with a budget of one, a DaemonSet with a pod network on every node, and a pod without a controller. All
/// that can choose are on the node that is to be left.
const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: leaving}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "docker.io/library/busybox:1.36", imagePullPolicy: Never, command: [sleep, "100000"]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: leaving}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: leaving}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers: [{name: c, image: "docker.io/library/busybox:1.36", imagePullPolicy: Never, command: [sleep, "100000"]}]
"#;

/// A DaemonSet whose pods need six seconds to end, and have `grace`.
fn slow(name: &str, grace: u32) -> String {
    let script = "trap 'sleep 6; touch /ended/$0; exit 0' TERM; while :; do sleep 1; done";
    let container = json!({
        "name": "c", "image": "docker.io/library/busybox:1.36", "imagePullPolicy": "Never",
        "command": ["sh", "-c", script, name],
        "volumeMounts": [{"name": "ended", "mountPath": "/ended"}],
    });
    let spec = json!({
        "terminationGracePeriodSeconds": grace,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "ended", "hostPath": {"path": ENDED, "type": "DirectoryOrCreate"}}],
    });
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
    .to_string()
}

/// Nodes of a machine with cgroup v1 have no cgroup v2 mounted, without which no scan is complete.
const CGROUPS: &str = "/run/testbed/cgroup2";
const MOUNT: &str =
    r#"grep -q " cgroup2 " /proc/mounts || { mkdir -p "$1" && mount -t cgroup2 cgroup2 "$1"; }"#;
const UNMOUNT: &str = r#"umount "$1" 2>/dev/null; rmdir "$1" 2>/dev/null; exit 0"#;

/// The cluster as it was, brought back when the story ends.
pub(crate) struct Stage<'a> {
    pub(crate) testbed: &'a Testbed,
    pub(crate) node: Node,
    pub(crate) purge: Plugin,
    /// The update strategy and the template of DaemonSet calico-node.
    agent: [Value; 2],
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        situations::clear(self);
        let quietly: [&[&str]; 5] = [
            &["delete", "namespace", SPACE, "--ignore-not-found", "--wait=false"],
            &["uncordon", OTHER],
            &["uncordon", NODE],
            &["label", "node", NODE, "kubectl-calico/excluded-"],
            &["annotate", "node", NODE, "kubectl-calico/cordoned-"],
        ];
        for arguments in quietly {
            drop(self.testbed.kubectl(arguments));
        }
        drop(self.node.start_service(Service::KubeProxy));
        drop(self.node.script(UNMOUNT, &[CGROUPS]));
        drop(self.testbed.repair_node(&self.node));
    }
}

impl<'a> Stage<'a> {
    /// The pods run, and nothing but the story changes the node.
    pub(crate) fn new(testbed: &'a Testbed) -> Result<Self, Error> {
        let set = testbed.kubectl(&[
            "get",
            "daemonset",
            "calico-node",
            "-n",
            "kube-system",
            "-o",
            "json",
        ])?;
        let odd = |why: String| Error::Odd { what: "DaemonSet calico-node".to_owned(), why };
        let set: Value = serde_json::from_str(&set).map_err(|error| odd(error.to_string()))?;
        let agent = ["updateStrategy", "template"].map(|it| set["spec"][it].clone());
        demand(agent.iter().all(Value::is_object), "DaemonSet calico-node", &agent)?;
        let (node, purge) = (testbed.node(NODE)?.clone(), Plugin::purge(testbed)?);
        let stage = Self { testbed, node, purge, agent };
        stage.populate()?;
        Ok(stage)
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.testbed.kubectl(arguments)
    }

    fn populate(&self) -> Result<(), Error> {
        let gone = ["delete", "namespace", SPACE, "--ignore-not-found"];
        self.kubectl(&gone)?;
        self.node.script(r#"rm -rf "$1""#, &[ENDED])?;
        self.kubectl(&["create", "namespace", SPACE])?;
        self.kubectl(&["cordon", OTHER])?;
        self.testbed.apply(MANIFEST)?;
        self.testbed.apply(&slow("patient", 30))?;
        self.testbed.apply(&slow("hasty", 2))?;
        self.wait_pods("the pods run", |pods| pods.iter().filter(|it| it.runs).count() == 8)?;
        self.kubectl(&["uncordon", OTHER])?;
        let on = self.pods()?;
        let here = on.iter().filter(|it| it.app == "web" && it.node == NODE).count();
        demand(here == 2, "web runs on the node that is to be left", &on)?;
        self.node.script(MOUNT, &[CGROUPS])?;
        // It rewrites its rules every half minute.
        self.node.stop_service(Service::KubeProxy)
    }

    /// A pod without a controller, on the node that is to be left.
    pub(crate) fn add_bare_pod(&self) -> Result<(), Error> {
        self.testbed.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: bare, namespace: {SPACE}, labels: {{app: bare}}}}\nspec:\n  nodeName: {NODE}\n  \
             terminationGracePeriodSeconds: 1\n  containers: [{{name: c, image: \"docker.io/library/busybox:1.36\", \
             imagePullPolicy: Never, command: [sleep, \"100000\"]}}]\n"
        ))?;
        self.wait_pods("the bare pod runs", |pods| {
            pods.iter().any(|it| it.app == "bare" && it.runs)
        })
    }

    /// DaemonSet calico-node as it was. Its pods are not restarted by that: their template is again the one that they have.
    pub(crate) fn restore_agent(&self) -> Result<(), Error> {
        let [strategy, template] = &self.agent;
        let patch = json!([
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "replace", "path": "/spec/updateStrategy", "value": strategy},
        ]);
        self.patch_agent("json", &patch)
    }

    /// Changes DaemonSet calico-node.
    pub(crate) fn patch_agent(&self, kind: &str, patch: &Value) -> Result<(), Error> {
        let (kind, patch) = (format!("--type={kind}"), patch.to_string());
        let line = ["patch", "daemonset", "calico-node", "-n", "kube-system", &kind, "-p", &patch];
        self.kubectl(&line).map(drop)
    }

    /// Everything as it is now.
    pub(crate) fn world(&self) -> Result<World, Error> {
        World::of(self.testbed, &self.node)
    }

    /// The same once nothing changes by itself any more.
    pub(crate) fn at_rest(&self, pause: Duration) -> Result<World, Error> {
        World::at_rest(self.testbed, &self.node, LIMIT, pause)
    }

    /// The same once no object changes by itself any more.
    pub(crate) fn once_settled(&self, pause: Duration) -> Result<World, Error> {
        World::once_settled(self.testbed, &self.node, LIMIT, pause)
    }

    /// Nothing is other than `before`.
    pub(crate) fn is_as(&self, before: &World, what: &str) -> Result<(), Error> {
        let changed = before.differences(&self.world()?);
        demand(changed.is_empty(), &format!("{what}: nothing is changed"), &changed)
    }

    pub(crate) fn wait_budget(&self, allowed: &str) -> Result<(), Error> {
        wait_until("the budget is counted", LIMIT, || {
            let path =
                "{.status.disruptionsAllowed} {.status.observedGeneration} {.metadata.generation}";
            let budget = ["poddisruptionbudget", "web", "-n", SPACE];
            let seen = self.testbed.field(&budget, path).map_err(|error| error.to_string())?;
            let words: Vec<&str> = seen.split(' ').collect();
            if words.first() == Some(&allowed) && words.get(1) == words.get(2) {
                Ok(())
            } else {
                Err(seen)
            }
        })
    }

    pub(crate) fn pods(&self) -> Result<Vec<Pod>, Error> {
        let lines = self.testbed.field(
            &["pods", "-n", SPACE],
            "{range .items[*]}{.metadata.labels.app} {.spec.nodeName} {.status.phase} {.metadata.deletionTimestamp}{\"\\n\"}{end}",
        )?;
        let pod = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let word = |at: usize| words.get(at).copied().unwrap_or_default();
            let runs = word(2) == "Running" && word(3).is_empty();
            Pod { app: word(0).to_owned(), node: word(1).to_owned(), runs }
        };
        Ok(lines.lines().map(pod).collect())
    }

    pub(crate) fn wait_pods(
        &self,
        what: &str,
        is_so: impl Fn(&[Pod]) -> bool,
    ) -> Result<(), Error> {
        wait_until(what, LIMIT, || {
            let pods = self.pods().map_err(|error| error.to_string())?;
            if is_so(&pods) { Ok(()) } else { Err(format!("{pods:?}")) }
        })
    }
}

/// A pod of the story.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) app: String,
    pub(crate) node: String,
    pub(crate) runs: bool,
}
