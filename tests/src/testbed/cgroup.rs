//! The cgroups of a testbed: one group per node (and one for the control plane) in every hierarchy of the machine.

use super::error::{Error, FileContext};
use super::layout::Layout;
use super::process::Process;
use super::wait::wait_every;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The roots of the mounted hierarchies: one with cgroup v2, one per controller with v1, the latter and `unified` if hybrid.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>, Error> {
    let path = Path::new("/proc/self/mountinfo");
    let mut found: Vec<PathBuf> = roots(&fs::read_to_string(path).file("read", path)?);
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(Error::Missing(
            "no cgroup hierarchy is mounted below /sys/fs/cgroup".to_owned(),
        ));
    }
    Ok(found)
}

fn roots(mountinfo: &str) -> Vec<PathBuf> {
    let hierarchy = |line: &str| {
        let (mount, source) = line.split_once(" - ")?;
        let kind = source.split(' ').next()?;
        let point = mount.split(' ').nth(4)?;
        (matches!(kind, "cgroup" | "cgroup2") && point.starts_with("/sys/fs/cgroup"))
            .then(|| PathBuf::from(point))
    };
    mountinfo.lines().filter_map(hierarchy).collect()
}

/// Makes the group `member` of the testbed in every hierarchy and returns its folders.
pub(crate) fn make(layout: &Layout, member: &str) -> Result<Vec<PathBuf>, Error> {
    let mut made = Vec::new();
    for root in hierarchies()? {
        let parent = root.join(layout.cgroup());
        let group = parent.join(member);
        // A new v1 cpuset is empty and takes no process; a new v2 group has no controllers until its parent hands them down.
        for (above, folder) in [(&root, &parent), (&parent, &group)] {
            hand_down_controllers(above);
            fs::create_dir_all(folder).file("make", folder)?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                copy_down(above, folder, file)?;
            }
        }
        made.push(group);
    }
    Ok(made)
}

fn hand_down_controllers(group: &Path) {
    let Ok(controllers) = fs::read_to_string(group.join("cgroup.controllers")) else { return };
    for controller in controllers.split_ascii_whitespace() {
        // One by one: a controller that cannot be handed down must not hinder the others.
        drop(fs::write(group.join("cgroup.subtree_control"), format!("+{controller}")));
    }
}

fn copy_down(above: &Path, group: &Path, file: &str) -> Result<(), Error> {
    let is_v2 = above.join("cgroup.controllers").exists();
    let (from, to) = (above.join(file), group.join(file));
    if is_v2 || !from.exists() {
        return Ok(());
    }
    let value = fs::read_to_string(&from).file("read", &from)?;
    fs::write(&to, value.trim()).file("write", &to)
}

/// All groups of the testbed, a group after those inside it.
pub(crate) fn groups(layout: &Layout) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for root in hierarchies()? {
        collect(&root.join(layout.cgroup()), &mut found);
    }
    Ok(found)
}

fn collect(group: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(group) else { return };
    let mut inside: Vec<PathBuf> =
        entries.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect();
    inside.sort();
    for folder in inside {
        collect(&folder, found);
    }
    found.push(group.to_owned());
}

/// The running processes in any group of the testbed.
pub(crate) fn processes(layout: &Layout) -> Result<Vec<Process>, Error> {
    let mut found = Vec::new();
    for group in groups(layout)? {
        let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(pids.lines().filter_map(|pid| pid.parse().ok()).filter_map(Process::now));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Removes the groups; the kernel may need a moment after the last process ended.
pub(crate) fn remove(layout: &Layout) -> Result<(), Error> {
    wait_every(
        "the testbed's cgroups go",
        Duration::from_secs(10),
        Duration::from_millis(20),
        || {
            for group in groups(layout).map_err(|error| error.to_string())? {
                // Whether it worked is seen by looking again.
                drop(fs::remove_dir(&group));
            }
            match groups(layout) {
                Ok(left) if left.is_empty() => Ok(()),
                Ok(left) => Err(format!("{} groups, as {}", left.len(), left[0].display())),
                Err(error) => Err(error.to_string()),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_unified_hierarchies_are_found() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      50 40 0:29 / /var/lib/x/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert_eq!(
            roots(hybrid),
            [PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup/unified")]
        );
        let unified = "31 23 0:28 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(roots(unified), [PathBuf::from("/sys/fs/cgroup")]);
    }
}
