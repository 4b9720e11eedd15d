//! `kubectl calico-purge node --all-state`, live: everything of Calico leaves a node that has pods, nothing else does, and `undo`
//! brings the node back. Before that, what the API server says to it without doing it; and every guard (`guards`).

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

mod guards;
mod situations;
mod stage;

use std::time::{Duration, Instant};

use serde_json::Value;
use stage::{ENDED, LIMIT, OTHER, Stage};
use tests::story::{Doctor, NODE, Ran, World, demand, nothing_of_ours};
use tests::testbed::{CNI_KUBECONFIG, CONFLIST, Error, Service, Testbed, wait_until};

/// The verb, with consent.
const PURGE: [&str; 4] = ["node", NODE, "--all-state", "--yes"];
/// The verb, tried on the API server.
const TRIED: [&str; 6] = ["node", NODE, "--all-state", "--dry-run=server", "-o", "json"];
/// Between two looks that must agree: the kernel takes seconds to give the interface of a new pod its address.
const AT_REST: Duration = Duration::from_secs(3);

#[test]
fn everything_of_calico_leaves_a_node_and_comes_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("purge node --all-state")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let stage = Stage::new(&testbed)?;
    let before = stage.at_rest(AT_REST)?;
    stage.dry_run_changes_nothing(&before)?;
    stage.the_server_has_its_say(&before)?;
    stage.add_bare_pod()?;
    let began = Instant::now();
    let run = stage.leave()?;
    println!("left after {} s", began.elapsed().as_secs());
    let began = Instant::now();
    stage.come_back(&run, &before)?;
    println!("back after {} s", began.elapsed().as_secs());
    Ok(())
}

impl Stage<'_> {
    fn dry_run_changes_nothing(&self, before: &World) -> Result<(), Error> {
        let ran = self.purge.run(&["node", NODE, "--all-state", "--dry-run"])?;
        demand(ran.code == 0, "a dry run prints the plan", &ran)?;
        for words in ["cordon node2", "evict the pods", "keep calico-node off", "uncordon node2"] {
            demand(ran.stdout.contains(words), words, &ran.stdout)?;
        }
        self.is_as(before, "a dry run")
    }

    /// Every request of the plan is tried on the API server, whose own admission speaks; nothing is changed by that.
    fn the_server_has_its_say(&self, before: &World) -> Result<(), Error> {
        let ran = self.purge.run(&TRIED)?;
        let said = answers(&ran)?;
        println!("the API server says: {said:?}");
        let answered = |step: &str, answer: &str| {
            let is_so = said.iter().any(|(id, it, _)| id.starts_with(step) && it == answer);
            demand(is_so, &format!("{step}: {answer}"), &said)
        };
        for step in ["keep-off", "cordon", "exclude", "evict", "delete-daemon-pods"] {
            answered(step, "accepted")?;
        }
        answered("remove-annotations", "accepted")?;
        answered("uncordon", "nothingToDo")?;
        demand(ran.code == 0 && !said.iter().any(|it| it.1 == "refused"), "it accepts all", &ran)?;
        self.is_as(before, "a dry run on the server")?;

        situations::refuse_cordons(self)?;
        let ran = self.purge.run(&TRIED)?;
        let refused: Vec<_> = answers(&ran)?.into_iter().filter(|it| it.1 == "refused").collect();
        let is_told = |it: &(String, String, String)| {
            it.0.starts_with("cordon/") && it.2.contains("nobody cordons nodes here")
        };
        demand(refused.len() == 1 && is_told(&refused[0]), "the cordon is refused", &refused)?;
        demand(ran.code == 6, "and that is an exit code", &ran)?;
        let text = self.purge.run(&TRIED[..4])?;
        demand(text.stdout.contains("nobody cordons nodes here"), "and is told", &text)?;
        // The control: without the server nobody knows.
        let client = self.purge.run(&["node", NODE, "--all-state", "--dry-run"])?;
        demand(client.code == 0, "a dry run of the client cannot tell", &client)?;
        situations::allow_cordons(self)?;
        self.is_as(before, "what the server refused")
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
        self.pods_had_their_time()?;
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

    /// Pods of DaemonSets end by themselves when their own spec gives them the time; otherwise, as the control shows, not.
    fn pods_had_their_time(&self) -> Result<(), Error> {
        let ended = |name: &str| self.node.has(&format!("{ENDED}/{name}"));
        demand(ended("patient")?, "a pod with 30 s has ended after 6 s", &())?;
        demand(!ended("hasty")?, "a pod with 2 s has not", &())
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
        let nodes = self.world()?.nodes();
        for word in ["kubectl-calico/excluded", "kubectl-calico/cordoned", "unschedulable"] {
            demand(!nodes.contains(word), word, &nodes)?;
        }
        let set = self.testbed.field(
            &["daemonset", "calico-node", "-n", "kube-system"],
            "{.spec.updateStrategy}{.spec.template.spec.affinity}{.metadata.annotations}",
        )?;
        let is_as_before = set.contains("RollingUpdate") && !set.contains("kubectl-calico/");
        demand(is_as_before, "DaemonSet calico-node is as it was", &(set, before.nodes()))?;
        nothing_of_ours(self.testbed)
    }
}

/// Step, answer, and what was said, of a dry run on the server.
fn answers(ran: &Ran) -> Result<Vec<(String, String, String)>, Error> {
    let report = document(ran)?;
    let steps = report["rehearsal"].as_array().cloned().unwrap_or_default();
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    Ok(steps.iter().map(|it| (text(it, "step"), text(it, "answer"), text(it, "said"))).collect())
}

fn document(ran: &Ran) -> Result<Value, Error> {
    serde_json::from_str(&ran.stdout).map_err(|error| Error::Odd {
        what: format!("purge's document: {}{}", ran.stdout, ran.stderr),
        why: error.to_string(),
    })
}
