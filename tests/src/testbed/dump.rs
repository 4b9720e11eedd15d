//! A node, written down: two dumps of a node on which nothing happened are equal.

use super::Testbed;
use super::error::Error;
use super::node::Node;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SCRIPT: &str = include_str!("../../testbed/residues/dump.sh");
const LIMIT: Duration = Duration::from_secs(60);

/// Sections of lines: links, addresses, routes of all tables, rules, neighbours, iptables of both backends and families,
/// nftables, sets, traffic control, BPF, mounts, files with their hashes, settings, and the Node object. Neither counters nor
/// dates. Rules of kube-proxy are in it: it is to be held back ([`Testbed::stop_service`]) while dumps are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump(BTreeMap<String, Vec<String>>);

impl Dump {
    /// Looks at a node.
    pub fn of(testbed: &Testbed, node: &Node) -> Result<Self, Error> {
        let shell = node.command(&["/bin/sh", "-s"])?.input(SCRIPT).limit(LIMIT);
        let mut dump = Self::read(&shell.check()?);
        dump.0.insert("node".to_owned(), object(testbed, node)?);
        Ok(dump)
    }

    fn read(text: &str) -> Self {
        let mut sections = BTreeMap::<String, Vec<String>>::new();
        let mut name = String::new();
        for line in text.lines() {
            if let Some(next) = line.strip_prefix("== ") {
                next.clone_into(&mut name);
                sections.entry(name.clone()).or_default();
            } else {
                sections.entry(name.clone()).or_default().push(line.to_owned());
            }
        }
        Self(sections)
    }

    /// The lines of a section.
    pub fn section(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The names of the sections.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lines that only one of both has, or that are at another place: `links - …` is gone, `links + …` is new.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let names: BTreeSet<&str> = self.sections().chain(later.sections()).collect();
        let mut found = Vec::new();
        for name in names {
            let (before, after) = (self.section(name), later.section(name));
            if before == after {
                continue;
            }
            let gone = before.iter().filter(|line| !after.contains(line));
            let new = after.iter().filter(|line| !before.contains(line));
            let count = found.len();
            found.extend(gone.map(|line| format!("{name} - {line}")));
            found.extend(new.map(|line| format!("{name} + {line}")));
            if found.len() == count {
                found.push(format!("{name}: the same lines in another order or number"));
            }
        }
        found
    }
}

/// What purging may change of the Node object: labels, annotations, taints, and the condition that a CNI writes.
fn object(testbed: &Testbed, node: &Node) -> Result<Vec<String>, Error> {
    let text = testbed.kubectl(&["get", "node", node.name(), "-o", "json"])?;
    let object: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Odd { what: "the Node".to_owned(), why: error.to_string() })?;
    let mut lines = Vec::new();
    for kind in ["labels", "annotations"] {
        let all = object["metadata"][kind].as_object();
        lines.extend(
            all.into_iter().flatten().map(|(key, value)| format!("{kind} {key} = {value}")),
        );
    }
    // Those of the node controller come and go with the heartbeats, but for the one that a CNI answers for.
    let controllers = |key: &str| {
        key.starts_with("node.kubernetes.io/") && !key.ends_with("/network-unavailable")
    };
    let taints = object["spec"]["taints"].as_array();
    lines.extend(
        taints
            .into_iter()
            .flatten()
            .filter(|it| !it["key"].as_str().is_some_and(controllers))
            .map(|it| format!("taint {} {} {}", it["key"], it["value"], it["effect"])),
    );
    lines.push(format!("unschedulable {}", object["spec"]["unschedulable"]));
    let conditions = object["status"]["conditions"].as_array();
    let network = conditions.into_iter().flatten().filter(|it| it["type"] == "NetworkUnavailable");
    lines.extend(
        network.map(|it| format!("condition {} {} {}", it["type"], it["status"], it["reason"])),
    );
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_and_what_is_new_is_told() {
        let before = Dump::read("== links\na\nb\n== rules\nx\ny\n== sets\n");
        assert_eq!(before.differences(&before.clone()), Vec::<String>::new());
        let after = Dump::read("== links\nb\nc\n== rules\ny\nx\n== pins\np\n");
        let told = before.differences(&after);
        let order = "rules: the same lines in another order or number";
        assert_eq!(told, ["links - a", "links + c", "pins + p", order]);
        assert_eq!(before.len(), 4);
    }
}
