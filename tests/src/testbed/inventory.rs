//! Counts what a testbed has on the machine: processes, mounts, namespaces, links, cgroups, routes, changed settings.

use super::error::{Error, FileContext};
use super::layout::Layout;
use super::process::{self, MARK, Process};
use super::{cgroup, network, sysctl};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What of a testbed is on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Processes that have a record, are in a cgroup of the testbed, carry its mark in their environment, or have one of its
    /// folders mounted.
    pub processes: BTreeSet<Process>,
    /// Mounts in the machine's own mount namespace.
    pub mounts: BTreeSet<String>,
    /// Named network namespaces.
    pub namespaces: BTreeSet<String>,
    /// Links in the machine's own network namespace.
    pub links: BTreeSet<String>,
    /// Cgroups, in all hierarchies.
    pub cgroups: BTreeSet<String>,
    /// Routes to nodes and pods.
    pub routes: BTreeSet<String>,
    /// Machine-wide settings that kubelet writes, whoever wrote them.
    pub settings: BTreeMap<String, String>,
}

impl Inventory {
    /// Looks at the machine.
    pub fn take(layout: &Layout) -> Result<Self, Error> {
        Ok(Self {
            processes: processes(layout)?,
            mounts: mounts(layout)?,
            namespaces: network::ours(layout, network::namespaces()?).into_iter().collect(),
            links: network::ours(layout, network::links()?).into_iter().collect(),
            cgroups: cgroup::groups(layout)?
                .iter()
                .map(|group| group.display().to_string())
                .collect(),
            routes: routes(layout)?,
            settings: sysctl::now(),
        })
    }

    /// What is there, in words; empty if nothing is. Settings are not in it: they are always there, and compared instead.
    pub fn leftovers(&self) -> Vec<String> {
        let processes = self.processes.iter().map(|process| format!("process {}", process.pid));
        let named = |kind: &'static str, names: &BTreeSet<String>| {
            names.iter().map(|name| format!("{kind} {name}")).collect::<Vec<_>>()
        };
        processes
            .chain(named("mount", &self.mounts))
            .chain(named("namespace", &self.namespaces))
            .chain(named("link", &self.links))
            .chain(named("cgroup", &self.cgroups))
            .chain(named("route", &self.routes))
            .collect()
    }
}

/// All processes of a testbed. Those of a container have neither mark nor folder, but they are in its cgroups.
pub(crate) fn processes(layout: &Layout) -> Result<BTreeSet<Process>, Error> {
    let mut found: BTreeSet<Process> = cgroup::processes(layout)?.into_iter().collect();
    found.extend(
        process::all_recorded(layout)
            .into_iter()
            .map(|(_, process)| process)
            .filter(|process| process.runs()),
    );
    let folder = layout.run().display().to_string();
    let mark = format!("{MARK}={folder}");
    let own = Process::now(std::process::id());
    let proc = Path::new("/proc");
    for entry in fs::read_dir(proc).file("list", proc)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let is_marked =
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        if is_marked || mounts_of(&entry.path(), &folder) {
            found.extend(Process::now(pid).filter(|process| Some(*process) != own));
        }
    }
    Ok(found)
}

/// Whether the process sees a mount of the testbed that the machine itself does not: then it lives in one of its nodes.
fn mounts_of(process: &Path, folder: &str) -> bool {
    let layer = format!("upperdir={folder}/");
    fs::read_to_string(process.join("mountinfo")).is_ok_and(|text| text.contains(&layer))
}

fn mounts(layout: &Layout) -> Result<BTreeSet<String>, Error> {
    let mut found: BTreeSet<String> = mounts_below(&layout.run())?.into_iter().collect();
    let start = format!("/run/netns/{}", layout.link(""));
    found.extend(mount_points()?.into_iter().filter(|point| point.starts_with(&start)));
    Ok(found)
}

/// The mounts at or below a folder, the innermost first.
pub(crate) fn mounts_below(folder: &Path) -> Result<Vec<String>, Error> {
    let mut found: Vec<String> =
        mount_points()?.into_iter().filter(|point| Path::new(point).starts_with(folder)).collect();
    found.sort();
    found.reverse();
    Ok(found)
}

fn mount_points() -> Result<Vec<String>, Error> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).file("read", path)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| point.replace("\\040", " "))
        .collect())
}

fn routes(layout: &Layout) -> Result<BTreeSet<String>, Error> {
    let listed = super::command::run("ip", &["-4", "route", "show"])?;
    let via = format!(" dev {} ", layout.bridge());
    Ok(listed
        .lines()
        .map(|line| format!("{line} "))
        .filter(|line| line.contains(&via))
        .map(|line| line.trim().to_owned())
        .collect())
}
