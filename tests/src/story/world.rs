//! A cluster and one of its hosts, written down: what a run that was refused must leave as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::demand;
use crate::testbed::{Dump, Error, Node, Testbed, wait_every};

/// Kinds that are not compared by their resourceVersion: kubelets and controllers renew Leases, events are no state, and the last
/// is no object. Nodes are compared by their content.
const APART: [&str; 5] =
    ["nodes", "leases.coordination.k8s.io", "events", "events.events.k8s.io", "componentstatuses"];

/// All objects of a cluster, and a dump of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// Every object's resourceVersion, by its kind, name and uid. A Lease has none.
    objects: BTreeMap<String, String>,
    /// Nodes by name, without their resourceVersion, who wrote which field when, and the times of heartbeats.
    nodes: BTreeMap<String, Value>,
    dump: Dump,
}

impl World {
    /// Looks at the cluster, and at `node` from its host.
    pub fn of(testbed: &Testbed, node: &Node) -> Result<Self, Error> {
        let (objects, nodes) = (objects(testbed)?, nodes(testbed)?);
        Ok(Self { objects, nodes, dump: Dump::of(testbed, node)? })
    }

    /// The same once no object changes by itself any more within `pause`: controllers may still be at work on what was changed.
    pub fn once_settled(
        testbed: &Testbed,
        node: &Node,
        limit: Duration,
        pause: Duration,
    ) -> Result<Self, Error> {
        let mut before = (objects(testbed)?, nodes(testbed)?);
        wait_every("the objects come to rest", limit, pause, || {
            let look = || Ok::<_, Error>((objects(testbed)?, nodes(testbed)?));
            let now = look().map_err(|error| error.to_string())?;
            if now == before {
                return Ok(());
            }
            before = now;
            Err("they still change".to_owned())
        })?;
        let (objects, nodes) = before;
        Ok(Self { objects, nodes, dump: Dump::of(testbed, node)? })
    }

    /// The same once nothing changes by itself any more within `pause`, on the host neither: the kernel takes seconds to give a
    /// new interface its address.
    pub fn at_rest(
        testbed: &Testbed,
        node: &Node,
        limit: Duration,
        pause: Duration,
    ) -> Result<Self, Error> {
        let mut before = Self::of(testbed, node)?;
        wait_every("the cluster comes to rest", limit, pause, || {
            let now = Self::of(testbed, node).map_err(|error| error.to_string())?;
            let changed = before.differences(&now);
            if changed.is_empty() {
                return Ok(now);
            }
            before = now;
            Err(format!("it still changes: {changed:?}"))
        })
    }

    /// What is not as it was.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let mut found = self.dump.differences(&later.dump);
        let gone = self.objects.keys().filter(|it| !later.objects.contains_key(*it));
        found.extend(gone.map(|it| format!("- {it}")));
        for (object, version) in &later.objects {
            match self.objects.get(object) {
                None => found.push(format!("+ {object}")),
                Some(before) if before != version => {
                    found.push(format!("{object}: {before} → {version}"));
                }
                Some(_) => {}
            }
        }
        if self.nodes != later.nodes {
            found.push(format!("nodes: {:?} → {:?}", self.nodes, later.nodes));
        }
        found
    }

    /// The nodes, as text.
    pub fn nodes(&self) -> String {
        format!("{:?}", self.nodes)
    }
}

/// Every object but those that are apart.
fn objects(testbed: &Testbed) -> Result<BTreeMap<String, String>, Error> {
    let kinds = testbed.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
    let compared: Vec<&str> = kinds.lines().filter(|it| !APART.contains(it)).collect();
    let of = |kinds: &str, version: &str| {
        let line = format!(
            "{{range .items[*]}}{{.kind}} {{.metadata.namespace}}/{{.metadata.name}} {{.metadata.uid}}={version}{{\"\\n\"}}{{end}}"
        );
        testbed.field(&[kinds, "--all-namespaces"], &line)
    };
    let mut lines = of(&compared.join(","), "{.metadata.resourceVersion}")?;
    lines += &of("leases.coordination.k8s.io", "")?;
    let pair = |line: &str| line.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let objects: BTreeMap<String, String> = lines.lines().filter_map(pair).collect();
    demand(objects.len() > 50, "a cluster has more objects than that", &objects)?;
    Ok(objects)
}

fn nodes(testbed: &Testbed) -> Result<BTreeMap<String, Value>, Error> {
    let odd = |why: String| Error::Odd { what: "the nodes".to_owned(), why };
    let text = testbed.kubectl(&["get", "nodes", "--output=json"])?;
    let list: Value = serde_json::from_str(&text).map_err(|error| odd(error.to_string()))?;
    let mut nodes = BTreeMap::new();
    for mut node in list["items"].as_array().cloned().unwrap_or_default() {
        forget(&mut node);
        let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        nodes.insert(name, node);
    }
    Ok(nodes)
}

/// Takes out what the kubelet writes while nothing happens.
fn forget(node: &mut Value) {
    if let Some(metadata) = node["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    for condition in node["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastHeartbeatTime");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn heartbeats_are_no_change_and_conditions_are() {
        let node = |version: &str, beat: &str, status: &str| {
            let mut node = json!({
                "metadata": {"name": "n", "resourceVersion": version, "managedFields": [version]},
                "status": {"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": beat}]},
            });
            forget(&mut node);
            node
        };
        assert_eq!(node("1", "a", "True"), node("2", "b", "True"));
        assert_ne!(node("1", "a", "True"), node("1", "a", "False"));
    }
}
