//! The roles that `--print-rbac` prints are exactly enough: each verb works under its own, and without any single right of it
//! says what is forbidden, changes nothing and leaves nothing. A right that nobody misses makes these tests fail; those that
//! are missed on bad days only are named with the day.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::Duration;

use tests::story::{
    Doctor, EXEC, Files, NODE, Right, Running, Users, Verb, demand, is_seldom, nothing_but_roles,
    nothing_of_ours, remove_backups,
};
use tests::testbed::{Error, Foreign, Node, Testbed, wait_until};

/// A verb that only looks: without a right it exits 5, and says what it could not see.
fn look_without_each(
    name: &str,
    role: &[&str],
    command: &'static [&'static str],
) -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test(name)? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    // A calico-node that another test restarted may still be starting, which is a finding.
    testbed.wait_ready()?;
    let doctor = Doctor::new(&testbed)?;
    let verb = Verb::new(&testbed, &doctor, name, (role, command), &[5])?;
    let has_hosts = command.contains(&"--probe");
    let mut wrong = Vec::new();
    for (right, ran) in verb.without_each(&verb.places(|_| true))? {
        // Without hosts, calico-node's own probe has no substitute.
        if is_seldom(right) && (has_hosts || right.to_string() != EXEC) {
            wrong.extend((ran.code != 0).then(|| format!("{right} is missed: {ran:?}")));
        } else {
            wrong.extend(verb.fault(right, &ran));
        }
    }
    demand(wrong.is_empty(), &format!("{name} needs each of its rights"), &wrong)?;
    verb.whole()?;
    println!("{}", verb.told());
    nothing_but_roles(&testbed)
}

#[test]
fn check() -> Result<(), Error> {
    look_without_each("roles-check", &["check"], &["check", "-v"])
}

#[test]
fn check_with_hosts() -> Result<(), Error> {
    look_without_each("roles-probe", &["check", "--probe"], &["check", "-v", "--probe"])
}

#[test]
fn collect() -> Result<(), Error> {
    look_without_each("roles-collect", &["collect"], &["collect"])
}

#[test]
fn status() -> Result<(), Error> {
    look_without_each("roles-status", &["status"], &["status"])
}

/// What a run that died might have left: a pod that nobody will start, and a Lease that nobody renews.
const LEFTOVERS: &str = r#"{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"left-over","namespace":"default","labels":{"app.kubernetes.io/managed-by":"kubectl-calico"}},
 "spec":{"nodeSelector":{"no-such-label":"true"},"containers":[{"name":"c","image":"none"}]}},
{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"kubectl-calico","namespace":"kube-system","labels":{"app.kubernetes.io/managed-by":"kubectl-calico"}},
 "spec":{"holderIdentity":"jane@laptop/01JANE","leaseDurationSeconds":30,"renewTime":"2020-01-01T00:00:00.000000Z"}}]}"#;

/// What `sweep` may not delete stays, and is named.
#[test]
fn sweep() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles-sweep")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let verb =
        Verb::new(&testbed, &doctor, "roles-sweep", (&["sweep"], &["sweep", "--yes"]), &[1])?;
    let mut wrong = Vec::new();
    for place in verb.places(|_| true) {
        testbed.apply(LEFTOVERS)?;
        let ran = verb.run(&verb.users.without(place))?;
        let right = &verb.users.rights[place];
        wrong.extend(verb.fault(right, &ran));
        let left = testbed.kubectl(&["get", right.object(), "-A", "-o", "name"])?;
        let stays =
            left.contains("left-over") || left.contains("lease.coordination.k8s.io/kubectl-calico");
        wrong.extend((!stays).then(|| format!("without the right to {right} it is gone")));
    }
    demand(wrong.is_empty(), "sweep needs each of its rights", &wrong)?;
    testbed.apply(LEFTOVERS)?;
    verb.whole()?;
    println!("{}", verb.told());
    nothing_but_roles(&testbed)
}

/// A verb that changes hosts, on a node with another plugin's configuration in front.
struct Change<'a> {
    testbed: &'a Testbed,
    node: &'a Node,
    verb: Verb<'a>,
}

