//! A node's host, before and after: what a repair may have changed there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::demand;
use crate::testbed::{
    CNI_BINARY, CNI_KUBECONFIG, CONFLIST, Error, FOREIGN_CONFLIST, Node, Testbed, wait_every,
    wait_until,
};

/// Folders in which we may leave files.
const FOLDERS: [&str; 2] = ["/etc/cni/net.d", "/opt/cni/bin"];

/// Files whose bytes a repair may change.
const FILES: [&str; 4] = [CNI_KUBECONFIG, CONFLIST, CNI_BINARY, FOREIGN_CONFLIST];

/// Selects the containers of our own node pods, which come and go with every look.
const OURS: &str = r#"labels."io.kubernetes.pod.name"~=^kubectl-calico-"#;

/// How long a node may take to come to rest.
const REST: Duration = Duration::from_secs(30);

/// Counts and names on a host.
#[derive(Debug, Clone)]
pub struct Host {
    /// How many named network namespaces there are.
    pub namespaces: usize,
    /// How many host sides of pods' links.
    pub links: usize,
    /// Every sandbox and container, as the runtime lists them.
    pub containers: BTreeSet<String>,
    /// Those that have a process: id, and that process.
    pub tasks: BTreeMap<String, String>,
}

impl Host {
    /// Looks at a host.
    pub fn of(node: &Node) -> Result<Self, Error> {
        let count = |script: &str| -> Result<usize, Error> {
            let text = node.script(script, &[])?;
            text.trim().parse().map_err(|_| Error::Odd { what: "a count".to_owned(), why: text })
        };
        let tasks = node.check(&["/usr/bin/ctr", "-n", "k8s.io", "tasks", "ls"])?;
        let containers = node.check(&["/usr/bin/ctr", "-n", "k8s.io", "containers", "ls", "-q"])?;
        let ours = node.check(&["/usr/bin/ctr", "-n", "k8s.io", "containers", "ls", "-q", OURS])?;
        let is_ours = |id: &str| ours.lines().any(|it| it == id);
        let task = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        };
        Ok(Self {
            namespaces: count("ls /run/netns | grep -c '^cni-' || true")?,
            links: count("ls /sys/class/net | grep -c '^cali' || true")?,
            containers: containers
                .lines()
                .filter(|id| !is_ours(id))
                .map(ToOwned::to_owned)
                .collect(),
            tasks: tasks.lines().skip(1).filter_map(task).filter(|it| !is_ours(&it.0)).collect(),
        })
    }

    /// Looks until two looks, two seconds apart, show the same: pods of ours that looked before may still be going.
    pub fn settled(node: &Node) -> Result<Self, Error> {
        let mut last = Self::of(node)?;
        wait_every("the node comes to rest", REST, Duration::from_secs(2), || {
            let now = Self::of(node).map_err(|error| error.to_string())?;
            if last.runs_as(&now) {
                Ok(now)
            } else {
                Err(format!("{:?}", std::mem::replace(&mut last, now)))
            }
        })
    }

    /// Whether the same processes run there, with as many namespaces and links. Remains of ended containers, which the kubelet
    /// removes when it likes, are not compared.
    pub fn runs_as(&self, other: &Self) -> bool {
        self.namespaces == other.namespaces
            && self.links == other.links
            && self.tasks == other.tasks
    }

    /// Waits until it is as `wanted`, which pods of ours that are still going may delay.
    pub fn becomes(node: &Node, wanted: &Self) -> Result<Self, Error> {
        wait_until("the node is as it is to be", REST, || {
            let now = Self::of(node).map_err(|error| error.to_string())?;
            if now.runs_as(wanted) { Ok(now) } else { Err(format!("{now:?}, not {wanted:?}")) }
        })
    }

    /// The same without these sandboxes, each of which has one namespace and one link, and without what ran in them.
    #[must_use]
    pub fn without(&self, sandboxes: &[&str], contents: &[&str]) -> Self {
        let mut rest = self.clone();
        let there = sandboxes.iter().filter(|id| self.containers.contains(**id)).count();
        let gone =
            |id: &String| sandboxes.contains(&id.as_str()) || contents.contains(&id.as_str());
        rest.containers.retain(|id| !gone(id));
        rest.tasks.retain(|id, _| !gone(id));
        rest.namespaces = rest.namespaces.saturating_sub(there);
        rest.links = rest.links.saturating_sub(there);
        rest
    }
}

/// Bytes and permissions of the files that a repair may change; a missing file is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// Reads them, as hashes: one of them holds a token.
    pub fn of(node: &Node) -> Result<Self, Error> {
        let script = r#"for it; do [ ! -e "$it" ] || { stat -c '%n %a %u %s' "$it"; sha256sum <"$it"; }; done"#;
        let text = node.script(script, &FILES)?;
        let lines: Vec<&str> = text.lines().collect();
        let file = |pair: &[&str]| {
            let (name, facts) = pair[0].split_once(' ').unwrap_or((pair[0], ""));
            (name.to_owned(), format!("{facts} {}", pair.get(1).unwrap_or(&"")))
        };
        Ok(Self(lines.chunks(2).map(file).collect()))
    }

    /// The files in which two looks differ, sorted.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let mut names: Vec<&String> = self.0.keys().chain(other.0.keys()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| self.0.get(*name) != other.0.get(*name));
        names.into_iter().cloned().collect()
    }
}

/// No object labelled as ours exists, no lease is held, and no host has a file of ours but backups.
pub fn nothing_of_ours(testbed: &Testbed) -> Result<(), Error> {
    let kinds = "pods,configmaps,secrets,serviceaccounts,jobs,leases,daemonsets,clusterroles,clusterrolebindings,namespaces";
    let label = "app.kubernetes.io/managed-by=kubectl-calico";
    let left = testbed.kubectl(&["get", kinds, "-A", "-l", label, "-o", "name"])?;
    demand(left.trim().is_empty(), "no object labelled as ours", &left)?;
    let lease =
        ["get", "lease", "kubectl-calico", "-n", "kube-system", "--ignore-not-found", "-o", "name"];
    let left = testbed.kubectl(&lease)?;
    demand(left.trim().is_empty(), "no lease of ours", &left)?;
    for node in testbed.nodes() {
        let left = our_files(node)?;
        let is_backup = |it: &&String| Path::new(it).extension() == Some("bak".as_ref());
        let left: Vec<&String> = left.iter().filter(|it| !is_backup(it)).collect();
        demand(left.is_empty(), &format!("no file of ours on {}", node.name()), &left)?;
    }
    Ok(())
}

/// Files of ours on a host, backups included.
pub fn our_files(node: &Node) -> Result<Vec<String>, Error> {
    let script = r#"find "$@" -name '*kubectl-calico*'; find /tmp /run /var/tmp -xdev -maxdepth 2 -name '*kubectl-calico*'"#;
    let text = node.script(script, &FOLDERS)?;
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

/// Removes the backups that repairs left on a host.
pub fn remove_backups(node: &Node) -> Result<(), Error> {
    let script = r#"find "$@" -name '*.kubectl-calico-*.bak' -delete"#;
    node.script(script, &FOLDERS).map(drop)
}
