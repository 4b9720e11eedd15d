//! Files, directories and mounts.

use super::{Means, Seen, Taking};
use crate::calico::names::{CALICO_CONFLIST_NAMES, CNI_KUBECONFIG_NAME};
use crate::plan::host::{is_calico_mount, is_calico_tree};
use crate::residue::ResidueKind;
use crate::residue::facts::{Configuration, PathEntry};
use crate::snapshot::{Gap, GapReason, Known};

/// Ends of the directories of network configurations, and of plugins.
const CONFIGURATION_DIRECTORIES: [&str; 2] = ["/cni/net.d", "/args/cni-network"];
const PLUGIN_DIRECTORIES: [&str; 3] = ["/opt/cni/bin", "/data/current/bin", "/current/opt/cni/bin"];

/// Plugins that Calico alone writes; `.tmp` is what an interrupted install leaves.
const PLUGINS: [&str; 4] = ["calico", "calico-ipam", "calico.tmp", "calico-ipam.tmp"];

/// The network that Calico's conflist names, and with it what host-local and libcni keep.
const NETWORK: &str = "k8s-pod-network";

/// What another CNI adds to the name of a configuration that it puts out of the way.
const CILIUM_BACKUP: &str = ".cilium_bak";

/// What a person writes, or wants to read later.
const BY_HAND: &str = "an administrator's: look at it, and remove it by hand if nobody needs it";
const LOGS: &str = "logs are kept: remove them by hand when nobody needs them";

pub(super) fn take(taking: &mut Taking<'_>) {
    let facts = taking.facts;
    if let Some(entries) = taking.known(&facts.paths) {
        for entry in entries {
            one(taking, entry);
        }
    }
    let Some(mounts) = taking.known(&facts.mounts) else { return };
    for mount in mounts {
        let what = format!("mount {} ({})", mount.path, mount.file_system);
        if !is_calico_mount(&mount.path, &mount.file_system) {
            if mount.path.contains("/run/calico/") {
                taking.kept(
                    ResidueKind::Mount,
                    &mount.path,
                    what,
                    "calico-node mounts nothing like it",
                );
            }
        } else if !taking.is_stale_scope() {
            let seen = Seen { what, source: "/proc/self/mounts", excerpt: &mount.file_system };
            let means =
                Means::Unmount { path: mount.path.clone(), file_system: mount.file_system.clone() };
            taking.residue(ResidueKind::Mount, &mount.path, seen, means);
        }
    }
}

fn one(taking: &mut Taking<'_>, entry: &PathEntry) {
    let (directory, name) = entry.place();
    let ends = |ends: &[&str]| ends.iter().any(|it| directory.ends_with(it));
    if ends(&CONFIGURATION_DIRECTORIES) && name != "calico-tls" {
        configuration(taking, entry, name);
    } else if ends(&PLUGIN_DIRECTORIES) {
        plugin(taking, entry, name);
    } else if is_calico_tree(&entry.path) {
        if entry.path.ends_with("/var/log/calico") {
            taking.reported(ResidueKind::Directory, &entry.path, what(entry), LOGS);
        } else if !taking.is_stale_scope() {
            tree(taking, entry);
        }
    } else if is_by_hand(&entry.path) {
        taking.reported(ResidueKind::File, &entry.path, what(entry), BY_HAND);
    }
}

fn is_by_hand(path: &str) -> bool {
    let is_below =
        |directory: &str| path.strip_prefix(directory).is_some_and(|it| it.starts_with('/'));
    path == "/etc/NetworkManager/conf.d/calico.conf"
        || path == "/etc/systemd/system/calico-node.service"
        || is_below("/etc/calico")
        || is_below("/etc/sysctl.d")
}

fn what(entry: &PathEntry) -> String {
    match entry.mode.chars().next() {
        Some('d') => format!("directory {}", entry.path),
        Some('s') => format!("socket {}", entry.path),
        Some('l') => format!("link {}", entry.path),
        _ => format!("file {}", entry.path),
    }
}