impl<'a> Change<'a> {
    fn new(
        testbed: &'a Testbed,
        doctor: &'a Doctor,
        name: &str,
        role: &[&str],
        command: &'static [&'static str],
    ) -> Result<Self, Error> {
        let verb = Verb::new(testbed, doctor, name, (role, command), &[1, 5, 6])?;
        Ok(Self { testbed, node: testbed.node(NODE)?, verb })
    }

    /// Refused without each right for which `wanted`, with nothing changed and nothing left.
    fn is_refused(&self, wanted: impl Fn(&Right) -> bool) -> Result<(), Error> {
        let before = Files::of(self.node)?;
        let places = self.verb.places(|right| !is_seldom(right) && wanted(right));
        // Who may not look gets no further, so they do not meet. The others would compete for the Lease.
        let (first, then): (Vec<usize>, Vec<usize>) =
            places.iter().partition(|place| self.verb.users.rights[**place].is_to_list());
        let mut wrong = Vec::new();
        for (right, ran) in self.verb.without_each(&first)? {
            wrong.extend(self.verb.fault(right, &ran));
        }
        for place in then {
            let (right, ran) =
                (&self.verb.users.rights[place], self.verb.run(&self.verb.users.without(place))?);
            wrong.extend(self.verb.fault(right, &ran));
            wrong.extend(self.traces(right)?);
        }
        let changed = before.differing(&Files::of(self.node)?);
        wrong.extend((!changed.is_empty()).then(|| format!("changed: {changed:?}")));
        nothing_but_roles(self.testbed)?;
        demand(wrong.is_empty(), "without a right nothing is done, and that is said", &wrong)
    }

    /// Without commands in pods nothing is done, and that is said.
    fn needs_exec(&self) -> Result<(), Error> {
        let before = Files::of(self.node)?;
        let ran = self.verb.without(EXEC)?;
        let fault = self.verb.said_no_to("pods/exec", &ran);
        demand(fault.is_none(), "it says that it may not look at nodes", &fault)?;
        let changed = before.differing(&Files::of(self.node)?);
        demand(changed.is_empty(), "nothing was changed", &changed)?;
        nothing_but_roles(self.testbed)
    }

    /// What a run left.
    fn traces(&self, right: &Right) -> Result<Option<String>, Error> {
        let left =
            nothing_but_roles(self.testbed).err().map(|left| format!("without {right}: {left}"));
        let runs = self.verb.plugin.run(&["runs", "-o", "json"])?;
        let running =
            runs.stdout.contains("\"running\"").then(|| format!("without {right}: {runs:?}"));
        Ok(left.or(running))
    }
}

/// `fix`, `undo` and `resume` on a host.
#[test]
fn fix_undo_and_resume() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of fix, undo and resume")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let _fault = testbed.foreign_conflist(&node, Foreign::Uninstalled)?;
    let doctor = Doctor::new(&testbed)?;
    let broken = Files::of(&node)?;
    // Those that only other repairs need have stories of their own below.
    let of_others = |right: &Right| {
        ["get daemonsets.apps", "create serviceaccounts/token"]
            .contains(&right.to_string().as_str())
    };

    let fix = Change::new(&testbed, &doctor, "roles-fix", &["fix"], &["fix", "--yes"])?;
    fix.is_refused(|right| !of_others(right))?;
    fix.needs_exec()?;
    fix.verb.whole()?;
    println!("{}", fix.verb.told());
    let repaired = Files::of(&node)?;
    demand(repaired != broken, "fix worked on the host", &())?;

    let undo = Change::new(&testbed, &doctor, "roles-undo", &["undo"], &["undo", "last", "--yes"])?;
    undo.is_refused(|_| true)?;
    // Without commands in pods each script is a pod's own command, which is as good.
    let ran = undo.verb.without(EXEC)?;
    demand(ran.code == 0, "undo works without commands in pods", &ran)?;
    demand(Files::of(&node)? == broken, "every byte is as it was", &())?;
    fix.verb.whole()?;
    undo.verb.whole()?;
    println!("{}", undo.verb.told());
    demand(Files::of(&node)? == broken, "every byte is as it was again", &())?;

    let resume =
        Change::new(&testbed, &doctor, "roles-resume", &["resume"], &["resume", "last", "--yes"])?;
    cut_off(&doctor)?;
    demand(Files::of(&node)? == broken, "it was killed before it acted", &())?;
    resume.is_refused(|right| !of_others(right))?;
    // The same; only the look afterwards is not whole.
    let ran = resume.verb.without(EXEC)?;
    let fault = resume.verb.said_no_to("pods/exec", &ran);
    demand(fault.is_none() && Files::of(&node)? == repaired, "resume works without them", &ran)?;
    undo.verb.whole()?;
    cut_off(&doctor)?;
    resume.verb.whole()?;
    println!("{}", resume.verb.told());
    demand(Files::of(&node)? == repaired, "resume did what was left", &())?;
    remove_backups(&node)?;
    nothing_of_ours(&testbed)
}

