//! Somebody else edits FelixConfiguration.

use tests::story::demand;
use tests::testbed::{Error, Testbed};

use crate::stage::{REFUSED, Stage, says, tell, wait_step};

const CLEANUP: &str = "{.spec.bpfKubeProxyIptablesCleanupEnabled}";

/// A field that the run is about to write.
#[test]
fn what_somebody_else_writes_on_the_way_is_not_overwritten() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ebpf FelixConfiguration on the way")? else {
        return Ok(());
    };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("FelixConfiguration on the way", &testbed, &lock)?;
    let run = stage.enable_while(&[], |journal| {
        wait_step(journal, "endpoint")?;
        testbed.tell_felix(r#"{"bpfKubeProxyIptablesCleanupEnabled": true}"#)
    })?;
    tell(&run);
    let words = [
        "switch eBPF on",
        "FelixConfiguration default changed since the diagnosis",
        "/spec/bpfKubeProxyIptablesCleanupEnabled",
        "the cluster is as it was",
    ];
    says(&run, REFUSED, &words)?;
    let theirs = testbed.field(&["felixconfiguration", "default"], CLEANUP)?;
    demand(theirs == "true", "what they wrote is there", &theirs)?;
    // The control: with what they wrote the cluster is not what it was.
    demand(stage.is_as_before().is_err(), "a difference is seen", &())?;
    testbed.tell_felix(r#"{"bpfKubeProxyIptablesCleanupEnabled": null}"#)?;
    stage.end()
}
