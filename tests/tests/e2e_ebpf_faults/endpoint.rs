//! An address at which no API server is.

use tests::story::demand;
use tests::testbed::{Error, Testbed};

use crate::stage::{ERROR, REFUSED, Stage, says, says_nothing_of, tell};

#[test]
fn a_wrong_endpoint_is_refused_and_when_forced_taken_back() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("ebpf wrong endpoint")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("wrong endpoint", &testbed, &lock)?;
    let wrong = format!("{}:6444", testbed.layout().gateway());
    let given = format!("--api-endpoint={wrong}");
    let refused = stage.enable(&[&given])?;
    tell(&refused);
    let why = format!("nothing was changed, because {wrong} is not proven from every node");
    says(&refused, REFUSED, &[&why, "node1: ", "Connection refused", "endpoint discover"])?;
    stage.is_as_before()?;
    says_nothing_of(&stage.enable(&["--dry-run"])?, &["not proven"])?;

    let forced = stage.enable(&[&given, "--force=endpoint", "--step-timeout=30"])?;
    tell(&forced);
    let words = [
        "overridden by --force",
        "of 2 pods 1 are of the newest template",
        "container install-cni",
        "connection refused",
    ];
    says(&forced, ERROR, &words)?;
    demand(forced.stdout.contains("the cluster is as it was"), "it says how it ended", &forced)?;
    stage.end()
}