/// A run of `fix` that was killed before it acted, and of which nothing is left but its journal.
fn cut_off(doctor: &Doctor) -> Result<(), Error> {
    let mut run = Running::fix(doctor)?;
    run.wait("the first step", |journal| journal.is_at(0))?;
    let (journal, in_time) = run.kill()?;
    demand(in_time && !journal.ended, "it was killed in the midst", &journal)?;
    let swept = doctor.run(&["sweep", "--all", "--yes"])?;
    demand(swept.code == 0, "what it left is swept", &swept)
}

/// The repairs that need a right which others do not: calico-node is restarted; a token is made where it cannot start, and
/// travels by the input of a command only.
#[test]
fn rights_of_single_repairs() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("roles of single repairs")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let doctor = Doctor::new(&testbed)?;
    testbed.expire_token(&node)?.forget();
    {
        let restart = Change::new(&testbed, &doctor, "roles-restart", &["fix"], &["fix", "--yes"])?;
        restart.is_refused(|right| right.to_string() == "get daemonsets.apps")?;
        restart.verb.whole()?;
    }
    let _faults = [testbed.expire_token(&node)?, testbed.remove_calico_image(&node)?];
    let command = &["fix", "--yes", "--probe", "CAL-CNI-006"];
    let renew = Change::new(&testbed, &doctor, "roles-renew", &["fix"], command)?;
    renew.is_refused(|right| right.to_string() == "create serviceaccounts/token")?;
    // No secret goes another way.
    renew.needs_exec()?;
    renew.verb.whole()?;
    remove_backups(&node)?;
    nothing_but_roles(&testbed)
}

/// Without commands in pods a script is a pod's own command, and its log tells; without logs too long a text is lost.
#[test]
fn without_commands_in_pods_results_come_by_log() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("results by log")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let (role, never) = (&["check", "--probe"], ["create pods/exec", EXEC]);
    let users = Users::of_printed_role(&testbed, &doctor, "roles-log", role, &never)?;
    let command: &[&str] = &["check", "--probe"];
    let verb = Verb::of_users(&doctor, users, command, &[5]);
    let by_log = verb.without(EXEC)?;
    demand(by_log.code == 0, "the log tells", &by_log)?;
    let silent = verb.without("get pods/log")?;
    println!("without logs: exit {}: {}{}", silent.code, silent.stdout, silent.stderr);
    demand(silent.code == 5, "not everything fits into a message, and that is said", &silent)?;
    nothing_but_roles(&testbed)
}

/// A kind of the other group of Calico, as its API server or a migration brings it.
const OTHER_GROUP: &str = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
"metadata":{"name":"profiles.projectcalico.org"},"spec":{"group":"projectcalico.org","scope":"Cluster",
"names":{"plural":"profiles","singular":"profile","kind":"Profile","listKind":"ProfileList"},
"versions":[{"name":"v3","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}"#;

/// [`OTHER_GROUP`], until this is dropped.
struct OtherGroup<'a>(&'a Testbed);

impl Drop for OtherGroup<'_> {
    fn drop(&mut self) {
        drop(self.0.kubectl(&[
            "delete",
            "crd",
            "profiles.projectcalico.org",
            "--ignore-not-found",
        ]));
    }
}

#[test]
fn where_both_groups_are_served_a_definition_is_read() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("both groups")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let _group = OtherGroup(&testbed);
    testbed.apply(OTHER_GROUP)?;
    wait_until("the group is served", Duration::from_secs(30), || {
        let groups = testbed.kubectl(&["get", "--raw", "/apis"]).map_err(|it| it.to_string())?;
        if groups.contains("\"projectcalico.org\"") { Ok(()) } else { Err(groups) }
    })?;
    let verb = Verb::new(&testbed, &doctor, "roles-groups", (&["check"], &["check", "-v"]), &[5])?;
    let places = verb.places(|right| right.object() == "customresourcedefinitions");
    demand(places.len() == 1, "the role has the right", &places)?;
    for (right, ran) in verb.without_each(&places)? {
        let fault = verb.fault(right, &ran);
        demand(fault.is_none(), "the definition is missed", &fault)?;
    }
    verb.whole().map(drop)
}
