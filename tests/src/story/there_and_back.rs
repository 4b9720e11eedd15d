//! The story that `kubectl calico-ebpf` exists for: a cluster goes to eBPF without kube-proxy, and comes back.

use std::time::Instant;

use super::{Crossing, Watcher, demand, differences, nothing_of_ours};
use crate::testbed::{Error, Progress, Testbed};

/// There, and back to exactly what was before; a watcher sees no moment at which nobody serves a node's Services, and is shown to
/// be able to see one.
///
/// # Errors
/// When anything of it is not so.
pub fn there_and_back(testbed: &Testbed) -> Result<(), Error> {
    let crossing = Crossing::new(testbed)?;
    let before = crossing.settled()?;
    dry_run_changes_nothing(&crossing)?;
    // The control: what is demanded after the run is not true before it.
    demand(crossing.is_there().is_err(), "eBPF is off before", &())?;
    let watcher = Watcher::start(testbed);
    let began = Instant::now();
    let ran = crossing.enable()?;
    demand(ran.code == 0, "enable exits 0", &ran)?;
    crossing.is_there()?;
    nothing_but_the_endpoint(testbed)?;
    say(&format!("there after {} s", began.elapsed().as_secs()));

    let status = crossing.plugin.run(&["status"])?;
    demand(status.code == 0, "status finds nothing wrong", &status)?;

    let again = crossing.enable()?;
    demand(again.code == 0 && again.stdout.contains("eBPF is on"), "again is nothing", &again)?;

    let began = Instant::now();
    let ran = crossing.plugin.run(&["disable", "--yes"])?;
    demand(ran.code == 0, "disable exits 0", &ran)?;
    crossing.is_back()?;
    nothing_of_ours(testbed)?;
    say(&format!("back after {} s", began.elapsed().as_secs()));
    let lines = differences(&before, &crossing.settled()?);
    say(&format!("differences of the touched objects: {}", lines.len()));
    demand(lines.is_empty(), "every touched object is what it was", &lines)?;
    let watched = watcher.end();
    say(&format!("{watched:?}"));
    demand(watched.is_quiet(), "somebody served every node all the time", &watched)?;
    Watcher::can_fire(testbed)
}

/// Of all that a run makes only the ConfigMap by which Calico finds the API server stays.
fn nothing_but_the_endpoint(testbed: &Testbed) -> Result<(), Error> {
    let kinds = "pods,services,endpointslices,leases,configmaps";
    let select = "--selector=app.kubernetes.io/managed-by=kubectl-calico";
    let left = testbed.kubectl(&["get", kinds, "--all-namespaces", "--output=name", select])?;
    demand(left.trim() == "configmap/kubernetes-services-endpoint", "nothing else is left", &left)
}

/// `--dry-run` prints a difference for every object, and changes none.
fn dry_run_changes_nothing(crossing: &Crossing<'_>) -> Result<(), Error> {
    let before = crossing.touched()?;
    let mut words = crossing.enable_words();
    words.retain(|it| it != "--yes");
    for how in ["--dry-run", "--dry-run=server"] {
        let words: Vec<&str> = words.iter().map(String::as_str).chain([how]).collect();
        let ran = crossing.plugin.run(&words)?;
        demand(ran.code == 0, how, &ran)?;
        for shown in [
            "kubernetes-services-endpoint (new)",
            "DaemonSet kube-system/kube-proxy",
            "FelixConfiguration default",
            "+ ",
        ] {
            demand(ran.stdout.contains(shown), shown, &ran.stdout)?;
        }
    }
    let lines = differences(&before, &crossing.touched()?);
    demand(lines.is_empty(), "a dry run changes nothing", &lines)?;
    nothing_of_ours(crossing.testbed)
}

/// What was measured, for whoever reads the test's output.
fn say(line: &str) {
    Progress::on_stderr().line(line);
}
