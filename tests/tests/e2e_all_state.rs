//! `kubectl calico-purge node --all-state`, live: each guard refuses and changes nothing; then everything of Calico leaves a
//! node that has pods, nothing else does, and `undo` brings the node back.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::story::{Doctor, NODE, Plugin, Ran, demand, nothing_of_ours};
use tests::testbed::{
    CNI_KUBECONFIG, CONFLIST, Dump, Error, Foreign, Node, Service, Testbed, wait_every, wait_until,
};

/// The node that stays with Calico.
const OTHER: &str = "node1";
/// Namespace of the story's pods.
const SPACE: &str = "leaving";
/// A pod on the testbed starts and stops within seconds; two minutes are for a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// The verb, with consent.
const PURGE: [&str; 4] = ["node", NODE, "--all-state", "--yes"];

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

/// The cluster as it was, brought back when the story ends, however it ends.
struct Stage<'a> {
    testbed: &'a Testbed,
    node: Node,
    purge: Plugin,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        let quietly: [&[&str]; 8] = [
            &["delete", "namespace", SPACE, "--ignore-not-found", "--wait=false"],
            &["uncordon", OTHER],
            &["uncordon", NODE],
            &[
                "label",
                "node",
                NODE,
                "kubectl-calico/excluded-",
                "node-role.kubernetes.io/control-plane-",
            ],
            &["annotate", "node", NODE, "kubectl-calico/cordoned-"],
            &[
                "label",
                "daemonset",
                "calico-node",
                "-n",
                "kube-system",
                "argocd.argoproj.io/instance-",
            ],
            &[
                "delete",
                "felixconfigurations.crd.projectcalico.org",
                "default",
                "--ignore-not-found",
            ],
            &[
                "patch",
                "clusterinformations.crd.projectcalico.org",
                "default",
                "--type=merge",
                "-p",
                READY,
            ],
        ];
        for arguments in quietly {
            drop(self.testbed.kubectl(arguments));
        }
        drop(self.node.start_service(Service::KubeProxy));
        drop(self.node.script(UNMOUNT, &[CGROUPS]));
        drop(self.testbed.repair_node(&self.node));
    }
}

/// Nodes of a machine with cgroup v1 have no cgroup v2 mounted, without which no scan is complete.
const CGROUPS: &str = "/run/testbed/cgroup2";
const MOUNT: &str =
    r#"grep -q " cgroup2 " /proc/mounts || { mkdir -p "$1" && mount -t cgroup2 cgroup2 "$1"; }"#;
const UNMOUNT: &str = r#"umount "$1" 2>/dev/null; rmdir "$1" 2>/dev/null; exit 0"#;

const READY: &str = r#"{"spec":{"datastoreReady":true}}"#;
const LOCKED: &str = r#"{"spec":{"datastoreReady":false}}"#;

#[test]
fn everything_of_calico_leaves_a_node_and_comes_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("purge node --all-state")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let stage = Stage { testbed: &testbed, node, purge: Plugin::purge(&testbed)? };
    stage.populate()?;
    let before = stage.at_rest()?;
    stage.dry_run_changes_nothing(&before)?;
    stage.guards()?;
    let began = Instant::now();
    let run = stage.leave()?;
    println!("left after {} s", began.elapsed().as_secs());
    let began = Instant::now();
    stage.come_back(&run, &before)?;
    println!("back after {} s", began.elapsed().as_secs());
    Ok(())
}

/// What a refused run must leave as it is.
#[derive(Debug, PartialEq)]
struct World {
    /// Labels, annotations and spec of nodes. Their resourceVersion also counts what kubelets report of themselves.
    nodes: String,
    /// DaemonSets and pods with their resourceVersions.
    objects: String,
    dump: Dump,
}

