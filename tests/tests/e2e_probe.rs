//! `check --probe` and `sweep` as a user runs them: under exactly the printed role, with one rule less, and killed.

#![cfg(all(unix, feature = "e2e"))]

use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::story::{Doctor, demand};
use tests::testbed::{Error, Testbed, wait_until};

const USER: &str = "jane-probes";
const ROLE: &str = "kubectl-calico-doctor-probe";

/// The role and its binding, gone again in the end.
struct Role<'a>(&'a Testbed);

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let binding = format!("{ROLE}-{USER}");
        for [kind, name] in [["clusterrole", ROLE], ["clusterrolebinding", &binding]] {
            self.0.kubectl(&["delete", kind, name, "--ignore-not-found"]).ok();
        }
    }
}

fn ours(testbed: &Testbed) -> Result<String, Error> {
    let label = "app.kubernetes.io/managed-by=kubectl-calico";
    testbed.kubectl(&["get", "pods", "-A", "-o", "name", "-l", label])
}

#[test]
fn the_printed_role_is_enough_to_look_at_hosts() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("printed role of check --probe")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let printed = doctor.run(&["check", "--probe", "--print-rbac", "--bind-to", USER])?;
    demand(printed.code == 0, "the role is printed", &printed)?;
    let _role = Role(&testbed);
    testbed.apply(&printed.stdout)?;
    let as_jane = ["check", "--probe", "--as", USER];
    let ran = doctor.run(&as_jane)?;
    demand(ran.code == 0, "the role is enough", &ran)?;
    demand(ran.stderr.contains("privileged pod"), "it is announced", &ran)?;
    let role = printed.stdout.split("---\n").next().unwrap_or_default();
    let role: Value = common::yaml::from_str(role)
        .map_err(|error| Error::Odd { what: "the role".into(), why: error.to_string() })?;
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    // Those that looking at hosts adds. Logs and Leases are for bad days, and are not missed on a good one.
    let (pods, nodes) = ("create", "get");
    for (n, rule) in rules.iter().enumerate() {
        let is = |resource: &str, verb: &str| {
            rule["resources"][0] == resource
                && rule["verbs"].as_array().is_some_and(|it| it[0] == verb)
        };
        if !is("pods", pods) && !is("nodes", nodes) {
            continue;
        }
        let mut less = role.clone();
        if let Some(rules) = less["rules"].as_array_mut() {
            rules.remove(n);
        }
        testbed.apply(&less.to_string())?;
        let ran = doctor.run(&as_jane)?;
        demand(ran.code == 5, "without a rule it is incomplete", &(rule, &ran))?;
        let told = ran.stderr.contains("node1 could not be looked at from its host")
            && ran.stderr.contains("forbidden");
        demand(told, "it says what is missing", &(rule, &ran))?;
    }
    demand(ours(&testbed)?.is_empty(), "nothing is left", &())?;
    Ok(())
}

#[test]
fn what_a_killed_run_leaves_is_swept() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("sweep")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
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
