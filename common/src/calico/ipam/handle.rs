//! Handles: who took addresses, and from which blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::slim::Metadata;

/// A handle: what one owner took in one go, found again by its id when it is given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamHandle {
    /// Metadata; the name is the id in lower case.
    pub metadata: Metadata,
    /// Content.
    pub spec: IpamHandleSpec,
}

/// Content of an [`IpamHandle`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamHandleSpec {
    /// The id.
    #[serde(rename = "handleID")]
    pub handle_id: String,
    /// Number of addresses by block.
    pub block: BTreeMap<String, i64>,
    /// True when the handle is as good as deleted.
    #[serde(deserialize_with = "super::lenient_bool")]
    pub deleted: bool,
}