impl Stage<'_> {
    fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.testbed.kubectl(arguments)
    }

    fn populate(&self) -> Result<(), Error> {
        let gone = ["delete", "namespace", SPACE, "--ignore-not-found"];
        self.kubectl(&gone)?;
        self.kubectl(&["create", "namespace", SPACE])?;
        self.kubectl(&["cordon", OTHER])?;
        self.testbed.apply(MANIFEST)?;
        self.wait_pods("the pods run", |pods| pods.iter().filter(|it| it.runs).count() == 4)?;
        self.kubectl(&["uncordon", OTHER])?;
        let on = self.pods()?;
        let here = on.iter().filter(|it| it.app == "web" && it.node == NODE).count();
        demand(here == 2, "web runs on the node that is to be left", &on)?;
        self.node.script(MOUNT, &[CGROUPS])?;
        // It rewrites its rules every half minute.
        self.node.stop_service(Service::KubeProxy)
    }

    fn world(&self) -> Result<World, Error> {
        let versions = "{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} \
                        {.metadata.resourceVersion}{\"\\n\"}{end}";
        Ok(World {
            nodes: self.testbed.field(
                &["nodes"],
                "{range .items[*]}{.metadata.labels}{.metadata.annotations}{.spec}{\"\\n\"}{end}",
            )?,
            objects: self.testbed.field(&["daemonsets,pods", "-A"], versions)?,
            dump: Dump::of(self.testbed, &self.node)?,
        })
    }

    /// The same once nothing changes by itself any more: the kernel takes seconds to give a new interface its address.
    fn at_rest(&self) -> Result<World, Error> {
        let mut before = self.world()?;
        wait_every("the node comes to rest", LIMIT, Duration::from_secs(3), || {
            let now = self.world().map_err(|error| error.to_string())?;
            if now == before {
                return Ok(now);
            }
            before = now;
            Err("it still changes".to_owned())
        })
    }

    fn dry_run_changes_nothing(&self, before: &World) -> Result<(), Error> {
        let ran = self.purge.run(&["node", NODE, "--all-state", "--dry-run"])?;
        demand(ran.code == 0, "a dry run prints the plan", &ran)?;
        for words in ["cordon node2", "evict the pods", "keep calico-node off", "uncordon node2"] {
            demand(ran.stdout.contains(words), words, &ran.stdout)?;
        }
        demand(&self.world()? == before, "a dry run changes nothing", &ran)
    }

    /// Each guard that this testbed can bring about: it refuses with its code, and nothing is changed.
    fn guards(&self) -> Result<(), Error> {
        self.refused_while("CAL-GRD-001", &["cordon", OTHER], &["uncordon", OTHER])?;
        let role = "node-role.kubernetes.io/control-plane";
        self.refused_while(
            "CAL-GRD-002",
            &["label", "node", NODE, &format!("{role}=")],
            &["label", "node", NODE, &format!("{role}-")],
        )?;
        let foreign = self.testbed.foreign_conflist(&self.node, Foreign::Uninstalled)?;
        self.refused("CAL-GRD-003", &[])?;
        foreign.undo()?;
        let set = ["label", "daemonset", "calico-node", "-n", "kube-system"];
        let label = |value: &'static str| [&set[..], &[value]].concat();
        self.refused_while(
            "CAL-GRD-005",
            &label("argocd.argoproj.io/instance=net"),
            &label("argocd.argoproj.io/instance-"),
        )?;
        self.testbed.apply(
            "apiVersion: crd.projectcalico.org/v1\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: {bpfEnabled: true}\n",
        )?;
        self.refused("CAL-GRD-006", &[])?;
        self.kubectl(&["delete", "felixconfigurations.crd.projectcalico.org", "default"])?;
        let patch =
            ["patch", "clusterinformations.crd.projectcalico.org", "default", "--type=merge", "-p"];
        self.refused_while(
            "CAL-GRD-008",
            &[&patch[..], &[LOCKED]].concat(),
            &[&patch[..], &[READY]].concat(),
        )?;
        let budget = ["patch", "poddisruptionbudget", "web", "-n", SPACE, "--type=merge", "-p"];
        self.kubectl(&[&budget[..], &[r#"{"spec":{"minAvailable":2}}"#]].concat())?;
        self.wait_budget("0")?;
        self.refused("CAL-GRD-010", &[])?;
        self.kubectl(&[&budget[..], &[r#"{"spec":{"minAvailable":1}}"#]].concat())?;
        self.wait_budget("1")?;
        // It stays: the run that follows overrides this guard, and the pod is lost.
        self.testbed.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: bare, namespace: {SPACE}, labels: {{app: bare}}}}\nspec:\n  nodeName: {NODE}\n  \
             terminationGracePeriodSeconds: 1\n  containers: [{{name: c, image: \"docker.io/library/busybox:1.36\", \
             imagePullPolicy: Never, command: [sleep, \"100000\"]}}]\n"
        ))?;
        self.wait_pods("the bare pod runs", |pods| {
            pods.iter().any(|it| it.app == "bare" && it.runs)
        })?;
        self.refused("CAL-GRD-009", &[])?;
        self.refused("CAL-GRD-009", &["--force=CAL-GRD-010"])
    }

    fn refused_while(&self, code: &str, make: &[&str], undo: &[&str]) -> Result<(), Error> {
        self.kubectl(make)?;
        let refused = self.refused(code, &[]);
        self.kubectl(undo)?;
        refused
    }

    fn refused(&self, code: &str, more: &[&str]) -> Result<(), Error> {
        let before = self.at_rest()?;
        let ran = self.purge.run(&[&PURGE[..], more].concat())?;
        let says = ran.stderr.contains(code) && ran.stderr.contains("nothing was changed");
        demand(ran.code == 6 && says, &format!("{code} refuses"), &ran)?;
        // The control: overridden by its own code, that guard says no more.
        let force = format!("--force={code}");
        let forced = self.purge.run(&["node", NODE, "--all-state", "--dry-run", &force])?;
        demand(!forced.stderr.contains(code), &format!("--force={code}"), &forced)?;
        let after = self.world()?;
        demand(after == before, &format!("{code}: nothing is changed"), &(&before, &after))?;
        println!("{code}: refused, nothing changed");
        Ok(())
    }

    /// Calico leaves the node. Returns the run's id.
    fn leave(&self) -> Result<String, Error> {
        let others = self.others()?;
        let words = ["--force=CAL-GRD-009", "-o", "json"];
        let ran = self.purge.run(&[&PURGE[..], &words].concat())?;
        demand(ran.code == 0, "everything leaves, and exit code 0 says so", &ran)?;
        let report = document(&ran)?;
        for step in report["outcome"]["steps"].as_array().into_iter().flatten() {
            println!("  {} {}: {} s", step["id"], step["state"], step["seconds"]);
        }
        self.is_clean()?;
        self.pods_moved()?;
        demand(
            self.others()? == others,
            "what runs elsewhere is untouched",
            &(&others, self.others()?),
        )?;
        nothing_of_ours(self.testbed)?;
        let node =
            self.testbed.field(&["node", NODE], "{.spec.unschedulable}{.metadata.annotations}")?;
        let is_ours = ["projectcalico", "kubectl-calico"].iter().any(|it| node.contains(it));
        demand(!node.starts_with("true") && !is_ours, "the Node object", &node)?;
        let again = self.purge.run(&["leftovers", NODE])?;
        demand(again.code == 0, "a scan finds nothing", &again)?;
        Ok(report["plan"]["id"].as_str().unwrap_or_default().to_owned())
    }

    fn is_clean(&self) -> Result<(), Error> {
        for path in [CONFLIST, CNI_KUBECONFIG, "/opt/cni/bin/calico", "/var/lib/calico"] {
            demand(!self.node.has(path)?, &format!("{path} is gone"), &())?;
        }
        let script = "ip -o link; ip route show table all; iptables-save; iptables-legacy-save; ipset list -n; nft list tables";
        let shown = self.node.script(script, &[])?;
        let left: Vec<&str> = shown
            .lines()
            .filter(|it| ["cali", "vxlan.calico"].iter().any(|word| it.contains(word)))
            .collect();
        demand(left.is_empty(), "nothing of Calico in the kernel", &left)
    }

    /// Pods of the Deployment run elsewhere; that of the DaemonSet waits; the bare one is lost.
    fn pods_moved(&self) -> Result<(), Error> {
        self.wait_pods("the pods are where they should be", |pods| {
            let web = pods.iter().filter(|it| it.app == "web").collect::<Vec<_>>();
            let agent = pods.iter().find(|it| it.app == "agent" && it.node == NODE);
            web.len() == 2
                && web.iter().all(|it| it.runs && it.node == OTHER)
                && agent.is_some_and(|it| !it.runs)
                && !pods.iter().any(|it| it.app == "bare")
        })?;
        let calico = self.testbed.field(
            &[
                "pods",
                "-n",
                "kube-system",
                "-l",
                "k8s-app=calico-node",
                "--field-selector",
                "spec.nodeName=node2",
            ],
            "{.items[*].metadata.name}",
        )?;
        demand(calico.is_empty(), "calico-node keeps off", &calico)
    }

    /// Pods of other nodes with their containers, without those that this story moves there.
    fn others(&self) -> Result<String, Error> {
        let all = self.testbed.field(
            &["pods", "-A", "--field-selector", &format!("spec.nodeName={OTHER}")],
            "{range .items[*]}{.metadata.labels.app} {.metadata.name} {.metadata.uid} {.status.containerStatuses[*].containerID}{\"\\n\"}{end}",
        )?;
        Ok(all.lines().filter(|it| !it.starts_with("web ")).collect::<Vec<_>>().join("\n"))
    }

    fn come_back(&self, run: &str, before: &World) -> Result<(), Error> {
        let ran = self.purge.run(&["undo", run, "--yes"])?;
        demand(ran.code == 0, "undo takes the run back", &ran)?;
        self.node.start_service(Service::KubeProxy)?;
        self.wait_pods("the node's pods run again", |pods| {
            pods.iter().any(|it| it.app == "agent" && it.node == NODE && it.runs)
        })?;
        let doctor = Doctor::new(self.testbed)?;
        wait_until("the doctor finds nothing", LIMIT, || {
            let (code, report) = doctor.check(&[]).map_err(|error| error.to_string())?;
            if code == 0 { Ok(()) } else { Err(format!("{code}: {report:?}")) }
        })?;
        let nodes = self.world()?.nodes;
        for word in ["kubectl-calico/excluded", "kubectl-calico/cordoned", "unschedulable"] {
            demand(!nodes.contains(word), word, &nodes)?;
        }
        let set = self.testbed.field(
            &["daemonset", "calico-node", "-n", "kube-system"],
            "{.spec.updateStrategy}{.spec.template.spec.affinity}{.metadata.annotations}",
        )?;
        let is_as_before = set.contains("RollingUpdate") && !set.contains("kubectl-calico/");
        demand(is_as_before, "DaemonSet calico-node is as it was", &(set, &before.nodes))?;
        nothing_of_ours(self.testbed)
    }

    fn wait_budget(&self, allowed: &str) -> Result<(), Error> {
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

    fn pods(&self) -> Result<Vec<Pod>, Error> {
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

    fn wait_pods(&self, what: &str, is_so: impl Fn(&[Pod]) -> bool) -> Result<(), Error> {
        wait_until(what, LIMIT, || {
            let pods = self.pods().map_err(|error| error.to_string())?;
            if is_so(&pods) { Ok(()) } else { Err(format!("{pods:?}")) }
        })
    }
}

/// A pod of the story.
#[derive(Debug)]
struct Pod {
    app: String,
    node: String,
    runs: bool,
}

fn document(ran: &Ran) -> Result<Value, Error> {
    serde_json::from_str(&ran.stdout).map_err(|error| Error::Odd {
        what: format!("purge's document: {}{}", ran.stdout, ran.stderr),
        why: error.to_string(),
    })
}
