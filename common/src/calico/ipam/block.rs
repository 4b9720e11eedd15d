//! Blocks of addresses.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::AllocationAttributes;
use crate::slim::Metadata;

/// A block of addresses and who has which of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamBlock {
    /// Metadata.
    pub metadata: Metadata,
    /// Content.
    pub spec: IpamBlockSpec,
}

/// Content of an [`IpamBlock`]. An address is named by its ordinal: its distance from the block's first one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IpamBlockSpec {
    /// The range.
    pub cidr: String,
    /// `host:<node>`, `virtual:load-balancer`, or none.
    pub affinity: Option<String>,
    /// When the affinity was claimed (from v3.32).
    pub affinity_claim_time: Option<Timestamp>,
    /// For each ordinal: the place of its entry in `attributes`; none when it is free.
    pub allocations: Vec<Option<i64>>,
    /// Free ordinals, in the order in which they will be given out.
    pub unallocated: Vec<i64>,
    /// Who has the addresses. Several ordinals may share one entry.
    pub attributes: Vec<BlockAttribute>,
    /// Grows with every write; larger than 2^53.
    pub sequence_number: u64,
    /// `sequenceNumber` at the time of the allocation, by ordinal. Blocks of old releases lack it.
    pub sequence_number_for_allocation: BTreeMap<String, u64>,
    /// True when the block is as good as deleted.
    pub deleted: bool,
}

/// Who has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockAttribute {
    /// Handle under which it was taken.
    pub handle_id: Option<Box<str>>,
    /// Owner.
    pub secondary: AllocationAttributes,
    /// The other owner while a virtual machine migrates (from v3.32).
    #[serde(rename = "alternateOwnerAttrs")]
    pub alternate: BTreeMap<String, String>,
    /// When it was given back: the address rests until the cooldown is over (from v3.33).
    #[serde(rename = "releasedAt")]
    pub released_at: Option<Timestamp>,
}

impl BlockAttribute {
    /// The handle as Calico compares it: conversions from host-local left `\r\n` and more behind some.
    pub fn handle(&self) -> Option<&str> {
        let id = self.handle_id.as_deref()?;
        Some(id.split('\r').next().unwrap_or(id)).filter(|it| !it.is_empty())
    }
}
