//! Sandboxes that cannot go, because CNI DEL cannot succeed, and sandboxes whose pod is gone: exactly those are freed.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::{Duration, Instant};

use tests::story::{Doctor, Host, NODE, Pods, Report, demand, nothing_of_ours, our_files};
use tests::testbed::{Error, Node, Sandbox, Testbed, wait_every, wait_until};

/// Pods of the other node that hang while they are deleted.
const ELSEWHERE: [&str; 1] = ["leaver-1"];
/// The same of [`NODE`].
const LEAVERS: [&str; 3] = ["leaver-2", "leaver-3", "leaver-4"];
/// Pods of [`NODE`] that somebody deletes by force.
const FORCED: [&str; 2] = ["forced-1", "forced-2"];
/// Pods that nobody touches.
const KEEPERS: [(&str, &str); 2] = [("keeper-1", "node1"), ("keeper-2", NODE)];
/// A sandbox counts as an orphan when it has been one for some minutes.
const ORPHANED: Duration = Duration::from_secs(300);

#[test]
fn without_cluster_information_exactly_the_stuck_ones_are_freed() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("stuck sandboxes")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let pods = Pods::new(&testbed, "stuck")?;
    let (first, second) = (testbed.node("node1")?, testbed.node(NODE)?);
    for (name, node) in KEEPERS {
        pods.create(name, node)?;
    }
    ELSEWHERE.iter().try_for_each(|name| pods.create(name, "node1"))?;
    LEAVERS.iter().chain(&FORCED).try_for_each(|name| pods.create(name, NODE))?;
    pods.wait_running(&["keeper-1", "keeper-2"])?;
    pods.wait_running(&[&ELSEWHERE[..], &LEAVERS[..], &FORCED[..]].concat())?;
    let stuck = [
        sandboxes(&testbed, &pods, first, &ELSEWHERE)?,
        sandboxes(&testbed, &pods, second, &[&LEAVERS[..], &FORCED[..]].concat())?,
    ];

    let fault = testbed.delete_cluster_information(&lock)?;
    let began = Instant::now();
    ELSEWHERE.iter().chain(&LEAVERS).try_for_each(|name| pods.delete(name))?;
    pods.wait_hanging(&[], &[&ELSEWHERE[..], &LEAVERS[..]].concat())?;
    pods.kubectl(&[&["delete", "pod", "--force", "--grace-period=0"], &FORCED[..]].concat())?;
    let report = wait_for_orphans(&doctor, &stuck[1].sandboxes)?;
    // However quick that was: a minute after the fault nothing has gone by itself.
    wait_until("a minute is over", Duration::from_secs(70), || {
        if began.elapsed() >= Duration::from_secs(60) { Ok(()) } else { Err(String::new()) }
    })?;
    let before = [Host::settled(first)?, Host::settled(second)?];
    still_stuck(&pods, &before, &stuck)?;

    // Control: the plan alone frees nothing.
    let codes = ["CAL-POD-002", "CAL-POD-003"];
    let ran = doctor.run(&[&["fix", "--dry-run", "--probe"], &codes[..]].concat())?;
    demand(ran.code == 0, "a dry run prints the plan", &ran)?;
    still_stuck(&pods, &[Host::of(first)?, Host::of(second)?], &stuck)?;
    println!(
        "control: {} s after the fault all are stuck: {:?}",
        began.elapsed().as_secs(),
        report.summary()
    );

    let began = Instant::now();
    let ran = doctor.run(&[&["fix", "--yes"], &codes[..]].concat())?;
    demand(ran.code == 0, "fix --yes exits 0", &ran)?;
    println!("fix: freed after {} s", began.elapsed().as_secs());
    for ((node, before), stuck) in [first, second].into_iter().zip(&before).zip(&stuck) {
        exactly_these_went(node, before, stuck)?;
    }
    let left = pods.snapshot()?;
    demand(left.keys().eq(["keeper-1", "keeper-2"]), "only the keepers are left", &left)?;
    nothing_of_ours(&testbed)?;
    fault.undo()?;
    pods.create("comer", NODE)?;
    pods.wait_running(&["comer", "keeper-1", "keeper-2"])
}

