//! Pod sandboxes of a node, as the container runtime lists them (`crictl pods -o json`, and `crictl ps -a -o json`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::calico::names::MANAGED_BY;

/// A pod sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sandbox {
    /// Namespace of its pod.
    pub namespace: String,
    /// Name of its pod.
    pub name: String,
    /// Uid of its pod; of a static pod, the hash of its manifest.
    pub uid: String,
    /// Its id.
    pub id: String,
    /// Which attempt to run the pod it belongs to, from 0.
    pub attempt: u32,
    /// True while the runtime keeps it running.
    pub ready: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its pod's label [`MANAGED_BY`]; empty without one.
    pub managed_by: String,
    /// Containers that run in it; none when they could not be listed.
    pub running: Option<usize>,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct ContainerListing {
    #[serde(default)]
    containers: Vec<ContainerItem>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerItem {
    pod_sandbox_id: String,
    state: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Item {
    id: String,
    metadata: ItemMetadata,
    state: String,
    created_at: String,
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ItemMetadata {
    name: String,
    uid: String,
    namespace: String,
    attempt: u32,
}

/// The sandboxes in the text of `crictl pods`, sorted by pod and id, with the running containers of `crictl ps`.
pub(super) fn parse(
    text: &str,
    containers: Option<&str>,
) -> Result<Vec<Sandbox>, serde_json::Error> {
    let listing: Listing = serde_json::from_str(json(text))?;
    let running = containers.and_then(running);
    let mut sandboxes: Vec<Sandbox> = listing.items.into_iter().map(sandbox).collect();
    for sandbox in &mut sandboxes {
        let count = |by_id: &BTreeMap<_, _>| by_id.get(&sandbox.id).copied().unwrap_or(0);
        sandbox.running = running.as_ref().map(count);
    }
    sandboxes.sort();
    Ok(sandboxes)
}

/// Running containers by sandbox.
fn running(text: &str) -> Option<BTreeMap<String, usize>> {
    let listing: ContainerListing = serde_json::from_str(json(text)).ok()?;
    let mut count = BTreeMap::new();
    for one in listing.containers.into_iter().filter(|it| it.state == "CONTAINER_RUNNING") {
        *count.entry(one.pod_sandbox_id).or_default() += 1;
    }
    Some(count)
}

/// The text from its first line that begins with a brace: crictl warns before it prints.
fn json(text: &str) -> &str {
    let warnings: usize =
        text.split_inclusive('\n').take_while(|line| !line.starts_with('{')).map(str::len).sum();
    &text[warnings..]
}

fn sandbox(item: Item) -> Sandbox {
    // Nanoseconds since the epoch, written as a string.
    let created = item.created_at.parse::<i128>().ok().filter(|it| *it > 0);
    Sandbox {
        namespace: item.metadata.namespace,
        name: item.metadata.name,
        uid: item.metadata.uid,
        id: item.id,
        attempt: item.metadata.attempt,
        ready: item.state == "SANDBOX_READY",
        created: created.and_then(|it| Timestamp::from_nanosecond(it).ok()),
        managed_by: item.labels.get(MANAGED_BY).cloned().unwrap_or_default(),
        running: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crictl_prints_is_read() {
        let text = r#"WARN[0000] runtime connect using default endpoints: [unix:///run/x {}]
{"items":[
            {"id":"b1","metadata":{"name":"web","uid":"u2","namespace":"shop","attempt":1},
             "state":"SANDBOX_NOTREADY","createdAt":"1690000000000000000","annotations": {},
             "labels":{"app.kubernetes.io/managed-by":"kubectl-calico"},"runtimeHandler":""},
            {"id":"a1","metadata":{"name":"api","uid":"u1","namespace":"shop","attempt":0},
             "state":"SANDBOX_READY","createdAt":"nonsense"}]}"#;
        let containers = r#"{"containers":[{"id":"c","podSandboxId":"a1","state":"CONTAINER_RUNNING"},
            {"podSandboxId":"b1","state":"CONTAINER_EXITED"}]}"#;
        let sandboxes = parse(text, Some(containers)).unwrap();
        let ids: Vec<_> =
            sandboxes.iter().map(|it| (it.id.as_str(), it.ready, it.running)).collect();
        assert_eq!(ids, [("a1", true, Some(1)), ("b1", false, Some(0))]);
        assert_eq!(sandboxes[0].created, None);
        assert_eq!(sandboxes[1].created.unwrap().as_second(), 1_690_000_000);
        assert_eq!(sandboxes[1].managed_by, "kubectl-calico");
        let unlisted = parse(text, Some("FATA")).unwrap();
        assert!(unlisted.iter().all(|it| it.running.is_none()));
        assert_eq!(parse("{}", None).unwrap(), []);
        for bad in ["FATA no runtime", "", "{\"items\": [", "{\"items\": 1}"] {
            assert!(parse(bad, None).is_err(), "{bad}");
        }
    }
}
