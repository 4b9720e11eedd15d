//! The story that the doctor exists for, on a real Kubernetes: a recreated ServiceAccount invalidates every node's CNI
//! credentials, pods hang, `check` names the one cause, `fix` repairs it, the same pods run.

#![allow(clippy::print_stdout, reason = "a live test says what it measured")]
#![cfg(unix)]

use std::time::Duration;

use tests::story::{Expected, Report, Story, demand};
use tests::testbed::{Error, Testbed};

#[test]
fn a_recreated_service_account_is_diagnosed_and_repaired() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("live story")? else { return Ok(()) };
    let lock = testbed.lock_cluster()?;
    let story =
        Story::until_pods_hang(&testbed, "story", || testbed.recreate_service_account(&lock))?;
    let expected = Expected { cause: "service-account-recreated", nodes: &["node1", "node2"] };
    let live = story.is_diagnosed(&expected)?;
    a_bundle_says_the_same(&story, &live)?;
    let failed = story.control(Duration::from_secs(30))?;
    let took = story.fix()?;
    println!("control, nothing repaired for 30 s: {}", failed.lines().next().unwrap_or_default());
    println!("fix: the same demands are met after {} s", took.as_secs());
    Ok(())
}

/// `collect`, then `--bundle`: the same ids, subjects, causes, evidence and grouping; gaps equal except those nobody asked for.
fn a_bundle_says_the_same(story: &Story<'_>, live: &Report) -> Result<(), Error> {
    let file = story.doctor.state().join("bundle.tar.gz");
    let path = file.to_string_lossy();
    let ran = story.doctor.run(&["collect", "-o", &path])?;
    demand(ran.code == 0, "collect exits 0", &ran)?;
    let (code, bundle) = story.doctor.check(&["--bundle", &path])?;
    demand(code == 3, "check --bundle exits 3", &(code, &bundle))?;
    demand(bundle.roots == live.roots, "the same roots", &(&bundle.roots, &live.roots))?;
    let asked = |report: &Report| {
        report.gaps.iter().filter(|gap| gap["why"] != "NotAsked").cloned().collect::<Vec<_>>()
    };
    demand(asked(&bundle) == asked(live), "the same gaps", &(&bundle.gaps, &live.gaps))
}
