//! Neither the plugin nor any image of Calico is on the node: the plugin comes out of the release archive that was brought
//! into the cache by hand, as in a place without a network.

#![cfg(all(unix, feature = "e2e"))]
#![allow(clippy::print_stdout, reason = "a live test says what it measured")]

use std::fs;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tests::story::{NODE, Story, demand};
use tests::testbed::{Error, Node, Testbed};

/// The release that the testbed's stand-in calls itself.
const VERSION: &str = "v3.28.4";
/// Where the plugin stands on a node.
const PLUGIN: &str = "/opt/cni/bin/calico";

#[test]
fn a_missing_binary_comes_out_of_the_release_archive() -> Result<(), Error> {
    let Some(testbed) = Testbed::for_test("release")? else { return Ok(()) };
    let _lock = testbed.lock_cluster()?;
    let node = testbed.node(NODE)?.clone();
    let plugin = read(&node)?;
    let mut story = Story::with_faults(&testbed, "release", || {
        Ok(vec![testbed.hide_cni_binary(&node)?, testbed.remove_calico_image(&node)?])
    })?
    .looking(&["--probe"])
    .with_staying(&["CAL-WRK-001"]);
    story.is_diagnosed_as("CAL-CNI-004", &[NODE])?;

    // The control: with an empty cache it says what to do, and the plugin stays away.
    let fix = ["fix", "--yes", "CAL-CNI-004"];
    let without = story.doctor.run(&fix)?;
    let told = without.stdout.contains("download") || without.stderr.contains("download");
    demand(without.code == 1 && told, "without the archive it says how to get it", &without)?;
    demand(!node.has(PLUGIN)?, "nothing was written", &())?;

    let folder = tempfile::tempdir().map_err(|error| odd(&error))?;
    let path = folder.path().join(format!("release-{VERSION}.tgz"));
    let sum = write_archive(&path, &plugin).map_err(|error| odd(&error))?;
    let file = path.display().to_string();
    let brought = ["download", "--version", VERSION, "--from", &file, "--sha256", &sum];
    let brought = story.doctor.run(&brought)?;
    demand(brought.code == 0, "the archive is taken into the cache", &brought)?;

    let took = story.fix_codes(&["CAL-CNI-004"])?;
    println!("release: fix: met after {} s", took.as_secs());
    demand(read(&node)? == plugin, "it is the plugin of the archive", &())?;
    let undone = story.doctor.run(&["undo", "last", "--yes"])?;
    demand(undone.code == 0 && !node.has(PLUGIN)?, "undo takes it away again", &undone)?;
    story.fix_codes(&["CAL-CNI-004"])?;

    // The plugin that was hidden goes back to its place.
    node.remove(PLUGIN)?;
    story.undo_faults()?;
    testbed.repair_node(&node)?;
    let (code, report) = story.doctor.check(&["--fail-on", "warning"])?;
    demand(code == 0 && report.grave().is_empty(), "check exits 0 in the end", &(code, &report))
}

fn read(node: &Node) -> Result<Vec<u8>, Error> {
    node.read(PLUGIN)?.ok_or_else(|| odd(&format!("{PLUGIN} is not there")))
}

/// The archive as Calico publishes it, as far as anything of it is used; gives its SHA-256.
fn write_archive(path: &Path, plugin: &[u8]) -> std::io::Result<String> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    for name in ["calico", "calico-ipam"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(plugin.len() as u64);
        header.set_mode(0o755);
        let member = format!("release-{VERSION}/bin/cni/{architecture}/{name}");
        archive.append_data(&mut header, member, plugin)?;
    }
    let bytes = archive.into_inner()?.finish()?;
    fs::write(path, &bytes)?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn odd(error: &dyn std::fmt::Display) -> Error {
    Error::Odd { what: "the release archive".into(), why: error.to_string() }
}
