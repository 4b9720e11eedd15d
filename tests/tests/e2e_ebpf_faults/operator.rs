//! The operator does not go on.

use tests::story::{NextJournal, demand};
use tests::testbed::{Error, Testbed};

use crate::stage::{ERROR, REFUSED, Stage, says, says_nothing_of, tell, wait_step, wait_undoing};

const FELIX: [&str; 2] = ["felixconfigurations.crd.projectcalico.org", "default"];
const COMPLAINT: &str = "pods/exec is forbidden by the testbed";

#[test]
fn an_operator_that_does_not_go_on_is_quoted_and_all_is_taken_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test_with_operator("ebpf operator")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("operator", &testbed, &lock)?;
    degraded_before(&stage)?;
    stalled(&stage)?;
    degraded_on_the_way(&stage)?;
    stage.end()
}

fn degraded_before(stage: &Stage<'_>) -> Result<(), Error> {
    stage.testbed.tell_operator("degraded", Some(COMPLAINT))?;
    wait_degraded(stage, COMPLAINT)?;
    let refused = stage.enable(&[])?;
    tell(&refused);
    says(&refused, REFUSED, &["nothing was changed, because operator-degraded: ", COMPLAINT])?;
    says(&refused, REFUSED, &["--force=operator-degraded"])?;
    stage.testbed.tell_operator("degraded", None)?;
    wait_degraded(stage, "")?;
    let other = r#"{"spec": {"bpfEnabled": null}}"#;
    set_felix(stage, other)?;
    wait_degraded(stage, "modified by someone else")?;
    let refused = stage.enable(&[])?;
    tell(&refused);
    let words = [
        "operator-annotation: FelixConfiguration default has bpfEnabled: nothing, and the operator wrote false",
    ];
    says(&refused, REFUSED, &words)?;
    says(&refused, REFUSED, &["kubectl annotate felixconfiguration default"])?;
    set_felix(stage, r#"{"spec": {"bpfEnabled": false}}"#)?;
    wait_degraded(stage, "")?;
    says_nothing_of(&stage.enable(&["--dry-run"])?, &["operator-degraded", "operator-annotation"])?;
    stage.is_as_before()
}

/// The rollout never counts as complete, so the operator never switches eBPF on.
fn stalled(stage: &Stage<'_>) -> Result<(), Error> {
    stage.testbed.tell_operator("stall-rollout", Some("true"))?;
    let run = stage.enable_while(&["--step-timeout=40"], |journal| {
        wait_undoing(journal)?;
        stage.testbed.tell_operator("stall-rollout", None)
    })?;
    tell(&run);
    let words = [
        "switch eBPF on",
        "every node forwards by eBPF",
        "node1: ",
        "the operator complains of nothing: it switches eBPF on once",
        "the cluster is as it was",
    ];
    says(&run, ERROR, &words)?;
    stage.is_as_before()
}

/// Somebody takes away the field that is the operator's own: it refuses to write it, and says so, until it is as it wrote it.
fn degraded_on_the_way(stage: &Stage<'_>) -> Result<(), Error> {
    let run = stage.enable_while(&["--step-timeout=40"], |journal: &NextJournal| {
        wait_step(journal, "bpf-on")?;
        set_felix(stage, r#"{"spec": {"bpfEnabled": null}}"#)?;
        wait_undoing(journal)?;
        set_felix(stage, r#"{"spec": {"bpfEnabled": false}}"#)
    })?;
    tell(&run);
    let words = [
        "the operator is Degraded: ",
        "FelixConfiguration \"default\" has been modified by someone else",
        "the cluster is as it was",
    ];
    says(&run, ERROR, &words)?;
    demand(run.stdout.contains("taken back"), "it says so", &run)
}

fn set_felix(stage: &Stage<'_>, patch: &str) -> Result<(), Error> {
    let patch = ["--type=merge", "--patch", patch];
    stage.testbed.kubectl(&[&["patch"], &FELIX[..], &patch].concat()).map(drop)
}

/// Waits until TigeraStatus calico complains of this; of nothing when it is empty.
fn wait_degraded(stage: &Stage<'_>, text: &str) -> Result<(), Error> {
    let message = "{range .status.conditions[?(@.type==\"Degraded\")]}{.status} {.message}{end}";
    tests::testbed::wait_until("the operator says how it is", crate::stage::LIMIT, || {
        let seen = stage.testbed.field(&["tigerastatus", "calico"], message);
        let seen = seen.map_err(|error| error.to_string())?;
        let good = if text.is_empty() { seen.starts_with("False") } else { seen.contains(text) };
        if good { Ok(()) } else { Err(seen) }
    })
}
