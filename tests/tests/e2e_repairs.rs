//! Each way in which one node's CNI breaks: named, left alone by way of control, repaired, taken back where that can be.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::time::Duration;

use tests::story::{Files, NODE, Story, demand, nothing_of_ours};
use tests::testbed::{
    CNI_KUBECONFIG, CONFLIST, Error, FOREIGN_CONFLIST, Fault, Foreign, Node, Testbed, wait_until,
};

/// Longer than most repairs in these stories take.
const CONTROL: Duration = Duration::from_secs(30);

/// What is broken, and what the doctor is to say and to change.
struct Case {
    /// Name of the namespace of its pods.
    name: &'static str,
    /// Code of the one error.
    code: &'static str,
    /// Flags of the check that names it, and that finds nothing after the repair.
    flags: &'static [&'static str],
    /// The file that the repair itself changes on the host, so that it can be taken back; none if calico-node does.
    changed: Option<&'static str>,
}

impl Case {
    /// Without its image calico-node stays down, whatever is repaired by hand: that is told, and is not what these are about.
    fn staying(&self) -> &'static [&'static str] {
        if self.is_down() { &["CAL-WRK-001"] } else { &[] }
    }

    /// So only the one finding is repaired there, as the host itself shows it; else all.
    fn codes(&self) -> Vec<&str> {
        if self.is_down() { vec!["--probe", self.code] } else { Vec::new() }
    }

    fn is_down(&self) -> bool {
        self.flags.contains(&"--probe")
    }
}

fn tell(
    case: &Case,
    faults: impl FnOnce(&Testbed, &Node) -> Result<Vec<Fault>, Error>,
) -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test(case.name)? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let mut story = Story::with_faults(&testbed, case.name, || faults(&testbed, &node))?
        .looking(case.flags)
        .with_staying(case.staying());
    story.is_diagnosed_as(case.code, &[NODE])?;
    let before = Files::of(&node)?;
    let failed = story.control(CONTROL)?;
    println!("{}: control: {}", case.name, failed.lines().next().unwrap_or_default());
    demand(Files::of(&node)? == before, "a dry run changes no file", &())?;
    let took = story.fix_codes(&case.codes())?;
    println!("{}: fix: met after {} s", case.name, took.as_secs());
    if let Some(path) = case.changed {
        take_back(case, &story, &node, &before, path)?;
    }
    story.undo_faults()?;
    testbed.repair_node(&node)?;
    let (code, report) = story.doctor.check(&["--fail-on", "warning"])?;
    demand(code == 0 && report.grave().is_empty(), "check exits 0 in the end", &(code, &report))
}

/// `undo` restores every byte, and the next `fix` repairs again.
fn take_back(
    case: &Case,
    story: &Story<'_>,
    node: &Node,
    before: &Files,
    path: &str,
) -> Result<(), Error> {
    let changed = before.differing(&Files::of(node)?);
    demand(changed.iter().any(|it| it == path), &format!("fix changed {path}"), &changed)?;
    let ran = story.doctor.run(&["undo", "last", "--yes"])?;
    demand(ran.code == 0, "undo exits 0", &ran)?;
    let differing = before.differing(&Files::of(node)?);
    demand(differing.is_empty(), "undo restores every byte", &differing)?;
    nothing_of_ours(story.testbed)?;
    let again = story.doctor.run(&["undo", "last", "--yes"])?;
    demand(Files::of(node)? == *before, "a second undo changes nothing", &again)?;
    if path == CONFLIST {
        wait_not_ready(story.testbed, node)?;
    }
    story.fix_codes(&case.codes()).map(drop)
}

/// The kubelet says within seconds that the node has no network.
fn wait_not_ready(testbed: &Testbed, node: &Node) -> Result<(), Error> {
    wait_until("the Node is not Ready", Duration::from_secs(60), || {
        let ready = "{.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = testbed.field(&["node", node.name()], ready);
        match ready.map_err(|error| error.to_string())?.as_str() {
            "False" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
}

#[test]
fn a_missing_binary() -> Result<(), Error> {
    let case = Case { name: "binary", code: "CAL-CNI-004", flags: &[], changed: None };
    tell(&case, |testbed, node| Ok(vec![testbed.hide_cni_binary(node)?]))
}

#[test]
fn a_missing_conflist() -> Result<(), Error> {
    let case = Case { name: "conflist", code: "CAL-CNI-001", flags: &[], changed: None };
    tell(&case, |testbed, node| {
        let fault = testbed.hide_conflist(node)?;
        wait_not_ready(testbed, node)?;
        Ok(vec![fault])
    })
}

#[test]
fn a_foreign_configuration_first() -> Result<(), Error> {
    let case =
        Case { name: "foreign", code: "CAL-CNI-003", flags: &[], changed: Some(FOREIGN_CONFLIST) };
    tell(&case, |testbed, node| Ok(vec![testbed.foreign_conflist(node, Foreign::Uninstalled)?]))
}

#[test]
fn a_stale_token_where_calico_node_cannot_start() -> Result<(), Error> {
    let case = Case {
        name: "token-no-image",
        code: "CAL-CNI-006",
        flags: &["--probe"],
        changed: Some(CNI_KUBECONFIG),
    };
    tell(&case, |testbed, node| {
        Ok(vec![testbed.expire_token(node)?, testbed.remove_calico_image(node)?])
    })
}

#[test]
fn a_missing_conflist_where_calico_node_cannot_start() -> Result<(), Error> {
    let case = Case {
        name: "conflist-no-image",
        code: "CAL-CNI-001",
        flags: &["--probe"],
        changed: Some(CONFLIST),
    };
    tell(&case, |testbed, node| {
        let faults = vec![testbed.remove_calico_image(node)?, testbed.hide_conflist(node)?];
        wait_not_ready(testbed, node)?;
        Ok(faults)
    })
}
