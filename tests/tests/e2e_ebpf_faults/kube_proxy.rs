//! Somebody puts kube-proxy back a minute after it went.

use std::time::{Duration, Instant};

use tests::story::demand;
use tests::testbed::{Error, Testbed, wait_until};

use crate::stage::{ERROR, LIMIT, Stage, says, tell, wait_step};

/// As an addon manager does that knows its own manifest only.
const PUT_BACK: &str = r#"[{"op": "remove", "path": "/spec/template/spec/nodeSelector/kubectl-calico~1disable-kube-proxy"}]"#;
/// So long after it went.
const AFTER: Duration = Duration::from_secs(60);

#[test]
fn kube_proxy_that_comes_back_after_a_minute_is_noticed_and_all_is_taken_back() -> Result<(), Error>
{
    let Some(testbed) = Testbed::for_test("ebpf kube-proxy comes back")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let stage = Stage::begin("kube-proxy comes back", &testbed, &lock)?;
    let run = stage.enable_while(&["--watch-kube-proxy=75"], |journal| {
        wait_step(journal, "watch")?;
        let began = Instant::now();
        wait_until("a minute has passed, and it is still watched", LIMIT, || {
            wait_step(journal, "watch").map_err(|error| error.to_string())?;
            if began.elapsed() < AFTER { Err(format!("{:?}", began.elapsed())) } else { Ok(()) }
        })?;
        let patch = ["patch", "daemonset", "kube-proxy", "--namespace=kube-system", "--type=json"];
        let manager = ["--field-manager=addon-manager", "--patch", PUT_BACK];
        testbed.kubectl(&[&patch[..], &manager].concat()).map(drop)
    })?;
    tell(&run);
    let words = [
        "see that nobody puts kube-proxy back",
        "not true any more: no pod of DaemonSet kube-system/kube-proxy is left",
        "it wants 2 pods, last changed by addon-manager",
        "the cluster is as it was",
    ];
    says(&run, ERROR, &words)?;
    demand(!run.stderr.contains("cleanup"), "its rules were not touched before", &run)?;
    stage.end()
}
