//! `fix` is killed with SIGKILL at every change that its journal records, and once before the first one; the next `fix` ends
//! repaired, says that there was an unfinished run, and leaves nothing of ours.

#![cfg(all(unix, feature = "chaos"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::story::{Expected, NODE, Story, remove_backups};
use tests::testbed::{Error, Fault, Testbed, wait_every};

/// Long enough for a run to reach any point.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn a_killed_fix_is_finished_by_the_next() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("killed fix")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    // Lines of the journal: 1 the plan, 2 the intent, 3 the step's end.
    for (lines, later) in [(1, 0), (2, 0), (2, 500), (2, 3000), (2, 8000), (3, 0)] {
        let point = format!("{lines} journal lines + {later} ms");
        // Copies that the repair before this one kept for undo are told, and the story begins with nothing to tell.
        remove_backups(&node)?;
        let story = Story::until_pods_hang(&testbed, "killed", || {
            testbed.expire_token(&node).map(Fault::forget)
        })?;
        story.is_diagnosed(&Expected { cause: "expired", nodes: &[NODE] })?;
        let ended = kill_at(&story, lines, Duration::from_millis(later))?;
        let took = story.fix()?;
        println!("killed at {point} ({ended}): the next fix was done after {} s", took.as_secs());
    }
    Ok(())
}

/// Starts `fix --yes` and kills it that long after its journal has so many lines. Says how it ended.
fn kill_at(story: &Story<'_>, lines: usize, later: Duration) -> Result<String, Error> {
    let odd = |error: std::io::Error| Error::Odd { what: "fix".into(), why: error.to_string() };
    let mut child = Command::new(story.doctor.binary())
        .args(["fix", "--yes"])
        .env("KUBECONFIG", story.testbed.kubeconfig())
        .env("XDG_STATE_HOME", story.doctor.state())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(odd)?;
    let reached = wait_every("the journal", LIMIT, Duration::from_millis(2), || {
        let seen = longest_journal(story.doctor.state());
        if seen >= lines { Ok(()) } else { Err(format!("{seen} lines")) }
    });
    // Not a wait for a condition: the kill is to fall at this very moment.
    std::thread::sleep(later);
    child.kill().map_err(odd)?;
    let status = child.wait().map_err(odd)?;
    reached?;
    Ok(status.to_string())
}

fn longest_journal(state: &Path) -> usize {
    let Ok(entries) = fs::read_dir(state.join("kubectl-calico/runs")) else { return 0 };
    let files: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    let lines = |path: &PathBuf| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    files.iter().map(lines).max().unwrap_or(0)
}
