//! `check --probe` and `sweep` as a user runs them: announced, killed, tidied up after.

#![cfg(all(unix, feature = "e2e"))]

use std::process::{Command, Stdio};
use std::time::Duration;
use tests::story::{Doctor, demand};
use tests::testbed::{Error, Testbed, wait_until};

fn ours(testbed: &Testbed) -> Result<String, Error> {
    let label = "app.kubernetes.io/managed-by=kubectl-calico";
    testbed.kubectl(&["get", "pods", "-A", "-o", "name", "-l", label])
}

#[test]
fn what_a_killed_run_leaves_is_swept() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("sweep")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let ran = doctor.run(&["check", "--probe"])?;
    let announced = ran.stderr.contains("privileged pod");
    demand(ran.code == 0 && announced && ours(&testbed)?.is_empty(), "it is announced", &ran)?;
    for (signal, leaves) in [("-TERM", false), ("-INT", false), ("-KILL", true)] {
        let mut child = Command::new(doctor.binary())
            .args(["check", "--probe"])
            .env("KUBECONFIG", testbed.kubeconfig())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Error::Odd { what: "doctor".into(), why: error.to_string() })?;
        let seen = wait_until("a node pod exists", Duration::from_secs(30), || {
            match ours(&testbed).map_err(|error| error.to_string())? {
                pods if pods.is_empty() => Err("none".to_owned()),
                _ => Ok(()),
            }
        });
        let killed = Command::new("kill").arg(signal).arg(child.id().to_string()).status();
        let ended = child.wait();
        seen?;
        demand(killed.is_ok_and(|it| it.success()), "it ran when it was killed", &ended)?;
        let left = ours(&testbed)?;
        demand(left.is_empty() != leaves, "a signal that can be heard is", &(signal, &left))?;
    }
    let shy = doctor.run(&["sweep", "--yes"])?;
    demand(shy.code == 0 && !ours(&testbed)?.is_empty(), "what may be in use is left", &shy)?;
    let asked = doctor.run(&["sweep", "--all"])?;
    demand(asked.code == 6 && !ours(&testbed)?.is_empty(), "nothing without a yes", &asked)?;
    let swept = doctor.run(&["sweep", "--all", "--yes"])?;
    demand(swept.code == 0 && ours(&testbed)?.is_empty(), "it is swept", &swept)
}