/// The network works, but these sandboxes' addresses cannot be released, and somebody has deleted their pods by force.
#[test]
fn orphaned_sandboxes_are_freed_and_no_others() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("orphaned sandboxes")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let doctor = Doctor::new(&testbed)?;
    let pods = Pods::new(&testbed, "orphaned")?;
    let node = testbed.node(NODE)?;
    FORCED.iter().chain(&["keeper-2"]).try_for_each(|name| pods.create(name, NODE))?;
    pods.wait_running(&[&FORCED[..], &["keeper-2"]].concat())?;
    let (fault, orphans) = testbed.orphan_sandboxes(node, "orphaned", &FORCED)?;
    wait_every("the check names the orphans", ORPHANED, Duration::from_secs(5), || {
        let (code, report) = doctor.check(&["--probe"]).map_err(|error| error.to_string())?;
        let mut found = report.roots.iter().filter(|it| it.finding.code == "CAL-POD-003");
        let (Some(root), None) = (found.next(), found.next()) else {
            return Err(format!("{code} {report:?}"));
        };
        let names = &root.finding.subject.names;
        let all = orphans.iter().all(|it| names.iter().any(|name| name.ends_with(&it.id)));
        let met = report.grave().is_empty() && names.len() == orphans.len() && all;
        if met { Ok(()) } else { Err(format!("{code} {report:?}")) }
    })?;
    let before = Host::settled(node)?;
    let orphans = Stuck::of(&testbed, node, orphans)?;
    let ran = doctor.run(&["fix", "--dry-run", "--probe", "CAL-POD-003"])?;
    demand(ran.code == 0, "a dry run prints the plan", &ran)?;
    let stays = wait_until("nothing goes by itself", Duration::from_secs(30), || {
        let now = Host::of(node).map_err(|error| error.to_string())?;
        let all = orphans.sandboxes.iter().all(|it| now.containers.contains(&it.id));
        if all && now.links == before.links { Err("as before".to_owned()) } else { Ok(now) }
    });
    demand(stays.is_err(), "control: without a repair nothing changes for 30 s", &stays)?;
    let began = Instant::now();
    let ran = doctor.run(&["fix", "--yes", "CAL-POD-003"])?;
    demand(ran.code == 0, "fix --yes exits 0", &ran)?;
    println!("orphans: freed after {} s", began.elapsed().as_secs());
    exactly_these_went(node, &before, &orphans)?;
    let (code, report) = doctor.check(&["--probe", "--fail-on", "warning"])?;
    demand(code == 0, "check finds nothing", &(code, &report))?;
    nothing_of_ours(&testbed)?;
    fault.undo()
}

fn sandboxes(
    testbed: &Testbed,
    pods: &Pods<'_>,
    node: &Node,
    names: &[&str],
) -> Result<Stuck, Error> {
    let all = pods.snapshot()?;
    let mut found = Vec::new();
    for name in names {
        found.extend(testbed.sandboxes(node, &all[*name].uid)?);
    }
    demand(found.len() == names.len(), "one sandbox each", &found)?;
    Stuck::of(testbed, node, found)
}

/// Waits until a check calls them orphans, and sees that it names the pods that hang.
fn wait_for_orphans(doctor: &Doctor, stuck: &[Sandbox]) -> Result<Report, Error> {
    wait_every("the check names the orphans", ORPHANED, Duration::from_secs(5), || {
        let (code, report) = doctor.check(&["--probe"]).map_err(|error| error.to_string())?;
        let all = report.findings();
        let names = |code: &str| -> Vec<&String> {
            all.iter().filter(|it| it.code == code).flat_map(|it| &it.subject.names).collect()
        };
        let orphans = names("CAL-POD-003");
        let hanging = names("CAL-POD-002");
        let named = |pod: &&str| hanging.iter().any(|it| it.ends_with(&format!("/{pod}")));
        let met = code == 3
            && orphans.len() == FORCED.len()
            && orphans.iter().all(|name| stuck.iter().any(|it| name.ends_with(&it.id)))
            && hanging.len() == ELSEWHERE.len() + LEAVERS.len()
            && ELSEWHERE.iter().chain(&LEAVERS).all(named);
        if met { Ok(report) } else { Err(format!("exit {code}, {orphans:?}, {hanging:?}")) }
    })
}

fn still_stuck(pods: &Pods<'_>, hosts: &[Host; 2], stuck: &[Stuck; 2]) -> Result<(), Error> {
    let there = pods.snapshot()?;
    for name in ELSEWHERE.iter().chain(&LEAVERS) {
        let hangs = there.get(*name).is_some_and(|it| it.is_terminating);
        demand(hangs, &format!("{name} hangs"), &there.get(*name))?;
    }
    for (host, stuck) in hosts.iter().zip(stuck) {
        let all = stuck.sandboxes.iter().all(|it| host.containers.contains(&it.id));
        demand(all, "their sandboxes are there", &(stuck, host))?;
    }
    Ok(())
}

/// The sandboxes are gone, with what was in them, and one network namespace and one link each; everything else is as it was.
fn exactly_these_went(node: &Node, before: &Host, stuck: &Stuck) -> Result<(), Error> {
    let ids: Vec<&str> = stuck.sandboxes.iter().map(|it| it.id.as_str()).collect();
    let contents: Vec<&str> = stuck.contents.iter().map(String::as_str).collect();
    let wanted = before.without(&ids, &contents);
    let now = Host::becomes(node, &wanted)?;
    let left: Vec<&&str> = ids.iter().filter(|id| now.containers.contains(**id)).collect();
    demand(left.is_empty(), "they are gone", &left)?;
    let all = ids.iter().all(|id| before.containers.contains(*id));
    demand(all && before.links - wanted.links == ids.len(), "all of them were there", before)?;
    println!(
        "{}: {} sandboxes: namespaces {} → {}, links {} → {}, other processes {} → {}",
        node.name(),
        ids.len(),
        before.namespaces,
        now.namespaces,
        before.links,
        now.links,
        wanted.tasks.len(),
        now.tasks.len(),
    );
    let ours = our_files(node)?;
    demand(ours.is_empty(), "no file of ours", &ours)
}

/// Sandboxes that are to go, with what is in them.
#[derive(Debug)]
struct Stuck {
    sandboxes: Vec<Sandbox>,
    contents: Vec<String>,
}

impl Stuck {
    fn of(testbed: &Testbed, node: &Node, sandboxes: Vec<Sandbox>) -> Result<Self, Error> {
        let contents: Result<Vec<_>, _> =
            sandboxes.iter().map(|it| testbed.containers_in(node, it)).collect();
        Ok(Self { sandboxes, contents: contents?.concat() })
    }
}
