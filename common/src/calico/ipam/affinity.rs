//! Affinities: which node a block belongs to.

use serde::{Deserialize, Serialize};

use crate::slim::Metadata;

/// A node's claim to a block. Felix and BIRD make routes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockAffinity {
    /// Metadata.
    pub metadata: Metadata,
    /// Content.
    pub spec: BlockAffinitySpec,
}

/// Content of a [`BlockAffinity`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockAffinitySpec {
    /// The block.
    pub cidr: String,
    /// The node, or `load-balancer`.
    pub node: String,
    /// Where the claim stands.
    pub state: AffinityState,
    /// `host` or `virtual`; empty means host.
    #[serde(rename = "type")]
    pub kind: String,
    /// True when it is as good as deleted.
    #[serde(deserialize_with = "super::lenient_bool")]
    pub deleted: bool,
}

/// Where a claim stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AffinityState {
    /// The block is the node's. Old releases leave the field empty.
    #[default]
    #[serde(rename = "confirmed", alias = "")]
    Confirmed,
    /// The block is about to be made; nobody may route to it yet.
    #[serde(rename = "pending")]
    Pending,
    /// The claim is being given up.
    #[serde(rename = "pendingDeletion")]
    PendingDeletion,
    /// A state that this program does not know.
    #[serde(untagged)]
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_groups_and_unknown_states() {
        let read = |json: &str| serde_json::from_str::<BlockAffinitySpec>(json).unwrap();
        let old = read(r#"{"cidr":"10.0.0.0/26","node":"a","state":"","deleted":"false"}"#);
        assert_eq!((old.state, old.deleted), (AffinityState::Confirmed, false));
        let new = read(r#"{"state":"pendingDeletion","deleted":true,"type":"virtual"}"#);
        assert_eq!((new.state, new.deleted), (AffinityState::PendingDeletion, true));
        assert_eq!(read(r#"{"state":"odd"}"#).state, AffinityState::Other("odd".to_owned()));
        assert!(read(r#"{"deleted":"true"}"#).deleted && !read("{}").deleted);
    }
}
