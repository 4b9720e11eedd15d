//! The role that `check --print-rbac` prints is enough for a whole diagnosis, and each of its rules is needed.

#![cfg(all(unix, feature = "e2e"))]

use serde_json::Value;
use tests::story::{Doctor, demand};
use tests::testbed::{Error, Testbed};

const USER: &str = "jane";

/// The role and its binding, gone again in the end.
struct Role<'a>(&'a Testbed);

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let objects = [
            ["clusterrole", "kubectl-calico-doctor-check"],
            ["clusterrolebinding", "kubectl-calico-doctor-check-jane"],
        ];
        for [kind, name] in objects {
            self.0.kubectl(&["delete", kind, name, "--ignore-not-found"]).ok();
        }
    }
}

#[test]
fn the_printed_role_is_exactly_enough() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("printed role")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let printed = doctor.run(&["check", "--print-rbac", "--bind-to", USER])?;
    demand(printed.code == 0, "the role is printed", &printed)?;
    let _role = Role(&testbed);
    testbed.apply(&printed.stdout)?;
    let as_jane = ["--as", USER];
    let (code, report) = doctor.check(&as_jane)?;
    demand(code == 0 && report.roots.is_empty(), "the role is enough", &(code, &report))?;
    let role = printed.stdout.split("---\n").next().unwrap_or_default();
    let role: Value = common::yaml::from_str(role)
        .map_err(|error| Error::Odd { what: "the role".into(), why: error.to_string() })?;
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    demand(rules.len() > 5, "the role has rules", &rules)?;
    for (n, rule) in rules.iter().enumerate() {
        if is_for_migrations(rule) {
            continue;
        }
        let mut less = role.clone();
        if let Some(rules) = less["rules"].as_array_mut() {
            rules.remove(n);
        }
        testbed.apply(&less.to_string())?;
        let (code, report) = doctor.check(&as_jane)?;
        let told = report.roots.iter().any(|root| root.finding.code == "CAL-ACC-002");
        let what = format!("without {rule} it says what is missing, and exits 5");
        demand(code == 5 && told, &what, &(code, &report))?;
    }
    Ok(())
}

/// Asked for only where both API groups of Calico are served.
fn is_for_migrations(rule: &Value) -> bool {
    rule["apiGroups"][0] == "apiextensions.k8s.io"
}
