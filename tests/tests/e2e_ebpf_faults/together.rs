//! Faults that a run survives: another run at once, an API server that starts anew. Then somebody edits what it left, and only
//! the way back stumbles over that.

use tests::story::{Crossing, demand};
use tests::testbed::{Error, Testbed};

use crate::stage::{REFUSED, Stage, says, tell, wait_step};

#[test]
fn a_run_survives_another_one_and_an_api_server_that_starts_anew() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ebpf two runs")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("two runs, API server, edit before disable", &testbed, &lock)?;
    // An exec that the API server's end cut off is waited for in vain, for a minute.
    let run = stage.enable_while(&["--step-timeout=140"], |journal| {
        wait_step(journal, "endpoint")?;
        a_second_run_is_refused(&stage)?;
        wait_step(journal, "bpf-on")?;
        testbed.stop_api_server(&lock)?.undo()
    })?;
    tell(&run);
    reach_the_goal(&stage, run.code)?;
    an_edit_stops_the_way_back(&stage)?;
    let back = stage.run(&["disable", "--yes"])?;
    tell(&back);
    says(&back, 0, &["Done"])?;
    stage.end()
}

/// From this machine the journal tells, from another one the Lease.
fn a_second_run_is_refused(stage: &Stage<'_>) -> Result<(), Error> {
    let here = stage.enable(&[])?;
    tell(&here);
    says(&here, REFUSED, &["another run is changing this cluster", "wait for it to end"])?;
    let elsewhere = Crossing::new(stage.testbed)?;
    let words = stage.words(&[]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let there = elsewhere.plugin.run(&words)?;
    // It is not this crossing's to put right what the first one is at.
    std::mem::forget(elsewhere);
    tell(&there);
    let words =
        ["nothing was changed, because another run is changing this cluster: kubernetes-admin@"];
    says(&there, REFUSED, &words)?;
    says(&there, REFUSED, &["wait for it to end"])
}

/// It went on by itself, or is gone on with.
fn reach_the_goal(stage: &Stage<'_>, code: i32) -> Result<(), Error> {
    if code != 0 {
        let resumed = stage.run(&["resume", "--yes"])?;
        tell(&resumed);
        says(&resumed, 0, &["Done"])?;
    }
    stage.crossing.is_there()
}

fn an_edit_stops_the_way_back(stage: &Stage<'_>) -> Result<(), Error> {
    stage.testbed.tell_felix(r#"{"bpfKubeProxyIptablesCleanupEnabled": true}"#)?;
    let refused = stage.run(&["disable", "--yes"])?;
    tell(&refused);
    let words = [
        "changed since the diagnosis",
        "/spec/bpfKubeProxyIptablesCleanupEnabled",
        "disable --ignore-runs",
    ];
    says(&refused, REFUSED, &words)?;
    let get = ["felixconfiguration", "default"];
    let theirs = stage.testbed.field(&get, "{.spec.bpfKubeProxyIptablesCleanupEnabled}")?;
    demand(theirs == "true", "what they wrote is there", &theirs)?;
    stage.crossing.is_there()?;
    stage.testbed.tell_felix(r#"{"bpfKubeProxyIptablesCleanupEnabled": null}"#)
}
