//! Something on a node keeps kube-proxy's rules where Felix removes them.

use tests::story::demand;
use tests::testbed::{Error, Testbed};

use crate::stage::{ERROR, Stage, says, tell};

/// A rule that goes to kube-proxy's chain. Felix takes out jumps, not this, and a chain that a rule leads to cannot be deleted.
const HOLD: &str =
    "iptables -t nat -N somebodys-own && iptables -t nat -A somebodys-own -g KUBE-SERVICES";
const LET_GO: &str = "iptables -t nat -F somebodys-own && iptables -t nat -X somebodys-own";

#[test]
fn rules_that_stay_on_one_node_are_noticed_and_all_is_taken_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ebpf rules that stay")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("rules that stay", &testbed, &lock)?;
    let node = testbed.node("node2")?;
    node.script(HOLD, &[])?;
    let run = stage.enable(&["--step-timeout=40"]);
    node.script(LET_GO, &[])?;
    let run = run?;
    tell(&run);
    let words = [
        "have Felix remove kube-proxy's rules",
        "node2: Felix has not removed kube-proxy's rules: chain KUBE-SERVICES is in iptables-",
        "the cluster is as it was",
    ];
    says(&run, ERROR, &words)?;
    let is_told_of_others = run.stdout.contains("node1: Felix has not removed");
    demand(!is_told_of_others, "of the other node they went", &run)?;
    let back = run.stdout.rsplit_once("have Felix remove").map_or("", |it| it.1);
    demand(!back.contains("needs no undo"), "only what is taken back is listed", &run)?;
    stage.end()
}
