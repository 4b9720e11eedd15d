//! The roles that `--print-rbac` prints: `check`'s is enough for a whole diagnosis, and without any one of its rules (but that
//! for migrations, which this cluster never asks for) the diagnosis says what is missing; `fix`'s is enough for a repair.

#![cfg(all(unix, feature = "e2e"))]

use serde_json::Value;
use tests::story::{Doctor, Files, NODE, Story, demand, remove_backups};
use tests::testbed::{Error, Fault, Foreign, Testbed};

const USER: &str = "jane";

/// The role of a verb and its binding, gone again in the end.
struct Role<'a> {
    testbed: &'a Testbed,
    verb: &'static str,
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let role = format!("kubectl-calico-doctor-{}", self.verb);
        let binding = format!("{role}-{USER}");
        for [kind, name] in [["clusterrole", &role], ["clusterrolebinding", &binding]] {
            self.testbed.kubectl(&["delete", kind, name, "--ignore-not-found"]).ok();
        }
    }
}

/// Grants what `verb --print-rbac` prints, and gives the text back.
fn grant<'a>(
    testbed: &'a Testbed,
    doctor: &Doctor,
    verb: &'static str,
) -> Result<(Role<'a>, String), Error> {
    let printed = doctor.run(&[verb, "--print-rbac", "--bind-to", USER])?;
    demand(printed.code == 0, "the role is printed", &printed)?;
    let role = Role { testbed, verb };
    testbed.apply(&printed.stdout)?;
    Ok((role, printed.stdout))
}

#[test]
fn the_printed_role_is_exactly_enough() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("printed role")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let (_role, printed) = grant(&testbed, &doctor, "check")?;
    let as_jane = ["--as", USER];
    let (code, report) = doctor.check(&as_jane)?;
    demand(code == 0 && report.roots.is_empty(), "the role is enough", &(code, &report))?;
    let role = printed.split("---\n").next().unwrap_or_default();
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

#[test]
fn the_printed_role_is_enough_to_repair() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("printed role of fix")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let story = Story::until_pods_hang(&testbed, "limited", || {
        testbed.expire_token(&node).map(Fault::forget)
    })?;
    let may_not = story.doctor.run(&["fix", "--yes", "--as", USER])?;
    demand(may_not.code != 0, "without the role there is no repair", &may_not)?;
    let (_role, _) = grant(&testbed, &story.doctor, "fix")?;
    let ran = story.doctor.run(&["fix", "--yes", "--as", USER])?;
    demand(ran.code == 0, "the role is enough", &ran)?;
    story.is_repaired()
}

/// Asked for only where both API groups of Calico are served.
fn is_for_migrations(rule: &Value) -> bool {
    rule["apiGroups"][0] == "apiextensions.k8s.io"
}

/// `fix` and `undo` under their roles on a host; then without each rule that they need there. What may not be done is said,
/// and nothing is changed and nothing left.
#[test]
fn the_printed_roles_are_needed_to_work_on_hosts() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of fix and undo")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let _fault = testbed.foreign_conflist(&node, Foreign::Uninstalled)?;
    let doctor = Doctor::new(&testbed)?;
    let before = Files::of(&node)?;
    {
        let (_role, printed) = grant(&testbed, &doctor, "fix")?;
        let fix = ["fix", "--yes", "--as", USER];
        without_each(&testbed, &doctor, &printed, &fix, || {
            let changed = before.differing(&Files::of(&node)?);
            demand(changed.is_empty(), "nothing was changed", &changed)
        })?;
        let ran = doctor.run(&fix)?;
        demand(ran.code == 0, "the role of fix is enough", &ran)?;
    }
    let repaired = Files::of(&node)?;
    demand(repaired != before, "fix worked on the host", &())?;
    let (_role, printed) = grant(&testbed, &doctor, "undo")?;
    let undo = ["undo", "last", "--yes", "--as", USER];
    without_each(&testbed, &doctor, &printed, &undo, || {
        demand(Files::of(&node)? == repaired, "nothing was taken back", &())
    })?;
    let ran = doctor.run(&undo)?;
    demand(ran.code == 0, "the role of undo is enough", &ran)?;
    demand(Files::of(&node)? == before, "every byte is as it was", &())?;
    remove_backups(&node)
}