/// A file of the directory of network configurations.
fn configuration(taking: &mut Taking<'_>, entry: &PathEntry, name: &str) {
    if name == CNI_KUBECONFIG_NAME {
        if !taking.is_stale_scope() {
            file(
                taking,
                entry,
                "the CNI plugin's credentials, which only Calico's installer writes",
            );
        }
        return;
    }
    let is_renamed = name.ends_with(CILIUM_BACKUP);
    let is_loaded = [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end));
    match taking.facts.configurations.get(&entry.path) {
        Some(Known::Known(content)) if is_renamed || is_loaded => {
            of_content(taking, entry, content, is_renamed);
        }
        Some(Known::Unknown(gap)) if is_calicos_name(name) => {
            taking.found.gaps.push(gap.clone());
            taking.kept(
                ResidueKind::File,
                &entry.path,
                what(entry),
                "whose it is cannot be told: it cannot be read",
            );
        }
        None if is_calicos_name(name) && entry.mode.starts_with('-') => {
            let detail = format!("the content of {} is not in the scan", entry.path);
            taking.found.gaps.push(Gap::new("residues.txt", GapReason::Undecodable, detail));
        }
        _ if name.contains("calico") => {
            taking.kept(
                ResidueKind::File,
                &entry.path,
                what(entry),
                "no container runtime reads it, and Calico writes none of that name",
            );
        }
        _ => {}
    }
}

fn is_calicos_name(name: &str) -> bool {
    CALICO_CONFLIST_NAMES.contains(&name)
}

fn of_content(
    taking: &mut Taking<'_>,
    entry: &PathEntry,
    content: &Configuration,
    is_renamed: bool,
) {
    let first = content.plugins.first().map(String::as_str).unwrap_or_default();
    if first == "calico" {
        // While Calico lives here its configuration does, too; what another CNI put out of the way does not.
        if is_renamed || !taking.is_stale_scope() {
            file(taking, entry, "its first plugin is calico");
        }
    } else if entry.path.contains("calico") || content.plugins.iter().any(|it| it == "calico") {
        taking.kept(
            ResidueKind::File,
            &entry.path,
            what(entry),
            format!("it is not Calico's: its first plugin is {first:?}"),
        );
    }
}

/// A file of the directory of plugins. Those that other networks use as well are never mentioned.
fn plugin(taking: &mut Taking<'_>, entry: &PathEntry, name: &str) {
    if PLUGINS.contains(&name) {
        if !taking.is_stale_scope() {
            file(taking, entry, "a plugin that only Calico's installer writes");
        }
    } else if matches!(name, "install" | "calico-iptables") {
        let why = "some installers leave it, and nobody can tell whose it is";
        taking.reported(ResidueKind::File, &entry.path, what(entry), why);
    } else if name.contains("calico") {
        taking.kept(
            ResidueKind::File,
            &entry.path,
            what(entry),
            "it is no plugin of Calico's installer",
        );
    }
}

/// A file in a shared directory goes only while it is the one that was seen.
fn file(taking: &mut Taking<'_>, entry: &PathEntry, why: &str) {
    let Some(sha256) = entry.sha256.clone().filter(|_| entry.mode.starts_with('-')) else {
        let why = "it is no regular file, or its hash could not be had";
        taking.kept(ResidueKind::File, &entry.path, what(entry), why);
        return;
    };
    let seen = Seen { what: what(entry), source: "ls, sha256sum", excerpt: why };
    taking.residue(
        ResidueKind::File,
        &entry.path,
        seen,
        Means::File { path: entry.path.clone(), sha256 },
    );
}

/// A directory of Calico's own, or something that is kept for its network.
fn tree(taking: &mut Taking<'_>, entry: &PathEntry) {
    let is_answer = entry.path.contains("/results/");
    let kind = if is_answer { ResidueKind::File } else { ResidueKind::Directory };
    let expected = match (is_answer, entry.path.strip_suffix(".sock").is_some()) {
        (true, _) => '-',
        (_, true) => 's',
        _ => 'd',
    };
    if !entry.mode.starts_with(expected) {
        taking.kept(kind, &entry.path, what(entry), "Calico makes something else of that name");
        return;
    }
    let has_pods = taking.surroundings.pod_links.known().is_some_and(|links| !links.is_empty());
    if is_answer && has_pods {
        let why = "a pod of the node may need it to be torn down";
        taking.kept(kind, &entry.path, what(entry), why);
        return;
    }
    if entry.path.contains(NETWORK)
        && let Some(user) = other_user(taking)
    {
        taking.kept(
            kind,
            &entry.path,
            what(entry),
            format!("{user} has a network of that name as well"),
        );
        return;
    }
    let seen = Seen { what: what(entry), source: "ls", excerpt: "a place that only Calico has" };
    taking.residue(kind, &entry.path, seen, Means::Tree { path: entry.path.clone() });
}

/// A configuration of another CNI that calls its network as Calico's does.
fn other_user(taking: &Taking<'_>) -> Option<String> {
    let is_other = |it: &Known<Configuration>| {
        it.known().is_some_and(|it| {
            it.network == NETWORK && it.plugins.first().is_some_and(|first| first != "calico")
        })
    };
    taking.facts.configurations.iter().find(|(_, it)| is_other(it)).map(|(path, _)| path.clone())
}
