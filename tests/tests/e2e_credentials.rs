//! The other ways in which CNI credentials are rejected, and two faults at once.

#![allow(clippy::print_stdout, reason = "a live test says what it measured")]
#![cfg(all(unix, feature = "e2e"))]

use std::time::Duration;

use tests::story::{Expected, NODE, Story, demand};
use tests::testbed::{Error, Renewal, Testbed};

/// Longer than any repair in these stories takes.
const CONTROL: Duration = Duration::from_secs(30);

fn tell(story: &Story<'_>, expected: &Expected) -> Result<(), Error> {
    story.is_diagnosed(expected)?;
    let failed = story.control(CONTROL)?;
    let took = story.fix()?;
    println!("{}: control: {}", expected.cause, failed.lines().next().unwrap_or_default());
    println!("{}: fix: met after {} s", expected.cause, took.as_secs());
    Ok(())
}

#[test]
fn an_expired_token() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("expired token")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let story = Story::until_pods_hang(&testbed, "expired", || {
        testbed.expire_token(&node).map(tests::testbed::Fault::forget)
    })?;
    tell(&story, &Expected { cause: "expired", nodes: &[NODE] })
}

#[test]
fn a_new_certificate_authority() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("new CA")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let story =
        Story::until_pods_hang(&testbed, "authority", || testbed.renew(Renewal::Both, &lock))?;
    tell(&story, &Expected { cause: "ca-differs", nodes: &["node1", "node2"] })
}

#[test]
fn a_new_signing_key() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("new signing key")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let story =
        Story::until_pods_hang(&testbed, "signing", || testbed.renew(Renewal::SigningKey, &lock))?;
    tell(&story, &Expected { cause: "signing-key-changed", nodes: &["node1", "node2"] })
}

/// An expired token on one node, missing binaries on the other, and a pod that is merely unschedulable: two roots, each with
/// only its own pods.
#[test]
fn two_unrelated_faults() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("two faults")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let (sick, other) = (testbed.node(NODE)?.clone(), testbed.node("node1")?.clone());
    let story = Story::until_pods_hang(&testbed, "two-faults", || {
        testbed.hide_cni_binary(&other)?.forget();
        testbed.expire_token(&sick).map(tests::testbed::Fault::forget)
    })?;
    story.pods.create_unschedulable("homeless")?;
    story.pods.create("unlucky", "node1")?;
    story.pods.wait_hanging(&["unlucky"], &[])?;
    let (code, report) = story.doctor.check(&[])?;
    let wanted = ["CAL-CNI-004 missing node1", "CAL-CNI-006 expired node2"];
    demand(code == 3 && report.summary() == wanted, "two roots", &(code, &report))?;
    for root in &report.roots {
        let pods = match root.finding.code.as_str() {
            "CAL-CNI-004" => vec!["two-faults/unlucky".to_owned()],
            _ => story.hanging(),
        };
        demand(root.pods() == pods, "each root with only its own pods", &(root, pods))?;
    }
    let failed = story.control(CONTROL)?;
    println!("two faults: control: {}", failed.lines().next().unwrap_or_default());
    let took = story.fix()?;
    story.pods.wait_running(&["unlucky"])?;
    println!("two faults: fix: met after {} s", took.as_secs());
    Ok(())
}
