//! The roles that `kubectl calico-purge VERB --print-rbac` prints are exactly enough, as `e2e_rbac` shows it of the doctor's:
//! without any single right a verb says what is forbidden, changes nothing and leaves nothing; with all of them it does its work.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::Duration;

use tests::story::{
    Files, NODE, Plugin, Right, Stage, Verb, demand, is_named, is_seldom, nothing_of_ours,
    remove_backups,
};
use tests::testbed::{Error, Foreign, Testbed, wait_until};

/// The node that stays with Calico.
const OTHER: &str = "node1";
/// Under its whole role it does its work.
fn works(verb: &Verb<'_>) -> Result<(), Error> {
    verb.whole()?;
    println!("{}", verb.told());
    Ok(())
}

/// `node` on another plugin's configuration in front of Calico's.
#[test]
fn node() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of purge node")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let purge = Plugin::purge(&testbed)?;
    let stage = Stage::new(&testbed, &purge)?;
    let _fault = testbed.foreign_conflist(&stage.node, Foreign::Uninstalled)?;
    let broken = Files::of(&stage.node)?;
    // Its repairs are the doctor's: `rights_of_single_repairs` in e2e_rbac.
    let of_others = ["get daemonsets.apps", "create serviceaccounts/token"];
    let node = stage.verb("purge-node", (&["node"], &["node", NODE, "--yes"]))?;
    stage.each_is_missed(&node, |right| !is_named(right, &of_others))?;
    works(&node)?;
    demand(Files::of(&stage.node)? != broken, "it worked on the host", &())?;

    // Node pods and the Lease; objects are changed back below.
    let undo = stage.verb("purge-undo-host", (&["undo"], &["undo", "last", "--yes"]))?;
    stage.each_is_missed(&undo, |right| !is_of_objects(right))?;
    works(&undo)?;
    demand(Files::of(&stage.node)? == broken, "every byte is as it was", &())?;
    remove_backups(&stage.node)?;
    nothing_of_ours(&testbed)
}

/// Rights by which a run changes nodes, DaemonSets and pods.
fn is_of_objects(right: &Right) -> bool {
    is_named(
        right,
        &[
            "patch nodes",
            "patch nodes/status",
            "get daemonsets.apps",
            "patch daemonsets.apps",
            "create pods/eviction",
        ],
    )
}

/// A pod that moves when its node is drained, and that waits for nobody.
const WEB: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: roles-leaving}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: roles-leaving}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: "docker.io/library/busybox:1.36", imagePullPolicy: Never, command: [sleep, "100000"]}]
"#;

/// Refuses every change of calico-node's DaemonSet, which is the first thing that `--all-state` changes.
const POLICY: &str = r#"{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"roles-not-now"},
 "spec":{"failurePolicy":"Fail","matchConstraints":{"resourceRules":[{"apiGroups":["apps"],"apiVersions":["v1"],"operations":["UPDATE"],"resources":["daemonsets"]}]},
 "validations":[{"expression":"object.metadata.name != 'calico-node'","message":"not now"}]}},
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":"roles-not-now"},
 "spec":{"policyName":"roles-not-now","validationActions":["Deny"]}}]}"#;

/// A node with a pod that another node may take, as it was before once this is dropped.
struct Drained<'a>(Stage<'a>);

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        // Says that there is nothing to take back when the test went well.
        drop(self.0.purge.run(&["undo", "last", "--yes"]));
        let policy = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        let quietly: [&[&str]; 5] = [
            &["delete", policy, "roles-not-now", "--ignore-not-found"],
            &["delete", "namespace", "roles-leaving", "--ignore-not-found", "--wait=false"],
            &["uncordon", OTHER, NODE],
            &["label", "node", NODE, "kubectl-calico/excluded-"],
            &["annotate", "node", NODE, "kubectl-calico/cordoned-"],
        ];
        for arguments in quietly {
            drop(self.0.testbed.kubectl(arguments));
        }
        drop(self.0.testbed.unmount_cgroups(&self.0.node));
        drop(self.0.testbed.repair_node(&self.0.node));
    }
}