/// `status` and `sweep` under their roles; then without a rule that they cannot do without.
#[test]
fn the_printed_roles_of_status_and_sweep() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of status and sweep")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    for (verb, resources, code) in
        [("status", &["pods", "pods/exec"][..], 5), ("sweep", &["pods", "leases"][..], 1)]
    {
        let (_role, printed) = grant(&testbed, &doctor, verb)?;
        let command = [verb, "--as", USER];
        let ran = doctor.run(&command)?;
        demand(ran.code == 0, "the role is enough", &(verb, &ran))?;
        let role = printed.split("---\n").next().unwrap_or_default();
        let role: Value = common::yaml::from_str(role)
            .map_err(|error| Error::Odd { what: "the role".into(), why: error.to_string() })?;
        for resource in resources {
            let mut less = role.clone();
            if let Some(rules) = less["rules"].as_array_mut() {
                let names = |rule: &Value| {
                    rule["resources"]
                        .as_array()
                        .is_some_and(|all| all.iter().any(|it| it == resource))
                };
                rules.retain(|rule| !names(rule));
            }
            testbed.apply(&less.to_string())?;
            let ran = doctor.run(&command)?;
            let told = [&ran.stdout, &ran.stderr].iter().any(|it| it.contains("forbidden"));
            let what = format!("without {resource} {verb} says what is missing, and exits {code}");
            demand(ran.code == code && told, &what, &ran)?;
        }
    }
    Ok(())
}

/// Runs a command under a role without one rule, for each rule without which nothing can be changed on a host.
fn without_each(
    testbed: &Testbed,
    doctor: &Doctor,
    printed: &str,
    command: &[&str],
    untouched: impl Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let role = printed.split("---\n").next().unwrap_or_default();
    let role: Value = common::yaml::from_str(role)
        .map_err(|error| Error::Odd { what: "the role".into(), why: error.to_string() })?;
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    let mut tried = 0;
    for (n, rule) in rules.iter().enumerate().filter(|(_, rule)| is_for_changes(rule)) {
        let mut less = role.clone();
        if let Some(rules) = less["rules"].as_array_mut() {
            rules.remove(n);
        }
        testbed.apply(&less.to_string())?;
        let ran = doctor.run(command)?;
        let told = ran.stderr.contains("forbidden") || ran.stderr.contains("may not");
        let what = format!("without {rule} {} says that it may not", command[0]);
        demand(ran.code != 0 && told, &what, &ran)?;
        untouched()?;
        nothing_but_roles(testbed)?;
        tried += 1;
    }
    demand(tried >= 3, "the Lease and the pods have rules", &rules)?;
    testbed.apply(&role.to_string())
}

/// The Lease, pods on nodes, and commands in them. Logs and kubelets' Leases are for when those fail.
fn is_for_changes(rule: &Value) -> bool {
    let has = |key: &str, word: &str| {
        rule[key].as_array().is_some_and(|words| words.iter().any(|it| it == word))
    };
    (has("resources", "leases") && (has("verbs", "create") || has("verbs", "update")))
        || (has("resources", "pods") && has("verbs", "create"))
}

/// No pod and no Lease of ours.
fn nothing_but_roles(testbed: &Testbed) -> Result<(), Error> {
    let label = "app.kubernetes.io/managed-by=kubectl-calico";
    let left = testbed.kubectl(&["get", "pods,leases", "-A", "-l", label, "-o", "name"])?;
    demand(left.trim().is_empty(), "no pod and no Lease of ours", &left)
}
