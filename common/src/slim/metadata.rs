//! Object metadata.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The part of `metadata` that checks and plans read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Name.
    pub name: String,
    /// Namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// Unique id: a recreated object has another one.
    pub uid: String,
    /// When it was created.
    pub creation_timestamp: Option<Timestamp>,
    /// When its deletion was due, grace period included; absent while nobody deleted it.
    pub deletion_timestamp: Option<Timestamp>,
    /// Seconds of grace given at its deletion.
    pub deletion_grace_period_seconds: Option<i64>,
    /// Version for optimistic concurrency.
    pub resource_version: String,
    /// Counts changes of the spec.
    pub generation: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Who must act before it can go.
    pub finalizers: Vec<String>,
    /// Owners.
    pub owner_references: Vec<OwnerReference>,
}

/// An owner of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Group and version of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// True for the one that manages the object.
    pub controller: bool,
}

impl Metadata {
    /// The owner that manages this object.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}
