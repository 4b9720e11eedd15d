//! Pod sandboxes of a node, as the container runtime lists them (`crictl pods -o json`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Item {
    id: String,
    metadata: ItemMetadata,
    state: String,
    created_at: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ItemMetadata {
    name: String,
    uid: String,
    namespace: String,
    attempt: u32,
}

/// The sandboxes in the text, sorted by pod and id.
pub(super) fn parse(text: &str) -> Result<Vec<Sandbox>, serde_json::Error> {
    let listing: Listing = serde_json::from_str(text)?;
    let mut sandboxes: Vec<Sandbox> = listing.items.into_iter().map(sandbox).collect();
    sandboxes.sort();
    Ok(sandboxes)
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crictl_prints_is_read() {
        let text = r#"{"items":[
            {"id":"b1","metadata":{"name":"web","uid":"u2","namespace":"shop","attempt":1},
             "state":"SANDBOX_NOTREADY","createdAt":"1690000000000000000","labels":{},"runtimeHandler":""},
            {"id":"a1","metadata":{"name":"api","uid":"u1","namespace":"shop","attempt":0},
             "state":"SANDBOX_READY","createdAt":"nonsense"}]}"#;
        let sandboxes = parse(text).unwrap();
        let ids: Vec<_> = sandboxes.iter().map(|it| (it.id.as_str(), it.ready)).collect();
        assert_eq!(ids, [("a1", true), ("b1", false)]);
        assert_eq!(sandboxes[0].created, None);
        assert_eq!(sandboxes[1].created.unwrap().as_second(), 1_690_000_000);
        assert_eq!(parse("{}").unwrap(), []);
        assert!(parse("FATA no runtime").is_err());
    }
}