impl Drained<'_> {
    fn prepare(&self) -> Result<(), Error> {
        let Stage { testbed, node, .. } = &self.0;
        testbed.mount_cgroups(node)?;
        testbed.kubectl(&["cordon", OTHER])?;
        testbed.apply(WEB)?;
        self.wait_web(NODE)?;
        testbed.kubectl(&["uncordon", OTHER]).map(drop)
    }

    fn wait_web(&self, node: &str) -> Result<(), Error> {
        let path = "{.items[*].spec.nodeName} {.items[*].status.phase}";
        let pods = ["pods", "-n", "roles-leaving", "--field-selector", "status.phase=Running"];
        wait_until("the pod runs", Duration::from_secs(90), || {
            let seen = self.0.testbed.field(&pods, path).map_err(|error| error.to_string())?;
            if seen == format!("{node} Running") { Ok(()) } else { Err(seen) }
        })
    }

    /// A run that failed before it changed anything, because the API server did not take its first change.
    fn fail_at_once(&self) -> Result<(), Error> {
        let Stage { testbed, purge, .. } = &self.0;
        let before = self.0.marks()?;
        testbed.apply(POLICY)?;
        let change = ["annotate", "daemonset", "calico-node", "-n", "kube-system"];
        wait_until("the policy holds", Duration::from_secs(60), || {
            let tried = testbed.kubectl(&[&change[..], &["roles=x", "--dry-run=server"]].concat());
            match tried {
                Err(error) if error.to_string().contains("not now") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        let ran = purge.run(&["node", NODE, "--all-state", "--yes"])?;
        let policy = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        testbed.kubectl(&["delete", policy, "roles-not-now"])?;
        wait_until("the policy is gone", Duration::from_secs(60), || {
            let tried = testbed.kubectl(&[&change[..], &["roles=x", "--dry-run=server"]].concat());
            tried.map(drop).map_err(|error| error.to_string())
        })?;
        demand(ran.code == 1 && self.0.marks()? == before, "it failed at its first step", &ran)
    }

    /// The node has Calico again, and its pods can start.
    fn is_back(&self, before: &str) -> Result<(), Error> {
        self.0.testbed.wait_ready()?;
        let now = self.0.marks()?;
        demand(now == before, "nodes and the DaemonSet are as they were", &(before, &now))
    }
}

/// `node --all-state`, and `undo` and `resume` of it.
#[test]
fn everything_of_a_node() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of --all-state")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let purge = Plugin::purge(&testbed)?;
    let stage = Drained(Stage::new(&testbed, &purge)?);
    stage.prepare()?;
    let before = stage.0.marks()?;
    let role: &[&str] = &["node", "--all-state"];
    let leave = stage.0.verb("purge-all", (role, &["node", NODE, "--all-state", "--yes"]))?;
    stage.0.each_is_missed(&leave, |_| true)?;
    works(&leave)?;
    stage.wait_web(OTHER)?;

    let undo = stage.0.verb("purge-undo", (&["undo"], &["undo", "last", "--yes"]))?;
    let objects = ["patch nodes", "get daemonsets.apps", "patch daemonsets.apps"];
    stage.0.each_is_missed(&undo, |right| is_named(right, &objects))?;
    works(&undo)?;
    stage.is_back(&before)?;

    testbed.kubectl(&["cordon", OTHER])?;
    testbed.kubectl(&["delete", "pod", "-n", "roles-leaving", "-l", "app=web"])?;
    stage.wait_web(NODE)?;
    testbed.kubectl(&["uncordon", OTHER])?;
    stage.fail_at_once()?;
    let resume = stage.0.verb("purge-resume", (&["resume"], &["resume", "last", "--yes"]))?;
    stage.0.each_is_missed(&resume, is_of_objects)?;
    works(&resume)?;
    stage.wait_web(OTHER)?;
    let ran = purge.run(&["undo", "last", "--yes"])?;
    demand(ran.code == 0, "it is taken back", &ran)?;
    stage.is_back(&before)?;
    nothing_of_ours(&testbed)
}

/// A scan, a removal, and what `undo` gives back of it to the Node object.
#[test]
fn leftovers() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of leftovers")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let purge = Plugin::purge(&testbed)?;
    let stage = Stage::new(&testbed, &purge)?;
    let abandoned = testbed.abandon(&stage.node)?;
    let scan = stage.verb("purge-scan", (&["leftovers"], &["leftovers", NODE]))?;
    stage.each_is_missed(&scan, |_| true)?;
    let seldom = scan.places(is_seldom);
    for (right, ran) in scan.without_each(&seldom)? {
        demand(ran.code == 0, &format!("{right} is not missed"), &ran)?;
    }
    works(&scan)?;

    abandoned.seed_object()?;
    abandoned.seed_only(&["link/bwcali3f5078e6c"])?;
    let role: &[&str] = &["leftovers", "--remove"];
    let remove = stage.verb("purge-remove", (role, &["leftovers", NODE, "--remove", "--yes"]))?;
    stage.each_is_missed(&remove, |_| true)?;
    works(&remove)?;
    let undo = stage.verb("purge-undo-left", (&["undo"], &["undo", "last", "--yes"]))?;
    stage.each_is_missed(&undo, |right| is_named(right, &["patch nodes", "patch nodes/status"]))?;
    works(&undo)?;
    abandoned.end()?;
    testbed.wait_ready()?;
    nothing_of_ours(&testbed)
}
